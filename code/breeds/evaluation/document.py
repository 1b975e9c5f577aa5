"""The content of evaluation.json (docs/formats.md): SageMaker's model-quality layout, and Pawline's own block."""

from typing import Any

import numpy as np

from breeds.base import metrics
from breeds.base.metrics import Report
from breeds.evaluation import bootstrap
from breeds.evaluation.predictions import Predictions
from breeds.model import unknown as unknowns
from breeds.serving.inference import Predictor, smooth_noise

SEED = 0  # of the resamples: the same predictions give the same intervals
NOISE_IMAGES = 32


def standard(report: Report) -> dict[str, Any]:
    """multiclass_classification_metrics; averages are weighted by a class's number of images."""
    weights = report.support / report.support.sum()
    values = {
        "accuracy": report.top1,
        "weighted_precision": float(weights @ report.precision),
        "weighted_recall": float(weights @ report.recall),
        "weighted_f1": float(weights @ report.f1),
    }
    return {
        **{
            name: {"value": value, "standard_deviation": metrics.standard_error(value, report.num_images)}
            for name, value in values.items()
        },
        "confusion_matrix": {
            true: {predicted: int(count) for predicted, count in zip(report.classes, row, strict=True)}
            for true, row in zip(report.classes, report.confusion, strict=True)
        },
    }


def accuracy(report: Report) -> dict[str, Any]:
    """top1, top5 and macro_f1 with the intervals that hold 95 % of resampled test sets, and the table of breeds."""
    hits = [round(value * report.num_images) for value in (report.top1, report.top5)]
    return {
        "top1": report.top1,
        "top5": report.top5,
        "macro_f1": float(report.f1[report.support > 0].mean()),
        "intervals": {
            "top1": bootstrap.share(hits[0], report.num_images, SEED),
            "top5": bootstrap.share(hits[1], report.num_images, SEED),
            "macro_f1": bootstrap.macro_f1(report.confusion, SEED),
        },
        "num_images": report.num_images,
        "per_class": {
            name: {
                "precision": float(report.precision[i]),
                "recall": float(report.recall[i]),
                "f1": float(report.f1[i]),
                "support": int(report.support[i]),
            }
            for i, name in enumerate(report.classes)
        },
    }


def calibration(predictions: Predictions, ece: float, temperature: float) -> dict[str, Any]:
    """The calibration errors of the probabilities that are served, and of those before the temperature."""
    plain = metrics.uncalibrated(predictions.probabilities, temperature)
    bins = metrics.reliability_bins(plain.max(axis=1), plain.argmax(axis=1) == predictions.labels)
    before = metrics.calibration_error(bins)
    return {"ece": ece, "ece_uncalibrated": before, "temperature": temperature}


def unknown(predictions: Predictions, predictor: Predictor) -> dict[str, Any] | None:
    """The shares of the test photos, right and wrong ones, and of smooth noise that the model calls unknown.

    Noise is the easiest case: photos of other things and of other breeds are harder.
    """
    scores, right = predictions.unknown, predictions.right
    if scores is None:
        return None
    nothing = predictor.answers(smooth_noise(predictor.image_size, NOISE_IMAGES))[1]
    assert nothing is not None
    return {
        "threshold": predictor.info["unknown"]["threshold"],
        "expected": unknowns.SHARE,
        "test": _share(scores),
        "test_right": _share(scores[right]),
        "test_wrong": _share(scores[~right]),
        "noise": _share(nothing),
        "auroc_noise": unknowns.auroc(scores, nothing),
    }


def _share(scores: np.ndarray) -> float | None:
    """The share of unknown photos; None where there are no photos."""
    return float((scores > 0).mean()) if len(scores) else None
