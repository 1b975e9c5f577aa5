"""Images per second of Prepare and Embed (MobileNetV2, ResNet-50) on one core, two cores, … all cores of this machine.

python -m benchmarks.cores [--images 400 | --full | --quick]
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import machine
from benchmarks.jobs import Flow
from benchmarks.machine import Row, print_table, spread

STEPS = ("prepare", "embed", "embed-resnet50")


def counts() -> list[int]:
    """1, 2, 4, … and all cores."""
    all_cores = machine.cores()
    return sorted({2**n for n in range(10) if 2**n < all_cores} | {all_cores})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="2,000 images, 5 rounds")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 24 small images, once")
    given = parser.parse_args()
    images, rounds, size = given.images, given.rounds, 224
    if given.quick:
        images, rounds, size = 24, 1, 64
    elif given.full:
        images, rounds = 2000, 5
    rates: dict[str, dict[int, list[float]]] = {step: {n: [] for n in counts()} for step in STEPS}
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow.of(Path(folder), images)
        for number in range(rounds):
            for cores in counts():
                name = f"prepared-{cores}-{number}"
                rates["prepare"][cores].append(flow.prepare(cores=cores, to=name).rate)
                if not (flow.folder / "prepared").exists():
                    (flow.folder / name).rename(flow.folder / "prepared")
                found = flow.embed(views=1, image_size=size, cores=cores, to=f"features-{cores}-{number}")
                rates["embed"][cores].append(found.rate)
                if not number:
                    found = flow.embed(
                        views=1, image_size=size, cores=cores, to=f"resnet-{cores}-{number}", backbone="resnet50"
                    )
                    rates["embed-resnet50"][cores].append(found.rate)
    rows: list[Row] = []
    figures: dict[str, float] = {}
    for step, by_cores in rates.items():
        one = median(by_cores[1])
        for cores, found in by_cores.items():
            rows.append((f"{step}, {cores} core{'s' * (cores > 1)}", f"{spread(found, 'images/s', 0)}", "—"))
            figures[f"{step}_{cores}"] = median(found)
            rows[-1] = (rows[-1][0], f"{rows[-1][1]}, {median(found) / one:.2f}x one core", "—")
    series = {step: [[n, median(found)] for n, found in by_cores.items()] for step, by_cores in rates.items()}
    title = f"Speed against cores: Prepare, and Embed with MobileNetV2 and ResNet-50, 1 view ({images:,} images)"
    print_table(title, rows, figures=figures, series=series)


if __name__ == "__main__":
    main()
