"""A small data set drawn by code: eight cartoon dog breeds in the shape of dogImages, with a few broken files."""

import colorsys
import hashlib
import io
import math
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

IMAGES_PER_CLASS = {"train": 50, "valid": 10, "test": 10}
CANVAS = 256  # pixels; the dog is drawn here, then turned, scaled and pasted
ZIP_TIME = (2020, 1, 1, 0, 0, 0)
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Breed:
    """How one cartoon breed looks. `pattern` is one of spots, stripes, mask, blaze, plain."""

    name: str
    coat: Color
    ears: str
    ear_color: Color
    pattern: str = "plain"
    pattern_color: Color = (0, 0, 0)


BREEDS = (
    Breed("Amber_hound", (226, 150, 60), "hanging", (120, 66, 26)),
    Breed("Blue_terrier", (104, 128, 170), "pointed", (60, 76, 112), "mask", (214, 186, 150)),
    Breed("Cocoa_retriever", (94, 52, 34), "hanging", (64, 34, 22)),
    Breed("Ink_dalmatian", (246, 244, 238), "hanging", (34, 32, 36), "spots", (34, 32, 36)),
    Breed("Ginger_corgi", (236, 124, 44), "pointed", (206, 92, 28), "blaze", (252, 246, 236)),
    Breed("Midnight_shepherd", (40, 40, 48), "pointed", (24, 24, 30), "mask", (196, 120, 54)),
    Breed("Snow_spitz", (250, 248, 244), "pointed", (238, 206, 204)),
    Breed("Tiger_boxer", (232, 206, 128), "folded", (120, 82, 44), "stripes", (84, 54, 28)),
)


def draw_sample_data(destination: Path, *, images_per_class: dict[str, int] | None = None, seed: int = 0) -> Path:
    """Write `<destination>/sample-dogs.zip` and return its path; the same arguments give the same bytes.

    Layout `dogImages/train|valid|test/<NNN.Breed>/<name>.jpg`, 560 images of 200 to 300 pixels by default, plus a
    broken file in each of four train classes. `images_per_class`: by split.
    """
    wanted = images_per_class or IMAGES_PER_CLASS
    destination.mkdir(parents=True, exist_ok=True)
    target = destination / "sample-dogs.zip"
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for number, breed in enumerate(BREEDS, start=1):
            for split, count in wanted.items():
                for index in range(1, count + 1):
                    name = f"dogImages/{split}/{number:03d}.{breed.name}/{breed.name}_{split}_{index:03d}.jpg"
                    _add(archive, name, _photo(breed, random.Random(f"{seed}/{name}")))
        for name, data in _broken_files(seed).items():
            _add(archive, name, data)
    partial.replace(target)
    return target


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), data)


