"""The picture in the README: the last screen of the main job on photos, as SVG (benchmarks.main_job --picture)."""

import io
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from pipeline import cloud, console, execution
from pipeline.execution import Step

# Without the fonts that Rich would have a reader's browser fetch from elsewhere.
PLAIN = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
WIDTH = 120


def of_run(words: Sequence[str], report: Mapping[str, Any], target: Path) -> None:
    """`words`: the flags of the run whose `report` it is; its server still answers at SAGELOCAL_STATE_DIR."""
    account = cloud.connect(aws=False)
    steps = execution.steps(account, report["execution_arn"])
    draw(words, steps, console.details(account, report["execution_arn"], steps), report, target)


def draw(
    words: Sequence[str], steps: list[Step], told: dict[str, str], report: Mapping[str, Any], target: Path
) -> None:
    """What `make run` shows when it has ended. `told`: what each step said last."""
    shown = console.console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    given = [
        f"{flag[2:].upper()}={shlex.quote(_near(value))}" for flag, value in zip(words[::2], words[1::2], strict=True)
    ]
    shown.print(" ".join(["$ make run", *given]) + "\n", soft_wrap=True)
    shown.print(console.table(steps, told))
    console.summary(dict(report))
    shown.save_svg(str(target), title="Pawline", code_format=PLAIN)


def _near(value: str) -> str:
    """A path as one would write it from here; other values as they are."""
    return os.path.relpath(value) if Path(value).exists() else value
