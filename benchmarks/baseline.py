"""The whole way to a tuned, trained, evaluated model (10 trials x 5 epochs): the starting document's, and ours.

    python -m benchmarks.baseline [--images 300 | --full | --quick]

ResNet-50 with random weights in all arms; benchmarks/accuracy.py compares what is learned. Ours is the real pipeline on
the embedded SageMaker, nothing cached: every step from Prepare to Evaluate. The document's way is B0 and B1 of
benchmarks/seed_training.py, timed on some batches between our runs and scaled to the same images, trials and epochs,
because measuring it would take hours.

The arms that count do the document's work: its 224 pixels, and no faster forms to serve, which it has none of. Beside
them a run as it comes: larger views, and int8 and bf16 forms made and measured.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import seed_training
from benchmarks.machine import Row, print_table, spread
from benchmarks.main_job import run, stop
from benchmarks.photos import write_data_set
from benchmarks.seed_training import B0, B1, Photos, Rate, Training

TRIALS, EPOCHS = 10, 5
STEPS = ("Prepare", "Embed", "Tune", "Train", "Debug", "Evaluate")
GROWING = ("Prepare", "Embed", "Tune", "Train", "Evaluate")  # with the images; their starts, counted too, do not
ALL_IMAGES, DOCUMENT_IMAGES = 3127, 8351


@dataclass(frozen=True)
class Arm:
    """One way of ours: pipeline parameters, and how many times B1's speed is wanted."""

    name: str
    views: int
    words: tuple[str, ...] = ()
    wanted: int | None = None


# Crops of 196 pixels, so that the plain view, the only one of a single view, has the document's 224.
SAME_WORK = ("ImageSize=196", "FasterServing=off")
ARMS = (
    Arm("ours, 1 view", 1, SAME_WORK, 100),
    Arm("ours, 4 views", 4, SAME_WORK, 25),
    Arm("ours as it comes, 4 views", 4),
)


def ours(data: Path, arm: Arm, trials: int, *words: str) -> dict[str, float]:
    """Seconds of each step of one whole run."""
    given = [f"AugmentedViews={arm.views}", f"Epochs={EPOCHS}", f"MaxTuningJobs={trials}", *arm.words, *words]
    with tempfile.TemporaryDirectory() as state:
        try:
            _, report = run(
                state,
                *("--data", str(data), "--weights", "random", "--backbone", "resnet50"),
                *given,
            )
        finally:
            stop(state)
    seconds = {step["name"]: step["seconds"] for step in report["steps"]}
    assert report["metrics"], f"there was no evaluation: {report}"
    return {name: seconds[name] for name in STEPS if name in seconds}


def scaled(seconds: dict[str, float], times: float) -> float:
    """Seconds for `times` the images, at most."""
    return sum(each * (times if name in GROWING else 1) for name, each in seconds.items())


def document(training: Training, images: int) -> tuple[Rate, Rate]:
    """One sample of what a train and an evaluation image cost."""
    train = training.train(images)
    return train, training.evaluate("train", images)[1]


def middle(rates: list[Rate]) -> Rate:
    """The median: a sample during which the machine did something else must not make the document's way slow."""
    return sorted(rates, key=lambda rate: rate.per_image)[(len(rates) - 1) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--sample", type=int, default=32, help="images of the document's way between our runs")
    parser.add_argument("--full", action="store_true", help="all 3,127 photos")
    parser.add_argument("--quick", action="store_true", help="whether it runs: small pictures, one trial")
    given = parser.parse_args()
    images, sample, trials = (60, 4, 1) if given.quick else (given.images, given.sample, TRIALS)
    images = ALL_IMAGES if given.full else images
    with tempfile.TemporaryDirectory() as folder:
        data = write_data_set(Path(folder) / "dogs.zip", images)
        document_way = {"B1": Training(data, "resnet50", B1), "B0": Training(data, "resnet50", B0)}
        samples: dict[str, list[tuple[Rate, Rate]]] = {name: [] for name in document_way}
        runs: dict[Arm, dict[str, float]] = {}
        # As it comes it takes minutes more, and nothing is asked of it: with all photos only.
        for arm in ARMS if given.full or given.quick else ARMS[:-1]:
            for name, training in document_way.items():
                samples[name].append(document(training, sample))
            runs[arm] = ours(data, arm, trials, *(["ImageSize=64"] if given.quick else []))
        for name, training in document_way.items():
            samples[name].append(document(training, sample))
        counts = {split: len(Photos(data, split, seed_training.TRAIN)) for split in ("train", "valid", "test")}
    show(images, counts, samples, runs, trials)


def show(
    images: int,
    counts: dict[str, int],
    samples: dict[str, list[tuple[Rate, Rate]]],
    runs: dict[Arm, dict[str, float]],
    trials: int,
) -> None:
    rows: list[Row] = []
    whole: dict[str, float] = {}
    figures: dict[str, float] = {"images": images}
    for name, found in samples.items():
        train, evaluate = (middle(list(part)) for part in zip(*found, strict=True))
        whole[name] = seed_training.whole_way(counts, train, evaluate, trials=trials, epochs=EPOCHS)
        rates = [1 / part.per_image for part, _ in found]
        text = f"{whole[name] / 60:.0f} min, from {spread(rates, 'train images/s', 1)}"
        rows.append((f"{name}, scaled to {images:,} images", text, "—"))
        figures[f"{name.lower()}_images_per_second"] = median(rates)
    for arm, seconds in runs.items():
        took = sum(seconds.values())
        steps = ", ".join(f"{name} {each:.1f}" for name, each in seconds.items())
        wanted = f"{arm.wanted}x" if arm.wanted else "—"
        rows.append((arm.name, f"{took:.1f} s, {whole['B1'] / took:.0f}x B1 ({steps})", "—"))
        for larger in (ALL_IMAGES, DOCUMENT_IMAGES):
            ratio = whole["B1"] * larger / images / scaled(seconds, larger / images)
            if larger > images:
                text = f"at least {ratio:.0f}x B1: what does not grow with the images is scaled as well"
                rows.append((f"the same, scaled to {larger:,} images", text, wanted))
            if arm.wanted:
                figures[f"ratio_{arm.views}_{larger}"] = ratio
    work = f"ResNet-50 (random weights), {trials} trials x {EPOCHS} epochs"
    print_table(f"The whole way to a tuned, trained, evaluated model: {work}", rows, figures=figures)


if __name__ == "__main__":
    main()
