"""Accuracy on photos that are darker, brighter, blurred or tilted: how the model will do on other cameras."""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from breeds.model.embedding import map_in_threads
from breeds.serving.inference import Predictor

SAMPLE_IMAGES = 128
BATCH = 16
UNCHANGED = {"brightness": 1.0, "blur": 0.0, "rotation": 0.0}
CHANGES = {
    "brightness": (0.5, 0.75, 1.5),  # factor
    "blur": (1.0, 2.0),  # radius of a Gaussian in pixels of the view
    "rotation": (7.5, 15.0),  # degrees
}


def measure(predictor: Predictor, jpegs: list[bytes], labels: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """pawline.robustness of evaluation.json: accuracy at each strength of each change, on the same photos.

    `labels` int [n]; `right` bool [n]: the unchanged photos that the model names rightly.
    """
    began = time.perf_counter()
    views = [predictor.view(jpeg) for jpeg in jpegs]
    found: dict[str, Any] = {"num_images": len(views), "unchanged": float(right.mean())}
    for kind, strengths in CHANGES.items():
        curve = {UNCHANGED[kind]: float(right.mean())}
        for strength in strengths:
            curve[strength] = _accuracy(predictor, views, labels, kind, strength)
        found[kind] = [{"value": value, "accuracy": curve[value]} for value in sorted(curve)]
    return {**found, "seconds": round(time.perf_counter() - began, 1)}


def _accuracy(predictor: Predictor, views: list[np.ndarray], labels: np.ndarray, kind: str, strength: float) -> float:
    def predict(start: int) -> np.ndarray:
        changed = [change(view, kind, strength, start + i) for i, view in enumerate(views[start : start + BATCH])]
        return predictor.probabilities(np.stack(changed)).argmax(1)

    predicted = [named for _, named in map_in_threads(predict, range(0, len(views), BATCH))]
    return float((np.concatenate(predicted) == labels).mean())


def change(view: np.ndarray, kind: str, strength: float, number: int = 0) -> np.ndarray:
    """The view uint8 [size, size, 3] changed; odd numbers are tilted to the other side."""
    return _CHANGES[kind](view, strength if number % 2 == 0 or kind != "rotation" else -strength)


def _brighten(view: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(view)).enhance(factor))


def _blur(view: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(view).filter(ImageFilter.GaussianBlur(radius)))


def _rotate(view: np.ndarray, degrees: float) -> np.ndarray:
    """About the centre; the corners are filled by reflection, since black ones would be a change of their own."""
    size = view.shape[0]
    margin = size // 4
    padded = Image.fromarray(np.pad(view, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    turned = padded.rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned.crop((margin, margin, margin + size, margin + size)))


_CHANGES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brightness": _brighten,
    "blur": _blur,
    "rotation": _rotate,
}


def sample(count: int, seed: int) -> list[int]:
    """Sorted positions of the test photos that are changed: all where there are few."""
    return sorted(random.Random(seed).sample(range(count), min(count, SAMPLE_IMAGES)))