def _broken_files(seed: int) -> dict[str, bytes]:
    """What real collections contain: each of these is for quarantine, none may stop the run."""
    whole = _photo(BREEDS[3], random.Random(f"{seed}/truncated"))
    digest = hashlib.sha256(whole).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(whole)}\n"
    contents = (
        ("empty", b""),
        ("not_found", b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n"),
        ("git_lfs", pointer.encode()),
        ("truncated", whole[: len(whole) // 2]),
    )
    folders = [f"dogImages/train/{number:03d}.{breed.name}" for number, breed in enumerate(BREEDS, start=1)]
    return {f"{folder}/{name}.jpg": data for folder, (name, data) in zip(folders, contents, strict=False)}


def _photo(breed: Breed, chance: random.Random) -> bytes:
    """One JPEG: the dog somewhere on a background, tilted, in some light, with a camera's noise."""
    size = (chance.randint(200, 300), chance.randint(200, 300))
    picture = _background(size, chance)
    side = int(min(size) * chance.uniform(0.9, 1.0))
    dog = _dog(breed, chance).rotate(chance.uniform(-14, 14), Image.Resampling.BILINEAR)
    dog = dog.resize((side, side), Image.Resampling.BILINEAR)
    picture.paste(dog, (chance.randint(0, size[0] - side), chance.randint(0, size[1] - side)), dog)
    grain = np.random.default_rng(chance.getrandbits(32)).integers(-9, 10, (size[1], size[0], 1), np.int16)
    lit = np.asarray(picture, np.int16) * chance.uniform(0.88, 1.08) + grain
    buffer = io.BytesIO()
    Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _background(size: tuple[int, int], chance: random.Random) -> Image.Image:
    """Sky over meadow, in any hue, with a few soft shapes."""
    top = _pastel(chance)
    bottom = _pastel(chance)
    ramp = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
    picture = Image.fromarray(np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(chance.randint(2, 5)):
        x, y, r = chance.uniform(0, size[0]), chance.uniform(0, size[1]), chance.uniform(10, 40)
        draw.ellipse(_box(x, y, r, r), fill=_pastel(chance))
    return picture


def _pastel(chance: random.Random) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(chance.random(), chance.uniform(0.08, 0.25), chance.uniform(0.6, 0.85))
    return int(red * 255), int(green * 255), int(blue * 255)


def _dog(breed: Breed, chance: random.Random) -> Image.Image:
    """A face on a transparent canvas of 256 x 256 pixels."""
    picture = Image.new("RGBA", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(picture)
    width, height = chance.uniform(78, 88), chance.uniform(84, 94)
    if breed.ears != "hanging":
        _ears(draw, breed, chance)
    draw.ellipse(_box(128, 140, width, height), fill=breed.coat)
    _PATTERNS[breed.pattern](draw, breed, chance)
    if breed.ears == "hanging":
        _ears(draw, breed, chance)
    _muzzle(draw, breed, chance)
    return picture


def _ears(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    lift = chance.uniform(-8, 8)
    for side in (-1, 1):
        if breed.ears == "pointed":
            points = [(128 + side * 28, 72), (128 + side * 84, 8 + lift), (128 + side * 82, 108)]
            draw.polygon(points, fill=breed.ear_color)
        elif breed.ears == "folded":
            outer = [(128 + side * 72, 50 + lift), (128 + side * 98, 104)]
            draw.polygon([(128 + side * 34, 62), *outer, (128 + side * 62, 88)], fill=breed.ear_color)
        else:
            draw.ellipse(_box(128 + side * 82, 138 + lift, 26, 62), fill=breed.ear_color)


def _spots(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    for _ in range(15):
        angle, distance = chance.uniform(0, 2 * math.pi), 72 * math.sqrt(chance.random())
        x, y, r = 128 + distance * math.cos(angle), 138 + distance * math.sin(angle), chance.uniform(6, 12)
        draw.ellipse(_box(x, y, r, r), fill=breed.pattern_color)


def _stripes(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    for row in range(5):
        y = 74 + row * 28 + chance.uniform(-3, 3)
        half = 78 * math.sqrt(max(0.0, 1 - ((y - 140) / 90) ** 2))
        for side in (-1, 1):
            draw.line([(128 + side * half, y), (128 + side * half * 0.3, y + 13)], fill=breed.pattern_color, width=10)


def _mask(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    draw.ellipse(_box(128, 184 + chance.uniform(-4, 4), 58, 46), fill=breed.pattern_color)
    for side in (-1, 1):
        draw.ellipse(_box(128 + side * 34, 98, 12, 8), fill=breed.pattern_color)


def _blaze(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    half = chance.uniform(14, 20)
    stripe = [(128 - half * 0.6, 54), (128 + half * 0.6, 54), (128 + half * 2, 200), (128 - half * 2, 200)]
    draw.polygon(stripe, fill=breed.pattern_color)
    draw.ellipse(_box(128, 190, 50, 36), fill=breed.pattern_color)


def _plain(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    """Some dogs are one color."""


_PATTERNS: dict[str, Callable[[ImageDraw.ImageDraw, Breed, random.Random], None]] = {
    "spots": _spots,
    "stripes": _stripes,
    "mask": _mask,
    "blaze": _blaze,
    "plain": _plain,
}


def _muzzle(draw: ImageDraw.ImageDraw, breed: Breed, chance: random.Random) -> None:
    """Eyes, nose, mouth, and a tongue on cheerful days."""
    look = chance.uniform(-3, 3)
    for side in (-1, 1):
        draw.ellipse(_box(128 + side * 34, 122, 13, 14), fill=(252, 252, 252))
        draw.ellipse(_box(128 + side * 34 + look, 124, 8, 9), fill=(30, 20, 16))
        draw.ellipse(_box(131 + side * 34 + look, 120, 2.5, 2.5), fill=(255, 255, 255))
    if chance.random() < 0.5:
        draw.ellipse(_box(128, 208, 13, 20), fill=(232, 110, 124))
    dark = sum(breed.coat) < 180 and breed.pattern == "plain"
    line = (210, 200, 196) if dark else (50, 34, 30)
    for side in (-1, 1):
        draw.arc(_box(128 + side * 16, 186, 16, 14), 0, 180, fill=line, width=4)
    draw.ellipse(_box(128, 168, 20, 14), fill=(24, 20, 22))
    draw.ellipse(_box(122, 163, 5, 3), fill=(120, 110, 114))


def _box(x: float, y: float, half_width: float, half_height: float) -> tuple[float, float, float, float]:
    return x - half_width, y - half_height, x + half_width, y + half_height
