"""Rules that end a training while it runs."""

import re

import numpy as np
import pytest
from breeds.base.container import InputError

FAST = ("--hidden-width", 32, "--batch-size", 32)


@pytest.fixture
def hooked(hook_configuration, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))


def epochs(text: str) -> int:
    return len(re.findall(r"^epoch=", text, re.MULTILINE))


def test_a_training_on_random_labels_ends_after_the_third_epoch(hooked, train, make_features, tmp_path, capsys):
    data = make_features(tmp_path / "f", num_train=300, num_valid=200, dim=32, separation=0, classes=12)
    with pytest.raises(InputError) as error:
        train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "NotLearning")
    assert "Training was stopped after epoch 3 of 8: NotLearning: validation accuracy" in error.value.headline
    assert "5 epochs were not run" in error.value.advice
    assert epochs(capsys.readouterr().out) == 3
    assert not (tmp_path / "m" / "model.pth").exists()


def test_a_healthy_training_runs_to_its_end(hooked, train, make_features, tmp_path):
    data = make_features(tmp_path / "f", num_train=300, num_valid=200, dim=32, separation=0.8)
    rules = "NotLearning,Overfit,ExplodingTensor,LossNotDecreasing,VanishingGradient"
    out = train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", rules, "--patience", 8)
    assert epochs(out) == 8
    assert (tmp_path / "m" / "model.pth").exists()


def test_rules_change_no_number_of_the_training(hooked, train, make_features, tmp_path, monkeypatch):
    data = make_features(tmp_path / "f", dim=32)
    watched = train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "NotLearning")
    monkeypatch.delenv("SMDEBUG_CONFIG_FILE_PATH")
    free = train("--features", data, "--model-dir", tmp_path / "m", *FAST)
    numbers = [re.findall(r"(?:loss|accuracy)=([0-9.]+)", text) for text in (watched, free)]
    assert numbers[0] == numbers[1]


def test_a_rule_that_is_not_known_is_refused_before_training(train, make_features, tmp_path):
    with pytest.raises(InputError, match="'Overheating', which is no rule"):
        train(
            "--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--stop-on-issue", "Overheating"
        )


def test_a_rule_judges_by_the_parameters_it_is_given(hooked, train, make_features, tmp_path):
    data = make_features(tmp_path / "f", num_train=300, num_valid=200, dim=32, separation=0.8)
    arguments = ("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "VanishingGradient")
    with pytest.raises(InputError, match="stopped after epoch 1 of 8: VanishingGradient: mean"):
        train(*arguments, "--rule-parameters", "VanishingGradient.threshold=1000,Overfit.patience=3")


def test_what_suits_a_training_that_is_not_over_goes_before_the_parameters(
    hooked, train, make_features, tmp_path, capsys
):
    """At significance 1e-9 nothing less than 20 of 20 right would be above guessing."""
    data = make_features(tmp_path / "f", num_train=300, num_valid=20, dim=32, separation=0.3)
    arguments = ("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "NotLearning")
    out = train(*arguments, "--rule-parameters", "NotLearning.significance=1e-9", "--patience", 8)
    assert epochs(out) == 8 and "validation:accuracy=1.0" not in out


@pytest.mark.parametrize(
    ("parameters", "message"),
    [("Overheating.a=1", "'Overheating' is not known"), ("Overfit.ratio=1", "Overfit has no parameter 'ratio'")],
)
def test_a_parameter_that_is_not_known_is_refused_before_training(
    hooked, train, make_features, tmp_path, capsys, parameters, message
):
    arguments = ("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m")
    with pytest.raises(InputError, match=message):
        train(*arguments, "--rule-parameters", parameters)
    assert epochs(capsys.readouterr().out) == 0


def test_without_a_hook_it_says_that_nothing_is_watched(train, make_features, tmp_path):
    data = make_features(tmp_path / "f")
    out = train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--epochs", 1, "--stop-on-issue", "Overfit")
    assert "stop-on-issue has no effect" in out


def test_trouble_with_a_rule_ends_the_watch_and_not_the_training(hooked, train, make_features, tmp_path, monkeypatch):
    from breeds.debugger.rules import RULES

    def broken(self):
        raise OSError("disk")

    monkeypatch.setattr(RULES["Overfit"], "find", broken)
    data = make_features(tmp_path / "f")
    out = train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--epochs", 2, "--stop-on-issue", "Overfit")
    assert out.count("stop-on-issue switched off: OSError('disk')") == 1
    assert epochs(out) == 2


def test_all_processes_end_together(script, make_features, hook_configuration, tmp_path):
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors"))}
    data = make_features(tmp_path / "f", num_train=300, num_valid=200, dim=32, separation=0, classes=12)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = ("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "NotLearning")
    done = script("train", *arguments, env=env, launcher=launcher)
    assert done.returncode != 0
    assert done.stderr.count("error: Training was stopped after epoch 3 of 8: NotLearning") == 2
    assert "was lost" not in done.stderr


def test_a_loss_that_is_nan_still_names_itself(hooked, train, make_features, tmp_path):
    data = make_features(tmp_path / "f")
    values = np.load(data / "train-algo-1-features.npy")
    values[0, 0] = np.nan
    np.save(data / "train-algo-1-features.npy", values)
    with pytest.raises(InputError, match="became nan"):
        train("--features", data, "--model-dir", tmp_path / "m", *FAST, "--stop-on-issue", "ExplodingTensor")
