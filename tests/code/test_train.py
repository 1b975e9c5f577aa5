"""train.py: what it learns, prints, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from breeds.base.container import InputError
from breeds.model import features
from breeds.model.classifier import Head

from contract import metrics
from tests.code.training_output import metrics_in

GOLDEN_TRAIN = [1.3727, 1.4319, 1.2703]
GOLDEN_VALIDATION = [1.3876, 1.3877, 1.3849]
FAST = ("--hidden-width", 16, "--batch-size", 16, "--learning-rate", 0.01)


def saved_head(model_dir) -> tuple[Head, dict]:
    state = torch.load(model_dir / "model.pth", weights_only=True)
    info = json.loads((model_dir / "model.json").read_text())
    head = Head(info["feature_dim"], info["hyperparameters"]["hidden_width"], len(info["classes"]))
    head.load_state_dict({name.removeprefix("head."): t for name, t in state.items() if name.startswith("head.")})
    return head.eval(), info


def test_the_script_runs_outside_sagemaker_and_each_metric_regex_matches_each_epoch(script, make_features, tmp_path):
    done = script(
        "train", "--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 3, *FAST
    )
    assert done.returncode == 0, done.stderr
    for name in metrics.NAMES:
        assert len(metrics_in(done.stdout, name)) == 4  # three epochs and the best one
    assert done.stdout.splitlines()[-1].startswith("best epoch=")
    assert metrics_in(done.stdout, "validation:loss")[-1] == min(metrics_in(done.stdout, "validation:loss"))
    assert metrics_in(done.stdout, "validation:accuracy")[-1] > 0.9


def test_channels_and_quoted_hyperparameters_arrive_as_sagemaker_passes_them(
    train, make_features, tmp_path, monkeypatch
):
    monkeypatch.setenv("SM_CHANNEL_FEATURES", str(make_features(tmp_path / "f")))
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "m"))
    monkeypatch.setenv("SM_HOSTS", '["algo-1"]')
    train("--epochs", "1", "--batch-size", '"32"', "--learning-rate", "0.003", "--model_dir", "s3://bucket/model")
    used = json.loads((tmp_path / "m" / "model.json").read_text())["hyperparameters"]
    assert (used["batch_size"], used["learning_rate"], used["epochs"]) == (32, 0.003, 1)


def test_the_losses_on_sixteen_images_stay_what_they_are(train, make_features, tmp_path):
    data = make_features(tmp_path / "f", num_train=16, num_valid=16, separation=0.5)
    out = train("--features", data, "--model-dir", tmp_path / "m", "--epochs", 3, *FAST, "--batch-size", 5)
    assert metrics_in(out, "train:loss")[:3] == pytest.approx(GOLDEN_TRAIN, abs=2e-4)
    assert metrics_in(out, "validation:loss")[:3] == pytest.approx(GOLDEN_VALIDATION, abs=2e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(train, make_features, tmp_path):
    data = make_features(tmp_path / "f")
    states = []
    for directory, seed in (("a", 1), ("b", 1), ("c", 2)):
        train("--features", data, "--model-dir", tmp_path / directory, "--epochs", 2, "--seed", seed, *FAST)
        states.append(torch.load(tmp_path / directory / "model.pth", weights_only=True))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.hidden.weight"], states[2]["head.hidden.weight"])


def test_training_stops_when_validation_accuracy_stays_and_keeps_the_best_weights(train, make_features, tmp_path):
    data = make_features(tmp_path / "f", separation=0)
    out = train("--features", data, "--model-dir", tmp_path / "m", "--epochs", 40, "--patience", 2, *FAST)
    accuracies, losses = metrics_in(out, "validation:accuracy")[:-1], metrics_in(out, "validation:loss")
    assert len(accuracies) < 40
    assert accuracies.index(max(accuracies)) == len(accuracies) - 3
    assert losses[-1] == min(losses[:-1])
    head, info = saved_head(tmp_path / "m")
    valid = features.load(data, "valid")
    logits = head(torch.from_numpy(valid.parts[0][0]).float())
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(valid.labels), label_smoothing=0.1)
    assert float(loss) == pytest.approx(losses[-1], abs=1e-4)
    assert info["metrics"]["validation:loss"] == pytest.approx(losses[-1], abs=1e-4)


def test_mixup_and_adam_train_too(train, make_features, tmp_path):
    data = make_features(tmp_path / "f")
    out = train(
        *("--features", data, "--model-dir", tmp_path / "m", "--mixup-alpha", 0.4, "--optimizer", '"adam"'),
        *("--weight-decay", 0, *FAST),
    )
    assert metrics_in(out, "validation:accuracy")[-1] > 0.9


def test_a_loss_that_is_not_a_number_ends_the_training_and_names_the_learning_rate(train, make_features, tmp_path):
    data = make_features(tmp_path / "f")
    broken = np.load(data / "train-algo-1-features.npy")
    broken[:, 3, 0] = np.inf
    np.save(data / "train-algo-1-features.npy", broken)
    with pytest.raises(InputError, match=r"loss became nan in epoch 1.*learning rate \(it is 0\.01\)"):
        train("--features", data, "--model-dir", tmp_path / "m", *FAST)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--learning-rat", "0.1"), r"'learning-rat' is not known.*'learning-rate'"),
        (("--colour", "red"), r"'colour' is not known.*Known are epochs"),
        (("--epochs", "many"), r"'epochs' is 'many'.*whole number"),
        (("--epochs", "0"), r"epochs=0 is outside 1 to 1000"),
        (("--learning-rate", "nan"), r"learning-rate=nan is outside"),
        (("--optimizer", "sgd"), r"neither adamw nor adam"),
        (("--epochs",), r"'epochs' has no value"),
        (("epochs",), r"'epochs' is not a hyperparameter"),
        (("--backbone", "resnet50"), r"come from resnet18, not from resnet50"),
        (("--trainable-stages", "1"), r"trainable-stages=1 needs images and pretrained weights"),
    ],
)
def test_a_wrong_hyperparameter_is_refused_by_name(train, make_features, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", *arguments)


def test_a_refusal_reaches_the_failure_file_and_not_a_traceback(script, make_features, tmp_path):
    (tmp_path / "ml" / "input" / "config").mkdir(parents=True)
    arguments = ("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epoch", 3)
    done = script("train", *arguments, env={"SAGEMAKER_BASE_DIR": str(tmp_path / "ml")})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Did you mean 'epochs'?" in (tmp_path / "ml" / "output" / "failure").read_text()


def test_a_trial_without_weights_writes_the_head_only_and_says_so(train, make_features, tmp_path):
    train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 1, *FAST)
    assert {name.partition(".")[0] for name in torch.load(tmp_path / "m" / "model.pth", weights_only=True)} == {"head"}
    assert json.loads((tmp_path / "m" / "model.json").read_text())["head_only"] is True
    assert not (tmp_path / "m" / "code").exists()


def test_a_model_carries_backbone_head_and_its_serving_code(small_model):
    state = torch.load(small_model.model / "model.pth", weights_only=True)
    assert {name.partition(".")[0] for name in state} == {"backbone", "head"}
    assert all(tensor.dtype == torch.float32 for tensor in state.values() if tensor.is_floating_point())
    info = json.loads((small_model.model / "model.json").read_text())
    assert info["backbone"] == "resnet18"
    assert info["classes"] == ["red circle", "blue square", "green triangle"]
    assert info["preprocessing"]["image_size"] == 73
    assert info["metrics"]["validation:accuracy"] > 0.8
    for name in ("serve.py", "requirements.txt", "breeds/serving/inference.py", "breeds/model/classifier.py"):
        assert (small_model.model / "code" / name).is_file()
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = [sys.executable, "-c", "import breeds.serving.service as service; print(service.__file__)"]
    said = subprocess.check_output(program, cwd=small_model.model / "code", env=alone, text=True)
    assert Path(said.strip()).is_relative_to(small_model.model)


def test_the_time_of_training_can_be_fixed(train, make_features, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 1, *FAST)
    assert json.loads((tmp_path / "m" / "model.json").read_text())["trained_at"] == "1970-01-02T00:00:00+00:00"


def test_weights_that_did_not_make_the_features_are_refused(train, small_model, tmp_path):
    (tmp_path / "random.json").write_text('{"kind": "random", "seed": 5}')
    with pytest.raises(InputError, match=r"made with other weights \(random:0\) than given \(random:5\)"):
        train("--features", small_model.features, "--weights", tmp_path, "--model-dir", tmp_path / "m", "--epochs", 1)


def test_help_lists_every_hyperparameter(script):
    done = script("train", "--help")
    assert done.returncode == 0
    assert "--label-smoothing [0.1]" in done.stdout
