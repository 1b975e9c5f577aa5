"""Score the trained classifier on the test split, once: evaluation.json (docs/formats.md) and two pictures.

    python code/evaluate.py --model DIR --prepared DIR --output DIR

--model holds model.tar.gz (or its content). Predictions are made by the code that serves them.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from breeds import container, inference, manifest, metrics, plots, shards
from breeds.container import InputError
from breeds.embedding import map_in_threads
from breeds.inference import Predictor
from breeds.outputs import staged

BATCH = 16
LATENCY_IMAGES = 50


def main() -> None:
    parser = container.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("/opt/ml/processing/input/model"))
    parser.add_argument("--prepared", type=Path, default=Path("/opt/ml/processing/input/prepared"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/evaluation"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        evaluate(model_directory(arguments.model, Path(scratch)), arguments.prepared, arguments.output)


def evaluate(model: Path, prepared: Path, output: Path) -> None:
    predictor = inference.load(model)
    check_classes(predictor, prepared)
    # Before the batches, whose threads leave torch with one thread each.
    latency = measure_latency(predictor, prepared)
    probabilities, labels = predict_all(predictor, prepared)
    report = metrics.report(probabilities, labels, predictor.classes)
    with staged(output) as staging:
        plots.confusion(report.confusion, report.classes).save(staging / "confusion.png")
        plots.reliability(report.bins, report.ece).save(staging / "reliability.png")
        (staging / "evaluation.json").write_text(json.dumps(as_json(report, latency), indent=1))
    print(
        f"test:top1={report.top1:.4f} test:top5={report.top5:.4f} test:ece={report.ece:.4f} "
        f"images={report.num_images} latency p50={latency['p50']:.1f} ms p99={latency['p99']:.1f} ms",
        flush=True,
    )


def model_directory(given: Path, scratch: Path) -> Path:
    """The unpacked model: `given` itself where it holds model.json, else its model.tar.gz unpacked into `scratch`."""
    if (given / "model.json").is_file():
        return given
    archive = given if given.is_file() else given / "model.tar.gz"
    if not archive.is_file():
        raise InputError(f"{given} holds no model.tar.gz.", "Give the output of the Train step.")
    inference.unpack(archive, scratch)
    return scratch


def check_classes(predictor: Predictor, prepared: Path) -> None:
    classes = list(manifest.load(prepared).classes)
    if classes != predictor.classes:
        raise InputError(
            f"The model knows {len(predictor.classes)} classes, the prepared images have {len(classes)} or other ones.",
            "Evaluate a model on the data set it was trained on.",
        )


def predict_all(predictor: Predictor, prepared: Path) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities float32 [n, num_classes], labels int64 [n]) of the test split."""

    def predict(batch: list[tuple[str, int, bytes]]) -> np.ndarray:
        return predictor.probabilities(np.stack([predictor.view(shards.decode(jpeg)) for _, _, jpeg in batch]))

    labels: list[int] = []
    parts: list[np.ndarray] = []
    for batch, probabilities in map_in_threads(predict, batches(prepared)):
        labels += [label for _, label, _ in batch]
        parts.append(probabilities)
    if not labels:
        raise InputError(f"{prepared} holds no test images.", "Run the Prepare step again.")
    return np.concatenate(parts), np.array(labels)


def batches(prepared: Path) -> Iterator[list[tuple[str, int, bytes]]]:
    items = shards.read_jpegs(prepared, "test")
    while batch := list(islice(items, BATCH)):
        yield batch


def measure_latency(predictor: Predictor, prepared: Path) -> dict[str, float]:
    """Milliseconds from JPEG bytes to breeds, one image at a time: p50 and p99 over the first test images."""
    predictor.warm_up()
    times = []
    for _, _, jpeg in islice(shards.read_jpegs(prepared, "test"), LATENCY_IMAGES):
        started = time.perf_counter()
        predictor.predict(shards.decode(jpeg))
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times or [0.0], (50, 99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def as_json(report: metrics.Report, latency: dict[str, float]) -> dict[str, Any]:
    """SageMaker's model-quality layout; averages are weighted by a class's number of images."""
    weights = report.support / report.support.sum()
    weighted = {
        "weighted_precision": float(weights @ report.precision),
        "weighted_recall": float(weights @ report.recall),
        "weighted_f1": float(weights @ report.f1),
    }
    return {
        "multiclass_classification_metrics": {
            "accuracy": {
                "value": report.top1,
                "standard_deviation": metrics.standard_error(report.top1, report.num_images),
            },
            **{
                name: {"value": value, "standard_deviation": metrics.standard_error(value, report.num_images)}
                for name, value in weighted.items()
            },
            "confusion_matrix": {
                true: {predicted: int(count) for predicted, count in zip(report.classes, row, strict=True)}
                for true, row in zip(report.classes, report.confusion, strict=True)
            },
        },
        "pawline": {
            "top1": report.top1,
            "top5": report.top5,
            "ece": report.ece,
            "num_images": report.num_images,
            "latency_ms": latency,
            "per_class": {
                name: {
                    "precision": float(report.precision[i]),
                    "recall": float(report.recall[i]),
                    "f1": float(report.f1[i]),
                    "support": int(report.support[i]),
                }
                for i, name in enumerate(report.classes)
            },
        },
    }


if __name__ == "__main__":
    container.run(main)
