"""Confidence intervals by the bootstrap: what the figures would have been on other photos of the same kind.

Resampling n images with replacement and counting them in cells is a draw from a multinomial with the cells' shares, so
a resample costs as much as there are cells, not images. Source: Efron and Tibshirani 1993, percentile interval.
"""

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
CHUNK = 100  # resamples at a time, so that memory stays bounded with many classes


def interval(values: np.ndarray) -> list[float]:
    """[low, high] that hold the middle 95 % of resampled values."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return [float(low), float(high)]


def share(hits: int, count: int, seed: int) -> list[float]:
    """The interval of a share like top-1: `hits` of `count` images. Its width is 0 where all or none are hits."""
    return interval(np.random.default_rng(seed).binomial(count, hits / count, RESAMPLES) / count)


def difference(gained: int, lost: int, count: int, seed: int) -> list[float]:
    """The interval of the difference of two accuracies on the same images: the first model alone is right on `gained`
    of them, the second alone on `lost`."""
    shares = np.array([gained, lost, count - gained - lost]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, RESAMPLES)
    return interval((drawn[:, 0] - drawn[:, 1]) / count)


def macro_f1(confusion: np.ndarray, seed: int) -> list[float]:
    """The interval of the mean F1 over the classes that have images, from int [num_classes, num_classes]."""
    random = np.random.default_rng(seed)
    true, predicted = confusion.nonzero()
    shares = confusion[true, predicted] / confusion.sum()
    classes = np.arange(len(confusion))
    # Which cells add to a class's images, to its predictions, and to its hits.
    of_true, of_predicted = (np.float32(cells[:, None] == classes) for cells in (true, predicted))
    of_hits = of_true * of_predicted
    present = confusion.sum(axis=1) > 0
    values = []
    for _ in range(RESAMPLES // CHUNK):
        drawn = random.multinomial(confusion.sum(), shares, CHUNK).astype(np.float32)
        found = drawn @ of_true + drawn @ of_predicted
        f1 = 2 * (drawn @ of_hits) / np.maximum(found, 1)
        values.append(f1[:, present].mean(axis=1))
    return interval(np.concatenate(values))
