"""How fast the commands answer: --help, definition, and the embedded server's start."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import print_table, spread
from sagelocal.core import lifecycle

ROUNDS = 3


def seconds(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def server_start() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        lifecycle.ensure(Path(folder))
        took = time.perf_counter() - began
        lifecycle.stop(Path(folder))
        return took


def main() -> None:
    seconds("--help")  # a warm-up, not counted
    print_table(
        "Commands",
        [
            ("pawline --help", spread([seconds("--help") for _ in range(ROUNDS)]), "under 0.5 s"),
            ("pawline definition", spread([seconds("definition") for _ in range(ROUNDS)]), "—"),
            ("embedded server, start to first answer", spread([server_start() for _ in range(ROUNDS)]), "—"),
        ],
    )


if __name__ == "__main__":
    main()
