"""The Debugger hook: what it saves, and that it never stands in a training's way."""

import json
import re

import numpy as np
import pytest
from breeds import rules
from breeds.rules.base import training_steps

FAST = ("--hidden-width", 16, "--batch-size", 8, "--epochs", 5)


@pytest.fixture
def hooked(train, make_features, hook_configuration, tmp_path, monkeypatch):
    """Train with a hook and return (output, tensors directory)."""

    def run(collections=None, tensors=None):
        tensors = tensors or tmp_path / "tensors"
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tensors, collections)))
        return train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", *FAST), tensors

    return run


def losses(text: str) -> list[str]:
    return re.findall(r"(?:train|validation):loss=([0-9.]+)", text)


def test_every_loss_and_the_first_ten_gradients_are_saved_in_full_then_each_fiftieth(hooked):
    _, tensors = hooked()
    trial = rules.open_trial(tensors)
    steps_per_epoch = 15
    assert len(trial.tensor("CrossEntropyLoss_output_0").steps()) == 5 * (steps_per_epoch + 1)
    saved = training_steps(trial, "gradient/Head_hidden.weight")
    assert len(saved) == 11  # steps 0 to 9 and step 50
    assert saved[0][1].shape == (16, 16)
    relu_input = training_steps(trial, "relu_input_0")
    assert relu_input[0][1].shape == (8, 16)
    assert relu_input[0][1].min() < 0  # before the ReLU, not after


def test_a_hook_changes_no_number_of_the_training(hooked, train, tmp_path, monkeypatch):
    with_hook, _ = hooked()
    monkeypatch.delenv("SMDEBUG_CONFIG_FILE_PATH")
    without = train("--features", tmp_path / "f", "--model-dir", tmp_path / "m", *FAST)
    assert losses(with_hook) == losses(without)


def test_without_a_configuration_nothing_is_saved_or_said(train, make_features, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(tmp_path / "absent.json"))
    out = train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", *FAST)
    assert "ebugger" not in out


def test_a_configuration_that_cannot_be_read_switches_the_hook_off_and_says_so_once(
    train, make_features, tmp_path, monkeypatch
):
    (tmp_path / "hook.json").write_text("{not json")
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(tmp_path / "hook.json"))
    out = train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", *FAST)
    assert out.count("Debugger hook off") == 1
    assert (tmp_path / "m" / "model.pth").is_file()


def test_a_collection_that_smdebug_refuses_does_not_end_the_training(
    script, make_features, hook_configuration, tmp_path
):
    collections = [
        {"CollectionName": "gradients", "CollectionParameters": {"train.save_interval": "1"}},
        {"CollectionName": "relu_input", "CollectionParameters": {"train.save_interval": "1"}},  # names no tensor
    ]
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors", collections))}
    data = make_features(tmp_path / "f")
    done = script("train", "--features", data, "--model-dir", tmp_path / "m", *FAST, env=env)
    assert done.returncode == 0, done.stderr
    assert "best epoch=" in done.stdout


def test_a_missing_smdebug_switches_the_hook_off(script, make_features, hook_configuration, tmp_path):
    (tmp_path / "shadow" / "smdebug").mkdir(parents=True)
    (tmp_path / "shadow" / "smdebug" / "__init__.py").write_text("raise ImportError('No module named smdebug')")
    env = {
        "SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors")),
        "PYTHONPATH": str(tmp_path / "shadow"),
    }
    data = make_features(tmp_path / "f")
    done = script("train", "--features", data, "--model-dir", tmp_path / "m", *FAST, env=env)
    assert done.returncode == 0, done.stderr
    assert "Debugger hook off: No module named smdebug" in done.stdout


def test_a_disk_that_cannot_be_written_to_does_not_end_the_training(
    script, make_features, hook_configuration, tmp_path
):
    (tmp_path / "file").write_text("a file where the hook wants a directory")
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "file" / "tensors"))}
    data = make_features(tmp_path / "f")
    done = script("train", "--features", data, "--model-dir", tmp_path / "m", *FAST, env=env)
    assert done.returncode == 0, done.stderr
    assert "best epoch=" in done.stdout


def test_under_torchrun_the_first_process_saves_and_the_rules_can_read_it(
    script, make_features, hook_configuration, tmp_path
):
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors"))}
    arguments = ("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", *FAST)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = script("train", *arguments, env=env, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert "ebugger" not in done.stdout
    assert rules.RULES["Overfit"](rules.open_trial(tmp_path / "tensors")).findings() == []


def test_fine_tuning_saves_the_open_stage_alone_and_slices_of_large_activations(
    train, small_model, hook_configuration, tmp_path, monkeypatch
):
    tensors = tmp_path / "tensors"
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tensors)))
    train(
        *("--features", small_model.features, "--prepared", small_model.prepared, "--weights", small_model.weights),
        *("--model-dir", tmp_path / "m", "--trainable-stages", 1, "--fine-tune-epochs", 1, "--batch-size", 12),
    )
    trial = rules.open_trial(tensors)
    gradients = [name for name in trial.tensor_names() if name.startswith("gradient/")]
    assert any("layer4" in name for name in gradients)
    assert all("layer4" in name or "head" in name for name in gradients)
    activations = [name for name in trial.tensor_names() if "relu_input" in name]
    assert not any(re.search(r"layer[123]", name) for name in activations)
    assert any("layer4" in name for name in activations)
    assert all(np.prod(trial.tensor(name).value(0).shape) <= 262_144 for name in activations)


def test_the_configuration_used_here_is_valid_for_sagemaker(hook_configuration, tmp_path):
    """CollectionParameters is a map of strings to strings of at most 256 characters."""
    content = json.loads(hook_configuration(tmp_path, tmp_path / "t").read_text())
    for collection in content["CollectionConfigurations"]:
        assert all(
            isinstance(value, str) and len(value) <= 256 for value in collection["CollectionParameters"].values()
        )
