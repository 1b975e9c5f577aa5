"""Intervals by resampling counts: the same as resampling images, which is how they are checked."""

import numpy as np
import pytest
from breeds.base import metrics
from breeds.evaluation import bootstrap


def resampled_images(truth: np.ndarray, predicted: np.ndarray, figure, seed: int = 1) -> list[float]:
    random = np.random.default_rng(seed)
    draws = [random.integers(0, len(truth), len(truth)) for _ in range(1000)]
    return bootstrap.interval(np.array([figure(truth[draw], predicted[draw]) for draw in draws]))


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    return counts


@pytest.fixture(scope="module")
def named() -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of 300 images of 6 classes, about 80 % right."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 300)
    return truth, np.where(random.random(300) < 0.8, truth, random.integers(0, 6, 300))


def test_an_accuracys_interval_is_that_of_resampled_images(named):
    hits = int((named[0] == named[1]).sum())
    expected = resampled_images(*named, lambda t, p: (t == p).mean())
    assert bootstrap.share(hits, 300, 0) == pytest.approx(expected, abs=0.012)


def test_macro_f1s_interval_is_that_of_resampled_images(named):
    def macro_f1(truth, predicted):
        one_hot = np.eye(6)[predicted]
        return metrics.report(one_hot, truth, list("abcdef")).f1.mean()

    given = bootstrap.macro_f1(confusion(*named, 6), 0)
    assert given == pytest.approx(resampled_images(*named, macro_f1), abs=0.015)
    assert given[0] < macro_f1(*named) < given[1]


def test_equal_seeds_give_equal_intervals_and_more_images_narrower_ones():
    assert bootstrap.share(90, 100, 3) == bootstrap.share(90, 100, 3)
    wide, narrow = (bootstrap.share(9 * n, 10 * n, 0) for n in (10, 1000))
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 5


def test_without_a_mistake_there_is_nothing_to_resample():
    assert bootstrap.share(50, 50, 0) == [1.0, 1.0]
    assert bootstrap.macro_f1(np.diag([25, 25]), 0) == [1.0, 1.0]


def test_many_classes_are_resampled_in_chunks():
    truth = np.random.default_rng(0).integers(0, 133, 8000)
    low, high = bootstrap.macro_f1(confusion(truth, truth // 2 * 2, 133), 0)
    assert 0 < low < high < 1
