"""What the Debugger rules see, and what it costs to save what they look at.

    python -m benchmarks.debugger [--photos | --quick] [--write-docs]

Every training of benchmarks/trainings.py under the hook of the pipeline's Train step, judged as its Debug step does.
Then a training of the default run's size with and without the hook, in turns. `--photos` adds healthy trainings on the
real photos' features, whole Train jobs with and without the hook, and more turns; `--write-docs` puts the tables into
docs/debugger.md.
"""

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from benchmarks import trainings
from benchmarks.jobs import Flow, script
from benchmarks.machine import Row, describe, print_table, spread
from benchmarks.scale import filled
from benchmarks.trainings import ROOT, Training
from contract.rules import BLOCKING_RULES, DEFAULT_RULES

PAGE = ROOT / "docs" / "debugger.md"
PHOTOS, SIZE = 1500, 160
# The default run on real photos: 4 views of 2,190 train images, ResNet-50's features.
DEFAULT_RUN = {"train": 2190, "valid": 440, "classes": 40, "dim": 2048, "views": 4}
PAIRS, MANY_PAIRS = 7, 15
OFF = "/nowhere"


@dataclass(frozen=True)
class Judged:
    """A training and what became of it: rules by status, those that block apart."""

    training: Training
    on: str
    accuracy: float
    fired: Sequence[str]
    blocking: Sequence[str]

    @property
    def right(self) -> bool:
        return self.training.caught_by in self.fired if self.training.caught_by else not self.blocking


def judge(training: Training, collections: list[dict], features: Path | None = None) -> Judged:
    import debug

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        tensors = trainings.run(training, Path(folder), collections, features)
        rules = debug.judge(tensors, list(BLOCKING_RULES), {})["rules"]
    best = [line for line in printed.getvalue().splitlines() if line.startswith("best ")]
    return Judged(
        training,
        "photos" if features else "drawn",
        float(best[0].partition("validation:accuracy=")[2].split()[0]) if best else float("nan"),
        [r["RuleConfigurationName"] for r in rules if r["RuleEvaluationStatus"] == "IssuesFound"],
        [r["RuleConfigurationName"] for r in rules if r["blocks"] and r["RuleEvaluationStatus"] != "NoIssuesFound"],
    )


def table(judged: Sequence[Judged]) -> str:
    """The page's table: trainings by rules. X: the rule that should; +: another that fired, (+) where it only warns."""
    lines = [f"| training | accuracy | {' | '.join(DEFAULT_RULES)} |", f"|---|---|{'---|' * len(DEFAULT_RULES)}"]
    for one in judged:
        cells = []
        for rule in DEFAULT_RULES:
            mark = ("X" if rule == one.training.caught_by else "+") if rule in one.fired else ""
            cells.append(mark if rule in BLOCKING_RULES or not mark else f"({mark})")
        name = one.training.name + (", real photos" if one.on == "photos" else "")
        accuracy = "none" if one.accuracy != one.accuracy else f"{one.accuracy:.3f}"
        lines.append(f"| {name} | {accuracy} | {' | '.join(cells)} |")
    return "\n".join(lines)


# Cost


def timed(data: Path, folder: Path, collections: list[dict] | None) -> tuple[float, float, float]:
    """(seconds, CPU seconds, MB written) of a training in this process; without the hook where `collections` is
    None."""
    folder.mkdir()
    path = OFF if collections is None else configured(folder, collections)
    with patch.dict(os.environ, {"SMDEBUG_CONFIG_FILE_PATH": str(path)}), contextlib.redirect_stdout(io.StringIO()):
        began, began_cpu = time.perf_counter(), time.process_time()
        trainings.train(data, folder / "model", patience=1000)
        took = time.perf_counter() - began, time.process_time() - began_cpu
    return *took, sum(path.stat().st_size for path in (folder / "tensors").rglob("*") if path.is_file()) / 1e6


def configured(folder: Path, collections: list[dict]) -> Path:
    """A hook configuration that writes below `folder`."""
    configuration = folder / "debughookconfig.json"
    content = {"LocalPath": str(folder / "tensors"), "CollectionConfigurations": collections}
    configuration.write_text(json.dumps(content))
    return configuration


@dataclass(frozen=True)
class Cost:
    """Of pairs of trainings, with and without the hook."""

    ratios: Sequence[float]
    cpu_ratios: Sequence[float]
    extra_seconds: float
    seconds: float
    megabytes: float


