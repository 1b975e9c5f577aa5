"""What is learned: the starting document's way and ours on the same photos, with the same trained MobileNetV2.

    python -m benchmarks.accuracy [--images 240 | --full | --quick]

B1 trains 5 epochs and is tested once. Its frozen network stays in eval mode here: the weights at hand have batch norm
folded into the convolutions, so that in train mode, as the document has it, the features are all but 0 and nothing is
learned (0.034). Ours runs the real pipeline, 4 views and 10 trials, with 5 epochs and with its default of 8, for three
seeds; the seed changes views, tuning, initial weights and order. Evaluate alone sees the test split. An ImageNet
backbone has probably seen these photos: the difference between the arms is the point.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean

from benchmarks.machine import Row, print_table
from benchmarks.main_job import run, stop
from benchmarks.photos import DATA, WEIGHTS, write_data_set
from benchmarks.seed_training import B1, Training

BACKBONE = "mobilenet_v2"
EPOCHS = 5
SEEDS = (7, 8, 9)


def ours(state: str, data: Path, seed: int, *words: str) -> float:
    """Test top-1 of one run; the runs of one state directory share what does not depend on the seed."""
    where = ("--data", str(data), "--weights", str(WEIGHTS), "--backbone", BACKBONE)
    _, report = run(state, *where, f"Seed={seed}", "AccuracyThreshold=0", *words)
    assert "test:top1" in report["metrics"], f"there was no evaluation: {report}"
    return report["metrics"]["test:top1"]


def document(data: Path, epochs: int) -> tuple[float, float]:
    """(test top-1, train images per second) of B1."""
    training = Training(data, BACKBONE, B1, WEIGHTS, drifts=False)
    rates = [training.train() for _ in range(epochs)]
    accuracy, _ = training.evaluate("test")
    return accuracy, sum(rate.images for rate in rates) / sum(sum(rate.seconds) for rate in rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--full", action="store_true", help="all photos, 3 seeds")
    parser.add_argument("--quick", action="store_true", help="whether it runs: few photos, one epoch, one seed")
    given = parser.parse_args()
    if not (DATA.exists() and WEIGHTS.exists()):
        print(f"No photos or weights at {DATA.parent.parent}: accuracy is not measured.")
        return
    seeds, epochs = (SEEDS if given.full else SEEDS[:1]), EPOCHS
    words: tuple[str, ...] = ()
    if given.quick:
        epochs, words = 1, ("MaxTuningJobs=1", "AugmentedViews=1", "ImageSize=64")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as state:
        data = DATA if given.full else write_data_set(Path(folder) / "dogs.zip", 36 if given.quick else given.images)
        seed_accuracy, rate = document(data, epochs)
        try:
            short = [ours(state, data, seed, f"Epochs={epochs}", *words) for seed in seeds]
            default = [ours(state, data, seed, *words) for seed in seeds]
        finally:
            stop(state)
    rows: list[Row] = [
        (f"B1 with its network in eval mode, {epochs} epochs", f"{seed_accuracy:.3f} ({rate:.0f} train images/s)", "—"),
        (f"ours, {epochs} epochs", text(short, seed_accuracy), "+2.0 points"),
        ("ours, 8 epochs", text(default, seed_accuracy), "≥ 0.94 with all photos"),
    ]
    figures = {
        "seed": seed_accuracy,
        "ours_same_epochs": mean(short),
        "ours": mean(default),
        "gain": mean(short) - seed_accuracy,
    }
    title = f"Test top-1, {BACKBONE}, {'all photos' if given.full else 'some of the photos'}"
    print_table(title, rows, figures=figures)


def text(found: list[float], seed_accuracy: float) -> str:
    each = ", ".join(f"{accuracy:.3f}" for accuracy in found)
    return f"{mean(found):.3f}, mean of {len(found)} ({each}); {100 * (mean(found) - seed_accuracy):+.1f} points"


if __name__ == "__main__":
    main()
