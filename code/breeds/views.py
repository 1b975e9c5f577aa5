"""The views of a prepared image that the backbone sees: the center one, then augmented ones."""

import math
import random

import numpy as np
from PIL import Image

from breeds import images, shards

MIN_AREA = 0.5  # of a random crop; dogs fill their pictures, smaller crops lose the dog
ASPECT_RATIOS = (3 / 4, 4 / 3)


def make_views(jpeg: bytes, key: str, views: int, image_size: int, seed: int) -> list[np.ndarray]:
    """View 0 is the center crop that evaluation uses; the others depend on (seed, key, view) alone.

    So they are the same on any number of hosts and threads. Each is uint8 [image_size, image_size, 3].
    """
    image = shards.decode(jpeg)
    center = images.center_view(image, image_size)
    return [center] + [random_view(image, image_size, random.Random(f"{seed}/{key}/{v}")) for v in range(1, views)]


def random_view(image: Image.Image, image_size: int, chance: random.Random) -> np.ndarray:
    """torchvision's RandomResizedCrop(scale=(0.5, 1)) and RandomHorizontalFlip, in one resampling step."""
    view = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=_random_box(image.size, chance))
    pixels = np.asarray(view)
    return pixels[:, ::-1] if chance.random() < 0.5 else pixels


def _random_box(size: tuple[int, int], chance: random.Random) -> tuple[float, float, float, float]:
    width, height = size
    for _ in range(10):
        area = width * height * chance.uniform(MIN_AREA, 1)
        ratio = math.exp(chance.uniform(math.log(ASPECT_RATIOS[0]), math.log(ASPECT_RATIOS[1])))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = chance.uniform(0, width - w), chance.uniform(0, height - h)
            return left, top, left + w, top + h
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
