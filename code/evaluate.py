"""Score the trained classifier on the test split, once: evaluation.json and its pictures (docs/formats.md).

    python code/evaluate.py --model DIR --prepared DIR --output DIR [--champion DIR]

--model and --champion hold model.tar.gz (or its content). Predictions are made by the code that serves them, the
champion's too: of its archive only weights and descriptions are read.
"""

import hashlib
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from breeds.base import container, extras, metrics
from breeds.base.container import InputError
from breeds.data import manifest, shards
from breeds.data.outputs import staged
from breeds.evaluation import champion, confused, document, predictions, robustness
from breeds.evaluation.predictions import Predictions
from breeds.model import optimized
from breeds.serving import inference
from breeds.serving.inference import Predictor

LATENCY_IMAGES = 50
SMOKE_TEST_FILE = "smoke.jpg"
SEED = 0  # of the photos that are changed


def main() -> None:
    inputs = container.base_dir() / "processing/input"
    parser = container.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=inputs / "model")
    parser.add_argument("--prepared", type=Path, default=inputs / "prepared")
    parser.add_argument("--champion", type=Path, default=inputs / "champion")
    parser.add_argument("--output", type=Path, default=container.base_dir() / "processing/output/evaluation")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = model_directory(arguments.model, Path(scratch) / "model")
        digest = sha256(archive_in(arguments.model))
        evaluate(model, digest, arguments.prepared, arguments.output, arguments.champion, Path(scratch) / "champion")


def evaluate(
    model: Path, digest: str | None, prepared: Path, output: Path, champion_model: Path, scratch: Path
) -> None:
    """Write the evaluation to `output`; `champion_model` may not exist. `scratch`: where its archive is unpacked.
    `digest`: of the archive that `model` was unpacked from."""
    info = inference.load_info(model)
    predictor = load(model)
    check_classes(predictor, prepared)
    # Before the batches, whose threads leave torch with one thread each.
    latency = measure_latency(predictor, prepared)
    found = predictions.predict(predictor, prepared, "test", predictor.classes)
    report = metrics.report(found.probabilities, found.labels, found.classes)
    temperature = float(inference.load_classifier(model, info).head.temperature)
    verdict = compare_with_champion(found, model, champion_model, prepared, scratch)
    with staged(output) as staging:
        draw(staging / "confusion.png", "confusion", report.confusion, report.classes)
        draw(staging / "reliability.png", "reliability", report.bins, report.ece)
        ours = {
            **document.accuracy(report),
            **document.calibration(found, report.ece, temperature),
            "unknown": document.unknown(found, predictor),
            "latency_ms": latency,
            "form": predictor.network.form,
            "model_sha256": digest,
            "confused": write_confused(found, report, prepared, staging),
            "robustness": write_robustness(predictor, found, prepared, staging),
            "champion": verdict,
        }
        smoke_test = write_smoke_test(found, prepared, staging)
        content = {"multiclass_classification_metrics": document.standard(report), "pawline": ours, **smoke_test}
        (staging / "evaluation.json").write_text(json.dumps(content, indent=1))
    low, high = ours["intervals"]["top1"]
    print(
        f"champion: {verdict['summary']}\n"
        f"top-1 is {low:.4f} to {high:.4f} with 95 %; calibration error before the temperature "
        f"{ours['ece_uncalibrated']:.4f}\n"
        f"test:top1={report.top1:.4f} test:top5={report.top5:.4f} test:ece={report.ece:.4f} "
        f"images={report.num_images} latency p50={latency['p50']:.1f} ms p99={latency['p99']:.1f} ms",
        flush=True,
    )


def load(model: Path) -> Predictor:
    """The predictor of a model directory, with the packages that its form needs. Raises InputError."""
    if optimized.chosen(inference.load_info(model)):
        extras.ensure(extras.RUNNING)  # without it PyTorch serves, and load says so
    return inference.load(model)


def model_directory(given: Path, scratch: Path) -> Path:
    """The unpacked model: `given` itself where it holds model.json, else its model.tar.gz unpacked into `scratch`."""
    if (given / "model.json").is_file():
        return given
    archive = archive_in(given)
    if not archive.is_file():
        raise InputError(f"{given} holds no model.tar.gz.", "Give the output of the Train step.")
    inference.unpack(archive, scratch)
    return scratch


def archive_in(given: Path) -> Path:
    return given if given.is_file() else given / "model.tar.gz"


def sha256(archive: Path) -> str | None:
    """In hex, by which a deployment knows that it serves what was evaluated; None of a model without an archive."""
    if not archive.is_file():
        return None
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_classes(predictor: Predictor, prepared: Path) -> None:
    """Raises InputError where the model was trained on other classes."""
    classes = list(manifest.load(prepared).classes)
    if classes != predictor.classes:
        raise InputError(
            f"The model knows {len(predictor.classes)} classes, the prepared images have {len(classes)} or other ones.",
            "Evaluate a model on the data set it was trained on.",
        )


