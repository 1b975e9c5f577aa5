"""What a model says of every photo of a split: the numbers that evaluation is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from breeds.base.container import InputError
from breeds.data import shards
from breeds.model.embedding import map_in_threads
from breeds.serving.inference import Predictor

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Of n photos in the order of their shards: keys, labels int [n], probabilities float32 [n, num_classes], and
    unknown scores float32 [n] (above 0: no known breed) where the model gives them."""

    keys: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    unknown: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """bool [n]."""
        return self.predicted == self.labels


def predict(predictor: Predictor, prepared: Path, split: str, classes: list[str]) -> Predictions:
    """Predictions for the whole split, whose labels count in `classes`; the model may have them in another order.

    Raises InputError where the split has no photos.
    """

    def answers(batch: list[tuple[str, int, bytes]]) -> tuple[np.ndarray, np.ndarray | None]:
        return predictor.answers(np.stack([predictor.view(jpeg) for _, _, jpeg in batch]))

    keys: list[str] = []
    labels: list[int] = []
    parts: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    columns = [predictor.classes.index(name) for name in classes]
    for batch, (probabilities, unknown) in map_in_threads(answers, batches(prepared, split)):
        keys += [key for key, _, _ in batch]
        labels += [label for _, label, _ in batch]
        parts.append(probabilities[:, columns])
        scores += [] if unknown is None else [unknown]
    if not keys:
        raise InputError(f"{prepared} holds no {split} images.", "Run the Prepare step again.")
    return Predictions(
        keys=keys,
        labels=np.array(labels),
        probabilities=np.concatenate(parts),
        classes=classes,
        unknown=np.concatenate(scores) if scores else None,
    )


def batches(prepared: Path, split: str) -> Iterator[list[tuple[str, int, bytes]]]:
    """Batches of (key, label, JPEG bytes) of a split."""
    items = shards.read_jpegs(prepared, split)
    while batch := list(islice(items, BATCH)):
        yield batch
