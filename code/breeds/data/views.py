"""The views of a prepared image that the backbone sees: the center one, then random crops."""

import math
import random

import numpy as np
from PIL import Image

from breeds.data import images, jpeg, shards

MIN_AREA = 0.5  # of a random crop; dogs fill their pictures, smaller crops lose the dog
ASPECT_RATIOS = (3 / 4, 4 / 3)


def make_views(stored: bytes, key: str, views: int, image_size: int, seed: int) -> list[np.ndarray]:
    """View 0 is the center view that evaluation uses; the others are crops that depend on (seed, key, view) alone.

    So they are the same on any number of hosts and threads. Each is uint8 [side, side, 3]; the side is
    `images.view_size(image_size)` for the center view and `image_size` for the crops.
    """
    pixels = shards.pixels(stored)
    center = images.center_view(Image.fromarray(pixels), images.view_size(image_size))
    return [center] + [random_view(pixels, image_size, random.Random(f"{seed}/{key}/{v}")) for v in range(1, views)]


def random_view(pixels: np.ndarray, image_size: int, chance: random.Random) -> np.ndarray:
    """torchvision's RandomResizedCrop(scale=(0.5, 1)) and RandomHorizontalFlip of uint8 [height, width, 3]."""
    left, top, right, bottom = _random_box(pixels.shape[1], pixels.shape[0], chance)
    view = jpeg.resize(np.ascontiguousarray(pixels[top:bottom, left:right]), image_size, image_size)
    return view[:, ::-1] if chance.random() < 0.5 else view


def _random_box(width: int, height: int, chance: random.Random) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = width * height * chance.uniform(MIN_AREA, 1)
        ratio = math.exp(chance.uniform(math.log(ASPECT_RATIOS[0]), math.log(ASPECT_RATIOS[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = chance.randint(0, width - w), chance.randint(0, height - h)
            return left, top, left + w, top + h
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
