"""Data-parallel fine-tuning: two processes with a thread each against one process with one thread.

    python -m benchmarks.ddp [--images 300 --epochs 3 | --full | --quick]

code/train.py under torchrun, the total batch the same in all arms: ResNet-50's last stage, whose frozen part is cached
in the first epoch, and all of ResNet-18. Rates are of the epochs after the first, validation included. Arms take turns.
Each step sends the gradients once and casts the weights on each process, whatever the batch: a full run shows what that
costs a batch half as large.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.jobs import Done, Flow
from benchmarks.machine import Row, print_table, spread
from benchmarks.photos import ROOT

ONE, THREADS, PROCESSES = "1 process x 1 thread", "1 process x 2 threads", "2 processes x 1 thread"
ARMS = {ONE: (1, 1), THREADS: (1, 2), PROCESSES: (2, 1)}


@dataclass(frozen=True)
class Work:
    """What is trained, by how many images a step, and the ratio that is wanted of two processes."""

    name: str
    text: str
    backbone: str
    stages: int
    batch: int = 128
    wanted: float | None = None


WORK = (
    Work("last_stage", "ResNet-50's last stage", "resnet50", 1, wanted=1.7),
    Work("resnet18", "all of ResNet-18", "resnet18", 5, wanted=1.8),
)
SMALLER_BATCH = Work("last_stage_64", "ResNet-50's last stage", "resnet50", 1, batch=64)


def rates(folder: Path, work: Work, processes: int, threads: int, epochs: int) -> list[float]:
    """Train images per second of each fine-tuning epoch after the first."""
    features = folder / work.backbone
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = ["--features", features, "--prepared", folder / "prepared", "--weights", folder / "random"]
    words += ["--model-dir", folder / "model", "--epochs", 1, "--optimize", "off", "--patience", 1000]
    words += ["--trainable-stages", work.stages, "--fine-tune-epochs", epochs, "--fine-tune-views", 1]
    words += ["--batch-size", work.batch]
    done = subprocess.run(
        [*command, "code/train.py", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"train.py ended with {done.returncode}:\n{done.stdout[-2000:]}")
    images = json.loads((features / "features.json").read_text())["counts"]["train"]
    return [
        images / each for each in Done(0, done.stdout).epoch_seconds[2:]
    ]  # the head's epoch, and the one that fills the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="600 images, 2 rounds, and two threads as an arm")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 36 small images")
    given = parser.parse_args()
    images, rounds, size, epochs = given.images, given.rounds, 224, given.epochs
    arms = ARMS if given.full else {arm: ARMS[arm] for arm in (ONE, PROCESSES)}
    works = (*WORK, SMALLER_BATCH) if given.full else WORK
    if given.quick:
        images, size, epochs = 36, 64, 2
    elif given.full:
        images, rounds = 600, 2
    found: dict[Work, dict[str, list[float]]] = {work: {arm: [] for arm in arms} for work in works}
    with tempfile.TemporaryDirectory() as name:
        flow = Flow.of(Path(name), images)
        flow.prepare()
        for backbone in {work.backbone for work in works}:
            flow.embed(views=1, image_size=size, backbone=backbone, to=backbone)
        for _ in range(rounds):
            for work in works:
                for arm, (processes, threads) in arms.items():
                    found[work][arm] += rates(flow.folder, work, processes, threads, epochs)
    rows: list[Row] = []
    figures: dict[str, float] = {}
    for work in works:
        one = median(found[work][ONE])
        for arm, measured in found[work].items():
            ratio = median(measured) / one
            goal = f"{work.wanted}x" if work.wanted and arm == PROCESSES else "—"
            text = f"{work.text}, batch {work.batch}, {arm}"
            rows.append((text, f"{spread(measured, 'images/s', 1)}, {ratio:.2f}x", goal))
        figures[f"{work.name}_ratio"] = ratio
    print_table("Data-parallel fine-tuning, batch of all processes together, random weights", rows, figures=figures)


if __name__ == "__main__":
    main()
