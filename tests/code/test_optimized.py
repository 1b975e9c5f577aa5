"""The OpenVINO forms: made and measured by train.py, checked and run by whoever loads the model."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from breeds.base import extras
from breeds.data import shards
from breeds.data.images import center_view
from breeds.model import optimized, optimizing
from breeds.serving import inference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(script, small_model, tmp_path_factory):
    """(model directory, what the training printed) of one training that had the prepared images."""
    directory = tmp_path_factory.mktemp("optimised") / "model"
    done = script(
        "train",
        *("--features", small_model.features, "--weights", small_model.weights, "--prepared", small_model.prepared),
        *("--model-dir", directory, "--batch-size", 8),
    )
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "model")


@pytest.fixture(scope="module")
def views(small_model):
    jpegs = shards.sample_jpegs(small_model.prepared, "test", 12, 0)
    return np.stack([center_view(shards.decode(jpeg), 73) for jpeg in jpegs])


def serving(directory) -> dict:
    return json.loads((directory / "model.json").read_text())["serving"]


def test_the_fastest_form_that_agrees_is_chosen_and_every_form_is_on_record(trained):
    chosen = serving(trained[0])
    forms = {form["name"]: form for form in chosen["forms"]}
    assert {"openvino-fp32", "openvino-int8"} <= set(forms)
    assert all(form["images"] == 18 and form["milliseconds"] > 0 for form in forms.values())
    agreeing = [form for form in chosen["forms"] if form["agreement"] >= 0.99]
    assert chosen["form"] == min(agreeing, key=lambda form: form["milliseconds"])["name"]
    assert forms["openvino-fp32"]["agreement"] == 1.0


def test_the_log_says_in_one_line_what_was_measured_and_nothing_else_is_printed(trained):
    lines = [line for line in trained[1].splitlines() if "epoch=" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"serving: {serving(trained[0])['form']} of ")


def test_the_archive_holds_the_chosen_form_alone(trained):
    precision = serving(trained[0])["form"].removeprefix("openvino-")
    names = {path.name for path in (trained[0] / "openvino").iterdir()}
    assert names == {f"{precision}.xml", f"{precision}.bin", "sample.npz"}


def test_what_is_loaded_is_the_chosen_form_and_it_agrees_with_pytorch(trained, views, capsys):
    predictor = inference.load(trained[0])
    assert predictor.network.form == serving(trained[0])["form"]
    assert f"serving: {predictor.network.form}" in capsys.readouterr().out
    model = inference.load_classifier(trained[0], predictor.info)
    expected = optimized.softmax(inference.PyTorch(model, 73, inference.torch.device("cpu"))(views))
    given = predictor.probabilities(views)
    assert given.dtype == np.float32
    assert np.abs(given - expected).mean() < 0.03
    assert (given.argmax(1) == expected.argmax(1)).mean() > 0.9


def test_many_threads_get_the_answers_of_one(trained, views):
    network = inference.load(trained[0]).network
    alone = network(views)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: network(views[i : i + 1])[0], list(range(len(views))) * 8))
    assert np.array_equal(np.stack(together[: len(views)]), alone)
    assert network(views[:0]).shape == (0, 3)


def test_several_streams_give_the_answers_of_one_in_order(trained, views, monkeypatch):
    precision = serving(trained[0])["form"].removeprefix("openvino-")
    graph = trained[0] / "openvino" / f"{precision}.xml"
    one = optimized.Compiled(graph, precision)
    monkeypatch.setattr(optimized, "CORES_PER_STREAM", 1)
    several = optimized.Compiled(graph, precision)
    assert several.workers >= one.workers
    assert np.allclose(several(views), one(views), atol=1e-3)


def test_evaluation_scores_the_form_that_is_served(script, small_model, trained, tmp_path):
    done = script(
        "evaluate", "--model", trained[0], "--prepared", small_model.prepared, "--output", tmp_path / "evaluation"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert report["pawline"]["form"] == serving(trained[0])["form"]
    assert report["pawline"]["top1"] > 0.6


def damage(directory, what: str) -> str:
    precision = serving(directory)["form"].removeprefix("openvino-")
    folder = directory / "openvino"
    if what == "no graph":
        (folder / f"{precision}.xml").unlink()
    elif what == "a damaged graph":
        (folder / f"{precision}.xml").write_text("<net>")
    elif what == "no sample":
        (folder / "sample.npz").unlink()
    else:
        with np.load(folder / "sample.npz") as sample:
            views, probabilities = sample["views"], sample["probabilities"]
        changed = np.roll(probabilities, 1, axis=1) if what == "other breeds" else probabilities[:, :-1]
        np.savez(folder / "sample.npz", views=views, probabilities=changed)
    return precision


@pytest.mark.parametrize("what", ["no graph", "a damaged graph", "no sample", "other breeds", "other classes"])
def test_a_form_that_does_not_hold_here_gives_way_to_pytorch_which_is_said_once(copied, what, capsys):
    precision = damage(copied, what)
    assert inference.load(copied).network.form.startswith("pytorch-")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("serving:")]
    assert len(said) == 1
    assert said[0].startswith(f"serving: PyTorch in place of openvino-{precision}: ")


def test_without_openvino_the_model_is_served_by_pytorch(copied, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert inference.load(copied).network.form.startswith("pytorch-")
    assert "openvino is not installed" in capsys.readouterr().out


def test_a_training_without_images_or_with_optimize_off_says_so_in_the_model(train, small_model, tmp_path):
    channels = ("--features", small_model.features, "--weights", small_model.weights, "--epochs", 1)
    printed = train(*channels, "--model-dir", tmp_path / "a")
    assert "serving: pytorch (there are no prepared images to measure on)" in printed
    assert serving(tmp_path / "a")["form"] == "pytorch"
    train(*channels, "--prepared", small_model.prepared, "--optimize", "off", "--model-dir", tmp_path / "b")
    assert serving(tmp_path / "b") is None
    assert not (tmp_path / "b" / "openvino").exists()


def test_a_form_that_disagrees_is_passed_over(small_model, trained, tmp_path, monkeypatch):
    """int8 is made to disagree: its graph is replaced by that of a classifier with other weights."""
    info = inference.load_info(trained[0])
    model, other = (inference.load_classifier(trained[0], info) for _ in range(2))
    with inference.torch.no_grad():
        other.head.output.weight.neg_()
    real = optimizing.convert
    monkeypatch.setattr(
        optimizing, "quantise", lambda graph, views: real(optimizing.WholeClassifier(other).eval(), views)
    )
    chosen = optimizing.optimise(model, small_model.prepared, 73, tmp_path, 0)
    assert next(form for form in chosen["forms"] if form["name"] == "openvino-int8")["agreement"] < 0.9
    assert chosen["form"] in ("openvino-bf16", "openvino-fp32")


def test_a_failure_of_the_tools_is_a_reason_and_never_costs_the_training(small_model, trained, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(optimizing, "quantise", fail)
    model = inference.load_classifier(trained[0], inference.load_info(trained[0]))
    chosen = optimizing.optimise(model, small_model.prepared, 73, tmp_path, 0)
    assert (chosen["form"], chosen["forms"]) == ("pytorch", [])
    assert chosen["reason"] == "the optimised forms failed: RuntimeError: no such operation"


def test_nothing_is_installed_outside_a_job(monkeypatch, tmp_path):
    monkeypatch.delenv("TRAINING_JOB_NAME", raising=False)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    assert extras.ensure({"no_such_module": "no-such-module==1"}) == "no_such_module not installed"
    assert extras.ensure({"json": "json==1"}) is None


def test_an_installation_that_fails_in_a_job_is_a_reason_with_pips_last_words(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAINING_JOB_NAME", "job")
    # pip itself refuses this requirement: no index is asked.
    reason = extras.ensure({"no_such_module": f"no-such-module @ file://{tmp_path}/missing"})
    assert reason.startswith("pip install no-such-module")
    assert "failed" in reason


def test_nothing_reports_its_use(trained):
    code = (
        "import sys; sys.path.insert(0, 'code')\n"
        "from breeds.model import optimized; optimized.import_openvino(); import nncf\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "print(sorted(name for name, module in sys.modules.items() if module and 'openvino_telemetry' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
