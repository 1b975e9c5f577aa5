"""Telling photos of known breeds from all others: not-dogs, and breeds that the classifier never saw.

The score is the energy of the calibrated logits, -log(sum(exp(logits))): Liu et al. 2020, "Energy-based
Out-of-distribution Detection". It needs no second network, no training features, and is a by-product of every
prediction. On real photos with ten breeds left out it told them apart better than the largest probability and the
distances tried beside it; only the nearest training features did better, and they would have to be served too
(docs/serving.md has figures).
"""

import math
from typing import Any

import numpy as np

SHARE = 0.05  # of photos of known breeds that are called unknown: the price of finding the others


def energy(logits: np.ndarray) -> np.ndarray:
    """float32 [n] of calibrated logits [n, num_classes]; higher is less like what was learned."""
    highest = logits.max(axis=1)
    return -(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))


def choose_threshold(logits: np.ndarray) -> dict[str, Any]:
    """`unknown` of model.json, from the calibrated logits of the validation photos [n, num_classes].

    The threshold is the k-th lowest energy, k = ceil((n + 1)(1 - share)): a new photo like them exceeds it with a
    probability of at most `share` (Vovk et al. 2005, conformal prediction); the plain quantile allows 0.2 points more
    at 400 photos. With fewer than 19 photos it is the highest energy.
    """
    energies, count = np.sort(energy(logits)), len(logits)
    threshold = float(energies[min(math.ceil((count + 1) * (1 - SHARE)), count) - 1])
    return {"score": "energy", "threshold": threshold, "share": SHARE, "images": count}


def of_the_served_form(serving: dict[str, Any] | None, logits: np.ndarray) -> dict[str, Any]:
    """`unknown` of model.json, for the form that will be served: int8 moves energies.

    It is taken out of `serving`, the answer of `optimizing.optimise`; where that has none, PyTorch will serve, and the
    threshold is chosen from its validation `logits`.
    """
    return (serving or {}).pop("unknown", None) or choose_threshold(logits)


def scores(logits: np.ndarray, info: dict[str, Any]) -> np.ndarray | None:
    """float32 [n]: each photo's energy minus the threshold, so that photos above 0 are unknown.

    None for a model (`info`: model.json) that was trained without a threshold.
    """
    described = info.get("unknown")
    return energy(logits) - np.float32(described["threshold"]) if described else None


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Probability that an unknown photo scores higher than a known one; 0.5 is chance (Mann and Whitney 1947)."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, unknown, side="left")
    ties = np.searchsorted(ordered, unknown, side="right") - below
    return float((below + ties / 2).mean() / len(known))
