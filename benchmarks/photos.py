"""Data sets of any size: the real photos over and over, each copy a file of its own.

A copy differs from its original by a JPEG comment alone, so it costs what a photo costs and is no duplicate.
"""

import io
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared/data/dogImages.zip"
WEIGHTS = ROOT.parent / "shared/weights/mobilenet_v2.pth"
CLASSES = 20  # of drawn pictures
DRAWN = 200  # different drawn pictures
IMAGES_PER_CLASS = 6  # at least, where that many classes leave so many
Photo = tuple[PurePosixPath, bytes]


def write_data_set(target: Path, images: int, archive: Path = DATA, copies: int = 1) -> Path:
    """A zip of `images` photos, `<split>/<class>/<name>.jpg`; fewer classes where there are few images.

    With `copies` it is a smaller data set that many times over. Every class has an image in every split. Without an
    archive the pictures are drawn: of a photo's size and weight, but of nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    photos = images // copies
    originals = _ordered(_photos(archive) if archive.exists() else list(_draw(DRAWN)), photos)[:photos]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as zipped:
        for number in range(images):
            path, jpeg = originals[number % len(originals)]
            name = f"{path.parent}/{path.stem}-{number // len(originals):04d}.jpg"
            zipped.writestr(name, _renewed(jpeg, number))
    return target


def weights_folder(target: Path, weights: Path = WEIGHTS) -> tuple[Path, str]:
    """A weights channel and its backbone: MobileNetV2 where its weights are at hand, else random ones."""
    target.mkdir(parents=True, exist_ok=True)
    if weights.exists():
        shutil.copy(weights, target)
    else:
        (target / "random.json").write_text('{"kind": "random", "seed": 0}')
    return target, "mobilenet_v2"


def _ordered(photos: list[Photo], images: int) -> list[Photo]:
    """One of each class and split first, then all the others, well mixed."""
    classes = sorted({path.parent.name for path, _ in photos})
    number = max(2, min(len(classes), images // IMAGES_PER_CLASS))
    kept = {classes[len(classes) * n // number] for n in range(number)}
    mixed = [photo for photo in photos if photo[0].parent.name in kept]
    random.Random(0).shuffle(mixed)
    first = {path.parent: path for path, _ in reversed(mixed)}
    return sorted(mixed, key=lambda photo: first[photo[0].parent] != photo[0])


def _photos(archive: Path) -> list[Photo]:
    with zipfile.ZipFile(archive) as zipped:
        names = sorted(name for name in zipped.namelist() if name.lower().endswith((".jpg", ".jpeg")))
        return [(PurePosixPath(name), data) for name in names if (data := zipped.read(name)).startswith(b"\xff\xd8")]


def _draw(count: int) -> Iterator[Photo]:
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        picture = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        grain = rng.normal(0, 6, picture.shape)
        buffer = io.BytesIO()
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=75)
        split = {0: "valid", 1: "test"}.get(number // CLASSES % 10, "train")
        yield PurePosixPath(f"drawn/{split}/{number % CLASSES:03d}.Pattern/{number:05d}.jpg"), buffer.getvalue()


def _renewed(jpeg: bytes, number: int) -> bytes:
    """The same picture with a comment segment after the start marker, so that its bytes are new."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + f"{number:08d}".encode() + jpeg[2:]
