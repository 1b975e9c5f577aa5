"""Seconds and dollars of each step against the number of images.

    python -m benchmarks.sizes [--sizes 200 800 | --full | --quick]

Each size is a data set of its own through every script, MobileNetV2 with 4 views. Dollars are those of an ml.m5 with
two vCPUs for each core here, the starts of instances left out: pipeline/durations.py reckons alike.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import machine
from benchmarks.jobs import Flow
from benchmarks.machine import Row, print_table
from pipeline import prices

STEPS = ("prepare", "embed", "trial", "train", "evaluate")
VIEWS, EPOCHS, TRIALS = 4, 8, 10
INSTANCE, VCPUS_PER_CORE, INSTANCE_VCPUS = "ml.m5.large", 2, 2


def dollars(seconds: float) -> float:
    hourly = prices.load().of(INSTANCE) * VCPUS_PER_CORE * machine.cores() / INSTANCE_VCPUS
    return hourly * seconds / 3600


def whole(seconds: dict[str, float]) -> float:
    """Seconds of a run with its tuning, whose trials run one per core at a time."""
    return sum(seconds.values()) - seconds["trial"] + seconds["trial"] * TRIALS / machine.cores()


def measure(images: int, image_size: int, epochs: int) -> tuple[dict[str, float], float]:
    """(seconds of each step, train images per second of a head's epoch)."""
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow.of(Path(folder), images)
        prepare, embed = flow.prepare(), flow.embed(views=VIEWS, image_size=image_size)
        trial, train, evaluate = flow.trial(epochs=epochs), flow.train(epochs=epochs), flow.evaluate()
        steps = zip(STEPS, (prepare, embed, trial, train, evaluate), strict=True)
        head = flow.train_images / max(median(trial.epoch_seconds), 0.005)
        return {name: step.seconds for name, step in steps}, head


def slope(points: list[tuple[int, float]]) -> tuple[float, float]:
    """(seconds per image, fixed seconds) of the straight line through all points, by least squares."""
    n, mean_x, mean_y = len(points), sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    square = sum((x - mean_x) ** 2 for x, _ in points)
    if n < 2 or not square:
        return mean_y / mean_x, 0.0
    per_image = sum((x - mean_x) * (y - mean_y) for x, y in points) / square
    return max(per_image, 0.0), max(mean_y - per_image * mean_x, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--full", action="store_true", help="1,000, 3,000, 10,000 and 30,000 images")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 24 and 48 small images")
    given = parser.parse_args()
    sizes, image_size, epochs = given.sizes, 224, EPOCHS
    if given.quick:
        sizes, image_size, epochs = [24, 48], 64, 1
    elif given.full:
        sizes = [1000, 3000, 10_000, 30_000]
    measured = {images: measure(images, image_size, epochs) for images in sizes}
    found = {images: seconds for images, (seconds, _) in measured.items()}
    rows: list[Row] = []
    for images, seconds in found.items():
        steps = ", ".join(f"{name} {each:.1f}" for name, each in seconds.items())
        took = whole(seconds)
        rows.append((f"{images:,} images", f"{took:.0f} s with {TRIALS} trials ({steps}), ${dollars(took):.4f}", "—"))
    head = measured[max(sizes)][1]
    rows.append(("a head's epoch at the largest size", f"{head:,.0f} images/s", "—"))
    figures: dict[str, float] = {"cores": machine.cores(), "head_images_per_second": head}
    for step in STEPS:
        per_image, fixed = slope([(images, seconds[step]) for images, seconds in found.items()])
        figures |= {f"{step}_per_image": per_image, f"{step}_fixed": fixed}
        rows.append((f"{step}: slope", f"{1000 * per_image:.2f} ms an image and {fixed:.1f} s", "—"))
    series = {step: [[images, seconds[step]] for images, seconds in found.items()] for step in STEPS}
    series["dollars"] = [[images, dollars(whole(seconds))] for images, seconds in found.items()]
    title = f"Cost against data size: MobileNetV2, {VIEWS} views, {epochs} epochs"
    print_table(title, rows, figures=figures, series=series)


if __name__ == "__main__":
    main()
