"""The Debugger hook: what it saves, and that it never stands in a training's way."""

import json
import re

import numpy as np
import pytest
import torch
from breeds.debugger import hook, rules
from breeds.debugger.bounded_hook import some_positions
from breeds.debugger.rules.saved import evaluations, full, reductions, state, steps
from torch import nn

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


def test_gradients_are_saved_in_full_in_the_first_three_steps_then_as_reductions(hooked):
    _, tensors = hooked()
    trial = rules.open_trial(tensors)
    steps_per_epoch = 15
    assert len(trial.tensor("CrossEntropyLoss_output_0").steps()) == 5 * (steps_per_epoch + 1)
    name = "gradient/Head_hidden.weight"
    saved = steps(trial, name)
    assert len(saved) == 11  # steps 0 to 9 and step 50
    assert [full(trial, name, step) is not None for step in saved] == [True] * 3 + [False] * 8
    assert full(trial, name, 0).shape == (16, 16)
    for step in saved[:3]:  # where both are there, they agree
        for reduction, compute in {"mean": np.mean, "variance": np.var, "max": np.max}.items():
            assert reductions(trial, name, step)[reduction] == pytest.approx(compute(full(trial, name, step)), rel=1e-4)
    assert reductions(trial, name, saved[-1])["abs_mean"] > 0


def test_relu_inputs_are_those_before_the_relu_and_come_in_full_at_doubling_steps(hooked):
    _, tensors = hooked()
    trial = rules.open_trial(tensors)
    in_full = [step for step in steps(trial, "relu_input_0") if full(trial, "relu_input_0", step) is not None]
    assert [trial.mode_step(step) for step in in_full] == [0, 1, 2, 50]
    assert full(trial, "relu_input_0", 0).shape == (8, 16)
    assert full(trial, "relu_input_0", 0).min() < 0


def test_each_evaluation_leaves_its_labels_and_predictions(hooked, tmp_path):
    out, tensors = hooked()
    found = evaluations(rules.open_trial(tensors))
    labels = np.load(tmp_path / "f" / "valid-algo-1-labels.npy")
    assert len(found) == 5
    assert all(np.array_equal(each.labels, labels) for each in found)
    printed = [float(text) for text in re.findall(r"validation:accuracy=([0-9.]+)", out)]
    assert [round(each.accuracy, 4) for each in found] == printed[:5]
    assert found[0].num_classes == 4


def test_the_labels_of_training_are_saved_once(hooked, tmp_path):
    _, tensors = hooked()
    trial = rules.open_trial(tensors)
    (step,) = steps(trial, "training_labels")
    labels = np.load(tmp_path / "f" / "train-algo-1-labels.npy")
    assert np.array_equal(np.sort(full(trial, "training_labels", step)), np.sort(labels))


def test_the_tensors_name_their_job_and_say_that_it_ended(hooked, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
    _, tensors = hooked()
    assert state(rules.open_trial(tensors)) == {"training_job": "job-1", "finished": True}


def test_a_training_that_fails_leaves_what_it_saw_and_is_not_finished(
    script, make_features, hook_configuration, tmp_path
):
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors"))}
    data = make_features(tmp_path / "f")
    values = np.load(data / "train-algo-1-features.npy")
    values[:, 7] = np.nan
    np.save(data / "train-algo-1-features.npy", values)
    done = script("train", "--features", data, "--model-dir", tmp_path / "m", *FAST, env=env)
    assert done.returncode == 1 and "became nan" in done.stderr
    trial = rules.open_trial(tmp_path / "tensors")
    assert not state(trial)["finished"]
    assert any("CrossEntropyLoss" in finding.tensor for finding in rules.RULES["ExplodingTensor"](trial).findings())


def test_large_gradients_are_thinned_and_their_reductions_are_not(tmp_path, hook_configuration, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    model, criterion, debugger = nn.Linear(2000, 2000), nn.CrossEntropyLoss(), hook.create()
    debugger.register(model, criterion)
    debugger.train()
    criterion(model(torch.randn(4, 2000)), torch.tensor([0, 1, 2, 3])).backward()
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    name = "gradient/Linear_weight"
    assert full(trial, name, 0).shape == (1_000_000,)
    saved, whole = reductions(trial, name, 0), model.weight.grad
    assert saved["l2"] == pytest.approx(whole.norm().item(), rel=1e-4)
    assert np.abs(full(trial, name, 0)).mean() == pytest.approx(saved["abs_mean"], rel=0.02)


@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_a_relu_in_place_inside_sequential_is_watched_before_it_acts(relu, tmp_path, hook_configuration, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    model, criterion, debugger = (
        nn.Sequential(nn.Linear(4, 8), relu(inplace=True)),
        nn.CrossEntropyLoss(),
        hook.create(),
    )
    debugger.register(model, criterion)
    debugger.train()
    criterion(model(torch.randn(16, 4)), torch.zeros(16, dtype=torch.long)).backward()
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    assert full(trial, "1.relu_input_0", 0).min() < 0
    assert model[1].inplace  # as it was


def test_of_a_large_feature_map_each_sample_keeps_some_positions():
    value = torch.arange(64 * 256 * 49.0).reshape(64, 256, 7, 7)
    kept = some_positions(value)
    assert kept.shape == (64, 256, 4)
    assert all(set(kept[i, c].tolist()) <= set(value[i, c].flatten().tolist()) for i in (0, 40) for c in (0, 255))
    positions = {int(v) % 49 for v in kept[:, 0].flatten()}
    assert len(positions) > 40


def test_bfloat16_under_autocast_is_saved(tmp_path, hook_configuration, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    model, criterion, debugger = (
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
        nn.CrossEntropyLoss(),
        hook.create(),
    )
    debugger.register(model, criterion)
    debugger.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = criterion(model(torch.randn(16, 4)), torch.zeros(16, dtype=torch.long))
    loss.backward()
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    assert full(trial, "1.relu_input_0", 0).dtype == np.float32
    assert reductions(trial, "1.relu_input_0", 0)["variance"] > 0


def test_a_fault_of_an_earlier_training_in_this_process_does_not_switch_off_the_next(
    tmp_path, hook_configuration, monkeypatch
):
    configuration = hook_configuration(tmp_path, tmp_path / "tensors")
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
    from smdebug.pytorch.hook import error_handling_agent

    error_handling_agent.disable_smdebug = True
    model, criterion, debugger = nn.Linear(2, 2), nn.CrossEntropyLoss(), hook.create()
    debugger.register(model, criterion)
    debugger.train()
    criterion(model(torch.randn(4, 2)), torch.zeros(4, dtype=torch.long)).backward()
    debugger.close()
    assert rules.open_trial(tmp_path / "tensors").tensor_names()


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
    assert all(np.prod(full(trial, name, 0).shape) <= 65_536 for name in activations)
    assert all(len(full(trial, name, 0)) == 12 for name in activations)  # some positions of each image of the batch


def test_the_configuration_used_here_is_valid_for_sagemaker(hook_configuration, tmp_path):
    """CollectionParameters is a map of strings to strings of at most 256 characters."""
    content = json.loads(hook_configuration(tmp_path, tmp_path / "t").read_text())
    for collection in content["CollectionConfigurations"]:
        assert all(
            isinstance(value, str) and len(value) <= 256 for value in collection["CollectionParameters"].values()
        )
