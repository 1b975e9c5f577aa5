"""docs/performance.md: what was asked, what was measured, plots, and every table, from benchmarks/results/.

    python -m benchmarks.performance

`make bench` measures subsets and `make bench-full` everything; where a script has results of both, the page has the
full ones. Nothing in it is written by hand but why a goal was missed (benchmarks/goals.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.goals import GOALS, Goal

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
KINDS = ("full", "subset", "quick")  # the first that a script has is shown
HEAD = """# Performance: what was asked and what was measured

Written by `make bench` from benchmarks/results/; do not edit. In each script all arms take turns within one run, so
that a ratio holds although the machine is not always as fast. A figure is a median, with its smallest and largest value
and their number.
"""
ARMS = """
## The arms

| arm | what it is |
|---|---|
| B0 | benchmarks/seed_training.py: the starting document's training, made to run. Network frozen but in train mode, \
Pillow, no workers, float32, Adam at 0.01226, batch 128 |
| B1 | the same with a learning rate that learns, 0.00136, and batch 32: the one to beat |
| the seed's path | benchmarks/seed_server.py: its serving, made to run. Pillow, torchvision's transforms, the network \
in float32 behind FastAPI |
| kfp.local, dagster | other orchestrators, in an environment of their own (benchmarks/engine.lock) |
| bare subprocess, bare engine call | the floors: nothing can be below them |
"""


@dataclass(frozen=True)
class Result:
    """What a script measured, and in which kind of run."""

    script: str
    kind: str
    content: Mapping[str, Any]


def read(results: Path) -> dict[str, Result]:
    """The fullest result of each script."""
    found: dict[str, Result] = {}
    for kind in KINDS:
        for path in sorted((results / kind).glob("*.json")):
            found.setdefault(path.stem, Result(path.stem, kind, json.loads(path.read_text())))
    return found


def write(results: Path = RESULTS, page: Path = PAGE) -> None:
    """The page, and its plots in `pictures/` beside it."""
    found = read(results)
    pictures = plots.draw({name: result.content["series"] for name, result in found.items()}, page.parent / "pictures")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text(found, pictures))


def text(found: Mapping[str, Result], pictures: Mapping[str, Path]) -> str:
    parts = [HEAD, goals_table(found), ARMS]
    parts += [f"\n![{title}](pictures/{path.name})\n" for title, path in pictures.items()]
    parts += ["\n## Every table\n", *(tables(found[name]) for name in sorted(found))]
    return "".join(parts)


def goals_table(found: Mapping[str, Result]) -> str:
    figures = {name: result.content["figures"] for name, result in found.items()}
    lines = ["\n| what | against | wanted | measured | | by |\n|---|---|---|---|---|---|\n"]
    missed = []
    for goal in GOALS:
        value = goal.value(figures)
        measured, verdict = "not yet", ""
        if value is not None:
            measured, verdict = goal.show.format(value), "met" if goal.met(value) else "**missed**"
            if not goal.met(value):
                missed.append(goal)
        lines.append(
            f"| {goal.what} | {goal.against} | {goal.wanted} | {measured} | {verdict} | {source(goal, found)} |\n"
        )
    if missed:
        lines.append("\nWhy the missed ones were missed:\n\n")
        lines += [f"- {goal.what}: {goal.missed or 'nobody has found out yet.'}\n" for goal in missed]
    return "".join(lines)


def source(goal: Goal, found: Mapping[str, Result]) -> str:
    script = f"`benchmarks/{goal.script}.py`"
    result = found.get(goal.script)
    return script if result is None else f"{script}, {result.kind}, {result.content['date']}"


def tables(result: Result) -> str:
    content = result.content
    parts = [f"\n### benchmarks/{result.script}.py ({result.kind})\n\n"]
    parts.append(f"{content['date']}, {content['machine']}; load average at the end {content['load']}.\n")
    for table in content["tables"]:
        parts.append(f"\n**{table['title']}**\n\n| what | measured | wanted |\n|---|---|---|\n")
        parts += ["| " + " | ".join(row) + " |\n" for row in table["rows"]]
    return "".join(parts)


if __name__ == "__main__":
    write()
