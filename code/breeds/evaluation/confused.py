"""The pairs of breeds that are taken for each other most, each with a photo of the mistake."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from breeds.evaluation.predictions import Predictions

MOST = 6


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`count` of the `of` photos of breed `true` were taken for `predicted`.

    `mistake`: key of the most confident of these mistakes. `typical`: key of the photo of `predicted` that is
    recognised most confidently; None where none is.
    """

    true: str
    predicted: str
    count: int
    of: int
    mistake: str
    probability: float
    typical: str | None

    @property
    def keys(self) -> Iterator[str]:
        yield from (key for key in (self.mistake, self.typical) if key)


def find(predictions: Predictions, confusion: np.ndarray) -> list[Pair]:
    """At most MOST pairs, the most frequent first; `confusion` int [num_classes, num_classes]."""
    mistakes = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MOST]
    cells = [np.unravel_index(cell, mistakes.shape) for cell in order]
    return [_pair(predictions, confusion, int(t), int(p)) for t, p in cells if mistakes[t, p]]


def _pair(predictions: Predictions, confusion: np.ndarray, true: int, predicted: int) -> Pair:
    certainty = predictions.probabilities[:, predicted]
    named = predictions.predicted == predicted
    mistake = _surest(certainty, named & (predictions.labels == true))
    typical = _surest(certainty, named & (predictions.labels == predicted))
    assert mistake is not None
    return Pair(
        true=predictions.classes[true],
        predicted=predictions.classes[predicted],
        count=int(confusion[true, predicted]),
        of=int(confusion[true].sum()),
        mistake=predictions.keys[mistake],
        probability=float(certainty[mistake]),
        typical=None if typical is None else predictions.keys[typical],
    )


def _surest(certainty: np.ndarray, among: np.ndarray) -> int | None:
    return int(np.where(among, certainty, -1).argmax()) if among.any() else None
