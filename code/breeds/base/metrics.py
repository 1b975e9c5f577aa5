"""Metrics as exact sums over exact counts, and the lines SageMaker's metric definitions match.

A mean of batch means is wrong whenever the last batch is smaller; sums are right, and add up across ranks.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from contract import metrics


@dataclass
class Sums:
    """Summed loss, number of correct predictions and number of samples, over any number of batches."""

    loss: float = 0.0
    correct: int = 0
    count: int = 0

    def add(self, mean_loss: float, correct: int, count: int) -> None:
        """Count a batch of `count` samples with this mean loss."""
        self.loss += mean_loss * count
        self.correct += correct
        self.count += count

    @property
    def mean_loss(self) -> float:
        return self.loss / self.count

    @property
    def accuracy(self) -> float:
        return self.correct / self.count


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """What one epoch printed, with the metrics of contract/metrics.py."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float

    def line(self, prefix: str = "") -> str:
        values = [metrics.printed(name, value) for name, value in self._by_name().items()]
        return " ".join([f"{prefix}epoch={self.epoch}", *values, f"seconds={self.seconds:.2f}"])

    def as_json(self) -> dict[str, float]:
        """`metrics` of model.json."""
        return {"epoch": self.epoch, **self._by_name()}

    def _by_name(self) -> dict[str, float]:
        return {name: getattr(self, name.replace(":", "_")) for name in metrics.NAMES}


def count_correct(logits: Tensor, labels: Tensor) -> int:
    """Number of rows of logits [n, c] whose largest entry is at labels [n]."""
    return int((logits.argmax(dim=1) == labels).sum())


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything evaluation.json says about predictions on the test set."""

    classes: list[str]
    num_images: int
    top1: float
    top5: float
    ece: float
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    bins: list[dict[str, float]] = field(default_factory=list)


def report(probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> Report:
    """Score probabilities [n, c] against labels int [n].

    Precision, recall and F1 of a class that has no predictions (or no images) are 0, as scikit-learn's
    zero_division=0. top5 counts a hit among the five largest, or all where there are fewer classes.
    """
    predicted = probabilities.argmax(axis=1)
    num_classes = len(classes)
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hits = confusion.diagonal().astype(np.float64)
    support, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(predictions, 1), hits / np.maximum(support, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best_five = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    bins = reliability_bins(probabilities.max(axis=1), predicted == labels)
    return Report(
        classes=classes,
        num_images=len(labels),
        top1=float((predicted == labels).mean()),
        top5=float((best_five == labels[:, None]).any(axis=1).mean()),
        ece=calibration_error(bins),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        bins=bins,
    )


def reliability_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int = 15) -> list[dict[str, float]]:
    """Equal-width confidence bins (Guo et al. 2017, "On Calibration of Modern Neural Networks"); empty ones left out.

    Each: `low`, `high`, `count`, mean `confidence`, `accuracy`.
    """
    index = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    return [
        {
            "low": i / num_bins,
            "high": (i + 1) / num_bins,
            "count": int((index == i).sum()),
            "confidence": float(confidence[index == i].mean()),
            "accuracy": float(correct[index == i].mean()),
        }
        for i in np.unique(index).tolist()
    ]


def calibration_error(bins: list[dict[str, float]]) -> float:
    """The expected calibration error: the bins' count-weighted mean |accuracy - confidence|."""
    gaps = sum(each["count"] * abs(each["accuracy"] - each["confidence"]) for each in bins)
    return float(gaps / sum(each["count"] for each in bins))


def uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What the probabilities [n, c] were before the logits were divided by `temperature`."""
    powers = probabilities.astype(np.float64) ** temperature
    return powers / powers.sum(axis=1, keepdims=True)


def standard_error(proportion: float, count: int) -> float:
    """Standard deviation of an accuracy measured on `count` images (binomial)."""
    return float(np.sqrt(proportion * (1 - proportion) / count))
