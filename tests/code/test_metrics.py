"""Metrics against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from breeds.base import figures, metrics
from breeds.base.metrics import Sums
from breeds.evaluation import pictures
from breeds.model.classifier import Head
from PIL import Image


def test_a_mean_over_unequal_batches_is_the_mean_over_all_samples():
    sums = Sums()
    sums.add(mean_loss=1.0, correct=3, count=3)
    sums.add(mean_loss=5.0, correct=0, count=1)
    assert (sums.mean_loss, sums.accuracy, sums.count) == (2.0, 0.75, 4)


def test_top1_top5_and_the_confusion_matrix_count_what_they_say():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.2, 0.2, 0.6]])
    report = metrics.report(probabilities, np.array([0, 2, 0, 1]), ["a", "b", "c"])
    assert report.top1 == 0.5
    assert report.top5 == 1.0
    assert report.confusion.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert report.precision.tolist() == [1.0, 0.0, 0.5]
    assert report.recall.tolist() == [0.5, 0.0, 1.0]
    assert report.f1 == pytest.approx([2 / 3, 0, 2 / 3])


def test_top5_looks_at_five_of_more_classes():
    probabilities = np.tile(np.array([[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]]), (3, 1))
    assert metrics.report(probabilities, np.array([4, 5, 0]), list("abcdefg")).top5 == pytest.approx(2 / 3)


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 0, 0, 1, 0, 1])
    # 4 images at 0.95 with 3 right, 2 at 0.55 with 1 right
    assert metrics.report(probabilities, labels, ["a", "b"]).ece == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)


def test_certainty_falls_into_the_last_bin():
    bins = metrics.reliability_bins(np.array([1.0]), np.array([True]))
    assert [(b["high"], b["count"]) for b in bins] == [(1.0, 1)]


def test_a_temperature_repairs_confidence_and_changes_no_prediction():
    torch.manual_seed(0)
    truth = torch.randn(2000, 5) * 2
    labels = torch.distributions.Categorical(logits=truth).sample()
    head = Head(4, 4, 5)
    head.calibrate(truth / 3, labels)
    assert float(head.temperature) == pytest.approx(1 / 3, rel=0.1)


def test_a_constant_feature_does_not_divide_by_zero():
    head = Head(3, 4, 2).eval()
    features = torch.randn(10, 3)
    features[:, 1] = 7
    head.standardise_by([features])
    assert torch.isfinite(head(features)).all()
    assert float(head.std[1]) == 1


def drawn(figure, path) -> np.ndarray:
    """uint8 [height, width, 3] of the figure's PNG."""
    figures.save(figure, path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("num_classes", [2, 40, 133])
def test_the_confusion_picture_shows_its_counts_as_ink(tmp_path, num_classes):
    matrix = np.eye(num_classes, dtype=int) * 5
    names = [f"breed number {i}" for i in range(num_classes)]
    clean, wrong = drawn(pictures.confusion(matrix, names), tmp_path / "clean.png"), matrix.copy()
    wrong[0, 1] = 5
    assert min(clean.shape[:2]) >= 100
    assert np.any(clean != drawn(pictures.confusion(wrong, names), tmp_path / "wrong.png"))


def test_the_reliability_picture_draws_bars_as_high_as_accuracy(tmp_path):
    full = [{"low": 0.9, "high": 1.0, "count": 5, "confidence": 0.95, "accuracy": 1.0}]
    empty = [{**full[0], "accuracy": 0.0}]
    painted = [drawn(pictures.reliability(bins, 0.1), tmp_path / "reliability.png") for bins in (full, empty)]
    blue = tuple(bytes.fromhex(figures.BLUE[1:]))
    dark = [int((each == blue).all(axis=2).sum()) for each in painted]
    assert dark[0] > 10_000 > dark[1]
