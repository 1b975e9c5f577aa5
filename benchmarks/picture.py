"""The picture of a real run in the README: the main job's last screen, saved as SVG.

python -m benchmarks.picture docs/pictures/run.svg [words of `python -m pipeline run`]
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
        console.console = Console(record=True, width=96, file=io.StringIO(), highlight=False)
        console.console.print("[dim]$[/] " + shlex.join(["python", "-m", "pipeline", "run", *words]) + "\n")
        account = cloud.connect(aws=False)
        console.console.print(console.table(execution.steps(account, report["execution_arn"])))
        console.summary(report)
        console.console.save_svg(str(target), title="Pawline")
        stop(state_dir)


if __name__ == "__main__":
    main()
