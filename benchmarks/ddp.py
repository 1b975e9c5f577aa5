"""Data-parallel fine-tuning: two processes with a thread each against one process with one thread.

    python -m benchmarks.ddp [--images 300 | --full | --quick]

code/train.py under torchrun, the total batch the same in all arms: ResNet-50's last stage, whose frozen part is cached
in the first epoch, and all of ResNet-18. Rates are of the epochs after the first, validation included. Arms take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.jobs import Done, Flow
from benchmarks.machine import Row, print_table, spread
from benchmarks.photos import ROOT

ARMS = {"1 process x 1 thread": (1, 1), "1 process x 2 threads": (1, 2), "2 processes x 1 thread": (2, 1)}
WORK = {
    "last_stage": ("resnet50", 1, "ResNet-50's last stage", 1.7),
    "resnet18": ("resnet18", 5, "all of ResNet-18", 1.8),
}


def rates(
    folder: Path, backbone: str, stages: int, processes: int, threads: int, epochs: int, batch: int
) -> list[float]:
    """Train images per second of each fine-tuning epoch after the first."""
    features = folder / backbone
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = ["--features", features, "--prepared", folder / "prepared", "--weights", folder / "random"]
    words += ["--model-dir", folder / "model", "--epochs", 1, "--optimize", "off", "--patience", 1000]
    words += ["--trainable-stages", stages, "--fine-tune-epochs", epochs, "--fine-tune-views", 1, "--batch-size", batch]
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
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="3 rounds")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 36 small images")
    given = parser.parse_args()
    images, rounds, size, epochs, batch = given.images, given.rounds, 224, 4, 64
    if given.quick:
        images, size, epochs, batch = 36, 64, 2, 8
    elif given.full:
        images, rounds = 300, 3
    found: dict[str, dict[str, list[float]]] = {work: {arm: [] for arm in ARMS} for work in WORK}
    with tempfile.TemporaryDirectory() as name:
        flow = Flow.of(Path(name), images)
        flow.prepare()
        for backbone, *_ in WORK.values():
            flow.embed(views=1, image_size=size, backbone=backbone, to=backbone)
        for _ in range(rounds):
            for work, (backbone, stages, _, _) in WORK.items():
                for arm, (processes, threads) in ARMS.items():
                    found[work][arm] += rates(flow.folder, backbone, stages, processes, threads, epochs, batch)
    rows: list[Row] = []
    figures: dict[str, float] = {}
    for work, (_, _, text, wanted) in WORK.items():
        one = median(found[work]["1 process x 1 thread"])
        for arm, measured in found[work].items():
            ratio = median(measured) / one
            goal = f"{wanted}x" if arm == "2 processes x 1 thread" else "—"
            rows.append((f"{text}, {arm}", f"{spread(measured, 'images/s', 1)}, {ratio:.2f}x", goal))
        figures[f"{work}_ratio"] = ratio
    print_table(f"Data-parallel fine-tuning, batch {batch} in all, random weights", rows, figures=figures)


if __name__ == "__main__":
    main()
