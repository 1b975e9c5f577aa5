"""evaluate.py on a small trained model."""

import hashlib
import io
import json
import sys
import tarfile

import numpy as np
import pytest
from breeds.evaluation import predictions, robustness
from PIL import Image


@pytest.fixture(scope="module")
def archive(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(small_model.model, arcname=".")
    return path


@pytest.fixture(scope="module")
def evaluated(script, small_model, archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluation")
    done = script("evaluate", "--model", archive.parent, "--prepared", small_model.prepared, "--output", output)
    assert done.returncode == 0, done.stderr
    return output, json.loads((output / "evaluation.json").read_text()), done.stdout


def test_the_report_has_sagemakers_layout_and_counts_every_test_image_once(evaluated):
    _, report, _ = evaluated
    standard = report["multiclass_classification_metrics"]
    matrix = standard["confusion_matrix"]
    assert sum(sum(row.values()) for row in matrix.values()) == report["pawline"]["num_images"] == 21
    right = sum(matrix[name][name] for name in matrix)
    assert standard["accuracy"]["value"] == report["pawline"]["top1"] == pytest.approx(right / 21)
    assert {"weighted_precision", "weighted_recall", "weighted_f1"} <= set(standard)
    assert {entry["support"] for entry in report["pawline"]["per_class"].values()} == {7}
    assert report["pawline"]["top5"] == 1.0
    assert report["pawline"]["top1"] > 0.6


def test_latency_is_measured_on_single_images(evaluated):
    _, report, _ = evaluated
    assert 0 < report["pawline"]["latency_ms"]["p50"] <= report["pawline"]["latency_ms"]["p99"]


def test_the_pictures_can_be_opened(evaluated):
    output, _, _ = evaluated
    for name in ("confusion.png", "reliability.png", "confused.png", "robustness.png"):
        with Image.open(output / name) as picture:
            assert np.asarray(picture).std() > 1


def test_an_image_without_matplotlib_costs_a_picture_and_no_evaluation(scripts, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "breeds.evaluation.pictures", None)
    monkeypatch.delattr("breeds.evaluation.pictures", raising=False)
    scripts("evaluate").draw(tmp_path / "confused.png", "confused", [])
    assert "confused.png was not drawn" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_the_photo_for_smoke_tests_is_one_that_the_served_model_names_rightly(evaluated, small_model):
    from breeds.serving import inference

    output, report, _ = evaluated
    smoke = report["smoke_test"]
    assert smoke["file"] == "smoke.jpg"
    jpeg = (output / smoke["file"]).read_bytes()
    best = inference.load(small_model.model).predict(jpeg)[0]
    assert best.breed == smoke["breed"]
    assert best.probability > 0.5


def test_the_report_names_the_form_that_was_evaluated(evaluated):
    assert evaluated[1]["pawline"]["form"].startswith("pytorch-")


def test_the_report_has_the_hash_of_the_archive_that_was_evaluated(evaluated, archive):
    assert evaluated[1]["pawline"]["model_sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_without_a_photo_named_rightly_there_is_no_smoke_test(scripts, small_model, tmp_path):
    all_wrong = predictions.Predictions(
        keys=["a", "b"], labels=np.array([0, 1]), probabilities=np.array([[0.1, 0.9], [0.8, 0.2]]), classes=["x", "y"]
    )
    assert scripts("evaluate").write_smoke_test(all_wrong, small_model.prepared, tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_the_figures_come_with_intervals_that_hold_them(evaluated):
    ours = evaluated[1]["pawline"]
    for name in ("top1", "top5", "macro_f1"):
        low, high = ours["intervals"][name]
        assert 0 <= low <= ours[name] <= high <= 1
    low, high = ours["intervals"]["top1"]
    assert ours["top1"] == 1 or high - low > 0.05  # 21 photos tell little


def test_calibration_is_reported_before_and_after_the_temperature(evaluated, small_model):
    from breeds.serving import inference

    ours = evaluated[1]["pawline"]
    head = inference.load_classifier(small_model.model, inference.load_info(small_model.model)).head
    assert ours["temperature"] == pytest.approx(float(head.temperature))
    assert 0 <= ours["ece"] <= 1
    assert 0 <= ours["ece_uncalibrated"] <= 1


def test_robustness_is_measured_at_each_strength_on_the_same_photos(evaluated):
    found = evaluated[1]["pawline"]["robustness"]
    assert found["num_images"] == 21
    assert found["unchanged"] == evaluated[1]["pawline"]["top1"]
    for kind, plain in robustness.UNCHANGED.items():
        values = [point["value"] for point in found[kind]]
        assert values == sorted({plain, *robustness.CHANGES[kind]})
        assert {"value": plain, "accuracy": found["unchanged"]} in found[kind]
        assert all(0 <= point["accuracy"] <= 1 for point in found[kind])


def test_the_summary_line_can_be_read_by_a_metric_definition(evaluated):
    _, report, printed = evaluated
    assert f"test:top1={report['pawline']['top1']:.4f}" in printed


def run_on(script, tmp_path, model, prepared):
    ml = tmp_path / "ml"
    ml.mkdir()
    arguments = ("--model", model, "--prepared", prepared, "--output", tmp_path / "out")
    done = script("evaluate", *arguments, env={"SAGEMAKER_BASE_DIR": str(ml)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    return (ml / "output" / "message").read_text()


def test_an_archive_that_reaches_outside_is_refused(script, small_model, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(f"../{tmp_path.name}-escaped.txt")  # other tests have files that escape, too
        member.size = 2
        tar.addfile(member, io.BytesIO(b"hi"))
    assert "cannot be unpacked" in run_on(script, tmp_path, tmp_path / "model.tar.gz", small_model.prepared)
    assert not list(tmp_path.parent.glob(f"**/{tmp_path.name}-escaped.txt"))


def test_a_tuning_trials_archive_is_refused_with_the_reason(script, small_model, make_features, train, tmp_path):
    train("--features", small_model.features, "--model-dir", tmp_path / "trial", "--epochs", 1)
    message = run_on(script, tmp_path, tmp_path / "trial", small_model.prepared)
    assert "head without its backbone" in message


def test_damaged_weights_are_refused_with_the_file(script, small_model, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text((small_model.model / "model.json").read_text())
    (tmp_path / "model" / "model.pth").write_bytes((small_model.model / "model.pth").read_bytes()[:1000])
    assert "model.pth cannot be used" in run_on(script, tmp_path, tmp_path / "model", small_model.prepared)


def test_a_directory_without_a_model_is_refused(script, small_model, tmp_path):
    assert "holds no model.tar.gz" in run_on(script, tmp_path, tmp_path, small_model.prepared)
