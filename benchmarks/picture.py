"""The picture of a real run in the README: the main job's last screen, saved as SVG.

python -m benchmarks.picture docs/pictures/run.svg [--data … --weights … --backbone …]
"""

import io
import os
import shlex
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.main_job import run, stop
from pipeline import cloud, console, execution


def main() -> None:
    target, words = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as state_dir:
        os.environ["EMBEDDED_STATE_DIR"] = state_dir
        _, report = run(state_dir, *words)
        console.console = Console(record=True, width=120, file=io.StringIO(), highlight=False)
        given = [
            f"{flag[2:].upper()}={shlex.quote(value)}" for flag, value in zip(words[::2], words[1::2], strict=True)
        ]
        console.console.print("$ " + " ".join(["make run", *given]) + "\n")
        account = cloud.connect(aws=False)
        steps = execution.steps(account, report["execution_arn"])
        told = console.details(account, report["execution_arn"], steps)
        console.console.print(console.table(steps, told))
        console.summary(report)
        console.console.save_svg(str(target), title="Pawline")
        stop(state_dir)


if __name__ == "__main__":
    main()