def cost(collections: list[dict], pairs: int, size: dict[str, int]) -> Cost:
    found: list[dict[bool, tuple[float, float, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = trainings.draw(0, **size).write(folder / "features")
        for number in range(-1, pairs):  # the first warms up
            pair = {}
            for hooked in (True, False) if number % 2 else (False, True):
                pair[hooked] = timed(data, folder / f"{number}-{hooked}", collections if hooked else None)
            found.append(pair)
    found = found[1:]
    return Cost(
        ratios=[pair[True][0] / pair[False][0] for pair in found],
        cpu_ratios=[pair[True][1] / pair[False][1] for pair in found],
        extra_seconds=median(pair[True][0] - pair[False][0] for pair in found),
        seconds=median(pair[False][0] for pair in found),
        megabytes=found[0][True][2],
    )


def job_seconds(flow: Flow, collections: list[dict], folder: Path, *, hooked: bool) -> float:
    """A Train job, from its start to the archive's files: a process, as SageMaker bills it. With the hook it imports
    smdebug too."""
    folder.mkdir()
    words = ["--features", flow.folder / "features", "--prepared", flow.folder / "prepared"]
    words += ["--weights", flow.folder / "weights", "--model-dir", folder / "model", "--patience", 1000]
    path = configured(folder, collections) if hooked else OFF
    with patch.dict(os.environ, {"SMDEBUG_CONFIG_FILE_PATH": str(path)}):
        return script("train", *words).seconds


def job_cost(flow: Flow, collections: list[dict], pairs: int) -> list[tuple[float, float]]:
    """(with, without) seconds of Train jobs, in turns."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(pairs):
            pair = {}
            for hooked in (True, False) if number % 2 else (False, True):
                pair[hooked] = job_seconds(flow, collections, Path(name) / f"{number}-{hooked}", hooked=hooked)
            found.append((pair[True], pair[False]))
    return found


@contextlib.contextmanager
def photos() -> Iterator[Flow]:
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow.of(Path(folder), PHOTOS)
        flow.prepare()
        flow.embed(views=2, image_size=SIZE)
        yield flow


def on_photos(flow: Flow, collections: list[dict]) -> list[Judged]:
    own = [training for training in trainings.HEALTHY if training.data is trainings.draw]
    return [judge(training, collections, flow.folder / "features") for training in own]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", action="store_true", help="the real photos' features too, and a whole Train job")
    parser.add_argument("--quick", action="store_true", help="whether it runs: two trainings, one small pair")
    parser.add_argument("--write-docs", action="store_true", help="the tables into docs/debugger.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    collections = trainings.default_collections()
    sabotaged, healthy = trainings.SABOTAGED, trainings.HEALTHY
    pairs, size = MANY_PAIRS if given.photos else PAIRS, DEFAULT_RUN
    if given.quick:
        sabotaged, healthy, pairs, size = sabotaged[:1], healthy[:1], 1, {}
    bad = [judge(training, collections) for training in sabotaged]
    good = [judge(training, collections) for training in healthy]
    jobs: list[tuple[float, float]] = []
    if given.photos:
        with photos() as flow:
            good += on_photos(flow, collections)
            jobs = job_cost(flow, collections, pairs)
    report_detection(bad, good)
    managed = cost(trainings.default_collections(debugger="managed"), 1, size).megabytes
    costs = report_cost(cost(collections, pairs, size), jobs, managed)
    if given.write_docs:
        made = {"sabotaged": table(bad), "healthy": table(good), "cost": cost_table(costs)}
        PAGE.write_text(filled(PAGE.read_text(), made))


def cost_table(rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (("what", "measured", "wanted"), *rows)]
    return "\n".join([lines[0], "|---|---|---|", *lines[1:], "", f"On {describe()}."])


def report_detection(bad: Sequence[Judged], good: Sequence[Judged]) -> None:
    print(f"\n{table(bad)}\n\n{table(good)}")
    wrong = [
        f"{one.training.name}: {', '.join(one.fired) or 'nothing'} (blocking: {', '.join(one.blocking) or 'none'})"
        for one in (*bad, *good)
        if not one.right
    ]
    caught, clean = sum(one.right for one in bad), sum(one.right for one in good)
    blocked = sum(bool(one.blocking) for one in bad)
    warned = sum(bool(one.fired) for one in good)
    print_table(
        "Debugger rules: sabotaged and healthy trainings",
        [
            ("sabotaged, caught by the rule that should", f"{caught} of {len(bad)}", "all"),
            ("sabotaged, some blocking rule not clean", f"{blocked} of {len(bad)}", "—"),
            ("healthy, no blocking rule but clean", f"{clean} of {len(good)}", "all"),
            ("healthy, some rule warns", f"{warned} of {len(good)}", "—"),
            *(("not as it should be", each, "—") for each in wrong),
        ],
        figures={"missed": len(bad) - caught, "false_alarms": len(good) - clean, "sabotaged": len(bad)},
    )


def report_cost(found: Cost, jobs: Sequence[tuple[float, float]], managed: float) -> Sequence[Row]:
    """`jobs`: (with, without) seconds; `managed`: MB that the configuration for SageMaker's own rules writes."""

    def percent(ratios: Sequence[float]) -> str:
        return spread([100 * (ratio - 1) for ratio in ratios], "%", 1)

    rows = [
        (f"epochs alone ({found.seconds:.1f} s), more time", percent(found.ratios), "at most 3 %"),
        ("the same in CPU time, which other load disturbs less", percent(found.cpu_ratios), "—"),
        ("seconds more", f"{found.extra_seconds:.2f} s", "—"),
        ("written", f"{found.megabytes:.1f} MB", "at most 20 MB"),
        ("written for managed rules, whole tensors of ten steps", f"{managed:.1f} MB", "—"),
    ]
    figures: dict[str, Any] = {"epochs": median(found.ratios) - 1, "megabytes": found.megabytes}
    if jobs:
        ratios, without = [pair[0] / pair[1] for pair in jobs], median(pair[1] for pair in jobs)
        figures["job"] = median(ratios) - 1
        rows.insert(0, (f"a Train job ({without:.0f} s), more time", percent(ratios), "at most 3 %"))
    print_table("The Debugger hook's default configuration: its cost", rows, figures=figures)
    return rows


if __name__ == "__main__":
    main()