def compare_with_champion(
    candidate: Predictions, model: Path, champion_model: Path, prepared: Path, scratch: Path
) -> dict[str, Any]:
    """pawline.champion of evaluation.json. A champion that cannot be used blocks nothing; `summary` says why."""
    if not champion_model.exists():
        return champion.absent("no champion was given to compare with")
    try:
        directory = model_directory(champion_model, scratch)
        if champion.is_same_model(model, directory):
            return champion.absent("there is no other approved model to compare with")
        predictor = load(directory)
    except InputError as error:
        return champion.absent(f"not compared with the champion, which cannot be used: {error.headline}")
    if set(predictor.classes) != set(candidate.classes):
        only = sorted(set(predictor.classes) ^ set(candidate.classes))[0]
        return champion.absent(
            f"not compared with the champion, which knows other classes ({len(predictor.classes)} of them, "
            f"the candidate {len(candidate.classes)}; {only} is known to one only)"
        )
    theirs = predictions.predict(predictor, prepared, "test", candidate.classes)
    described = {name: predictor.info.get(name) for name in ("backbone", "trained_at")}
    return {**champion.compare(candidate.right, theirs.right, SEED), "model": described}


def draw(path: Path, picture: str, *content: Any) -> None:
    """Write one of breeds.evaluation.pictures; an image without matplotlib costs the picture, not the evaluation."""
    try:
        from breeds.base import figures
        from breeds.evaluation import pictures
    except ImportError as missing:
        print(f"{path.name} was not drawn: {missing}", flush=True)
        return
    figures.save(getattr(pictures, picture)(*content), path)


def write_confused(
    found: Predictions, report: metrics.Report, prepared: Path, directory: Path
) -> list[dict[str, str | int]]:
    """confused.png, and the pairs that it shows."""
    pairs = confused.find(found, report.confusion)
    jpegs = shards.jpegs_of(prepared, "test", [key for pair in pairs for key in pair.keys])
    photos = {key: shards.decode(jpeg) for key, jpeg in jpegs.items()}
    rows = []
    for pair in pairs:
        mistake, typical = photos[pair.mistake], photos[pair.typical] if pair.typical else None
        rows.append((f"{pair.true} ({pair.count} of {pair.of})", f"taken for {pair.predicted}", mistake, typical))
    draw(directory / "confused.png", "confused", rows)
    paths = manifest.load(prepared).paths
    shown = ("true", "predicted", "count", "of")
    return [{name: getattr(p, name) for name in shown} | {"mistake": paths.get(p.mistake, p.mistake)} for p in pairs]


def write_robustness(predictor: Predictor, found: Predictions, prepared: Path, directory: Path) -> dict[str, Any]:
    """robustness.png, and the accuracies that it shows."""
    chosen = robustness.sample(len(found.keys), SEED)
    jpegs = shards.jpegs_of(prepared, "test", [found.keys[i] for i in chosen])
    measured = robustness.measure(
        predictor, [jpegs[found.keys[i]] for i in chosen], found.labels[chosen], found.right[chosen]
    )
    panels = {kind: [(p["value"], p["accuracy"]) for p in measured[kind]] for kind in robustness.CHANGES}
    draw(directory / "robustness.png", "curves", panels)
    return measured


def write_smoke_test(found: Predictions, prepared: Path, directory: Path) -> dict[str, Any]:
    """smoke.jpg, with which a deployment asks a new endpoint, and what it must answer; nothing if no photo is right.

    It is the photo that the model is surest of among those it names rightly.
    """
    if not found.right.any():
        return {}
    surest = int(np.where(found.right, found.probabilities.max(axis=1), -1).argmax())
    key = found.keys[surest]
    (directory / SMOKE_TEST_FILE).write_bytes(shards.jpegs_of(prepared, "test", [key])[key])
    return {"smoke_test": {"file": SMOKE_TEST_FILE, "breed": found.classes[found.labels[surest]]}}


def measure_latency(predictor: Predictor, prepared: Path) -> dict[str, float]:
    """Milliseconds from JPEG bytes to breeds, one image at a time: p50 and p99 over the first test images."""
    predictor.warm_up()
    times = []
    for _, _, jpeg in islice(shards.read_jpegs(prepared, "test"), LATENCY_IMAGES):
        started = time.perf_counter()
        predictor.predict(jpeg)
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times or [0.0], (50, 99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


if __name__ == "__main__":
    container.run(main)
