"""Prepare on one core and on all, against Pillow's decode and resize on one core; what readers pay.

    python -m benchmarks.prepare [--data dogImages.zip --images 1000 --rounds 5]

The arms take turns. Each reads the same zip from disk; Prepare's also hashes each file, writes shards and a manifest.
"""

import argparse
import io
import os
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.machine import print_table, spread

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "code"))

from breeds.data import images, shards  # noqa: E402

CAMERA = (4000, 3000)
SAMPLE = 200
SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/dogImages.zip")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    photos = read_photos(arguments.data, arguments.images)
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder), "real photos" if arguments.data.exists() else "drawn pictures", photos, arguments.rounds)
        camera = [enlarged(photo) for photo in photos[:: max(1, len(photos) // 24)]]
        speed(Path(folder), "the same at 12 megapixels", camera, arguments.rounds)
        reading(photos[:SAMPLE], arguments.rounds)


def speed(folder: Path, name: str, photos: list[bytes], rounds: int) -> None:
    """Images per second of each arm, whole runs interleaved."""
    archive = write_zip(folder / f"{len(photos)}.zip", photos)
    cores = len(os.sched_getaffinity(0))
    arms: dict[str, Callable[[], object]] = {
        "Pillow: decode and resize, one core": lambda: pillow(archive),
        "prepare.py, one core": lambda: on_cores(1, archive, folder),
        f"prepare.py, {cores} cores": lambda: on_cores(cores, archive, folder),
    }
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(-1, rounds):
        for arm, work in arms.items():
            began = time.perf_counter()
            work()
            if number >= 0:
                rates[arm].append(len(photos) / (time.perf_counter() - began))
    base = rates["Pillow: decode and resize, one core"]
    rows = [
        (
            arm,
            f"{spread(found, 'images/s', 0)}, {median(a / b for a, b in zip(found, base, strict=True)):.1f}x",
            "4x" if arm.endswith(f"{cores} cores") and name == "real photos" else "—",
        )
        for arm, found in rates.items()
    ]
    ratio = median(a / b for a, b in zip(rates[f"prepare.py, {cores} cores"], base, strict=True))
    figures = {"ratio": ratio, "images_per_second": median(rates[f"prepare.py, {cores} cores"])}
    print_table(f"Preparing {len(photos)} images, {name}", rows, figures=figures if name == "real photos" else None)


def pillow(archive: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for name in zipped.namelist():
            with Image.open(io.BytesIO(zipped.read(name))) as image:
                images.resize_short_side(image.convert("RGB"), SIZE)


def on_cores(count: int, archive: Path, folder: Path) -> None:
    """The step's own script in this process and its workers, start of the workers included."""
    import prepare

    with cores(count), redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory(dir=folder) as output:
        prepare.main(["--input", str(archive), "--output", output, "--max-duplicates", "1000000"])


@contextmanager
def cores(count: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def reading(photos: list[bytes], rounds: int) -> None:
    """What a reader of a shard pays for an image, since Prepare leaves ordinary photos as they are."""
    copies = [copy_of(photo) for photo in photos]
    kept = [images.prepare(photo, max_pixels=10**8, short_side=shards.PICTURE_SIDE) for photo in photos]
    arms: dict[str, Callable[[], list]] = {
        "a copy of short side 256, quality 95, through Pillow": lambda: [
            np.asarray(Image.open(io.BytesIO(copy))) for copy in copies
        ],
        "what Prepare stores, to short side 256": lambda: [shards.pixels(photo) for photo in kept],
    }
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(-1, rounds):
        for arm, work in arms.items():
            began = time.perf_counter()
            work()
            if number >= 0:
                times[arm].append(1000 * (time.perf_counter() - began) / len(photos))
    sizes = [sum(map(len, stored)) / len(stored) / 1024 for stored in (copies, kept)]
    rows = [
        (arm, f"{spread(found, 'ms an image')}, {size:.1f} KiB", "—")
        for (arm, found), size in zip(times.items(), sizes, strict=True)
    ]
    print_table("Reading a prepared image", rows)


def copy_of(photo: bytes) -> bytes:
    image = images.resize_short_side(images.decode(photo, max_pixels=10**8), shards.PICTURE_SIDE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=images.JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def write_zip(path: Path, photos: list[bytes]) -> Path:
    """A data set of two classes in all splits."""
    with zipfile.ZipFile(path, "w") as target:
        for position, photo in enumerate(photos):
            split = ("train", "valid", "test")[position // 2 % 3]
            target.writestr(f"{split}/{position % 2}/{position}.jpg", photo)
    return path


def read_photos(archive: Path, count: int) -> list[bytes]:
    """JPEG files of the archive, or drawn pictures of the same size where there is none."""
    if not archive.exists():
        print(f"No photos at {archive}: pictures are drawn.")
        return [drawn(seed) for seed in range(count)]
    with zipfile.ZipFile(archive) as zipped:
        names = sorted(name for name in zipped.namelist() if name.lower().endswith(".jpg"))
        return [zipped.read(name) for name in random.Random(0).sample(names, min(count, len(names)))]


def drawn(seed: int) -> bytes:
    grain = np.random.default_rng(seed).integers(0, 255, (94, 125, 3), np.uint8)
    return encoded(Image.fromarray(grain).resize((500, 375), Image.Resampling.BICUBIC))


def enlarged(photo: bytes) -> bytes:
    return encoded(Image.open(io.BytesIO(photo)).convert("RGB").resize(CAMERA, Image.Resampling.BICUBIC))


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
