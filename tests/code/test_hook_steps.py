"""The Debugger hook step by step: what costs nothing, what is on disk when, and going on from a checkpoint."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from breeds.debugger import hook, rules
from breeds.debugger.outcomes import Outcomes
from breeds.debugger.reductions import reductions
from breeds.debugger.rules.saved import evaluations, full, state, steps
from breeds.model.classifier import Head
from smdebug import modes
from torch import nn

from tests.waiting import HANG

LOSS = "CrossEntropyLoss_output_0"


@pytest.fixture
def watched(tmp_path, hook_configuration, monkeypatch):
    """(debugger, head, loss module), and a function that takes training steps and gives their losses."""
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))

    def make(job=None):
        if job:
            monkeypatch.setenv("TRAINING_JOB_NAME", job)
        torch.manual_seed(0)
        debugger, head, criterion = hook.create(), Head(8, 6, 3), nn.CrossEntropyLoss()
        debugger.register(head, criterion)
        inputs, labels = torch.randn(12, 8), torch.arange(12) % 3

        def train(count):
            losses = []
            for _ in range(count):
                loss = criterion(head(inputs), labels)
                loss.backward()
                losses.append(loss.item())
            return losses

        return debugger, head, criterion, train

    return make


def on_disk(tmp_path):
    return sorted(int(path.name.partition("_")[0]) for path in (tmp_path / "tensors").glob("index/*/*.json"))


def test_each_loss_is_saved_with_its_number_and_mode_and_as_it_was(watched, tmp_path):
    debugger, head, criterion, train = watched()
    expected = {}
    for epoch in range(3):
        debugger.train()
        expected |= {epoch * 22 + number: (modes.TRAIN, value) for number, value in enumerate(train(20))}
        debugger.eval()
        with torch.no_grad():
            expected |= {
                epoch * 22 + 20 + number: (modes.EVAL, value)
                for number, value in enumerate(train_free(head, criterion))
            }
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    saved = trial.tensor(LOSS)
    assert saved.steps() == list(range(66))
    assert {step: (trial.mode(step), float(saved.value(step))) for step in saved.steps()} == {
        step: (mode, pytest.approx(value, rel=1e-6)) for step, (mode, value) in expected.items()
    }
    assert saved.steps(mode=modes.TRAIN) == list(range(60))
    assert saved.steps(mode=modes.EVAL) == list(range(6))


def train_free(head, criterion):
    torch.manual_seed(1)
    return [criterion(head(torch.randn(5, 8)), torch.zeros(5, dtype=torch.long)).item() for _ in range(2)]


def test_at_a_step_that_saves_only_its_loss_no_module_and_no_parameter_has_a_callback(watched):
    debugger, head, criterion, train = watched()
    debugger.train()
    train(5)
    assert head.relu._forward_hooks and head.hidden.weight._backward_hooks
    train(20)
    assert not head.relu._forward_hooks
    assert not any(parameter._backward_hooks for parameter in head.parameters())
    train(26)  # step 50 is due again
    assert head.relu._forward_hooks and head.hidden.weight._backward_hooks
    debugger.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in [*head.modules(), criterion])
    assert not any(parameter._backward_hooks for parameter in head.parameters())


def test_a_loss_that_is_nan_is_on_disk_at_once(watched, tmp_path):
    debugger, head, criterion, train = watched()
    debugger.train()
    train(30)
    with torch.no_grad():
        head.output.bias.fill_(float("nan"))
    train(1)
    assert on_disk(tmp_path) == list(range(31))
    assert np.isnan(full(rules.open_trial(tmp_path / "tensors"), LOSS, 30))


def test_the_end_of_a_phase_that_must_be_readable_is(watched, tmp_path):
    debugger, _, _, train = watched()
    debugger.train()
    train(40)
    debugger.eval()
    train(1)
    debugger.end_phase()
    assert on_disk(tmp_path) == list(range(41))
    assert len(evaluations(rules.open_trial(tmp_path / "tensors"))) == 1


def test_a_training_killed_with_minus_nine_leaves_all_epochs_before_and_no_half_step(
    make_features, hook_configuration, tmp_path
):
    configuration = hook_configuration(tmp_path, tmp_path / "tensors")
    arguments = ["--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 30]
    arguments += ["--patience", 30, "--hidden-width", 16, "--batch-size", 8]
    train = Path(__file__).resolve().parents[2] / "code" / "train.py"
    command = [sys.executable, train, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SMDEBUG_CONFIG_FILE_PATH": str(configuration)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("epoch=5 "):
                process.send_signal(signal.SIGKILL)
                break
    trial = rules.open_trial(tmp_path / "tensors")
    assert not state(trial)["finished"]
    saved = trial.tensor(LOSS).steps()
    assert saved == list(range(len(saved)))
    assert len(saved) >= 3 * 16  # 15 steps and an evaluation each
    assert all(np.isfinite(trial.tensor(LOSS).value(step)) for step in saved)


# From a checkpoint


def cut_off(debugger, train, *, more):
    """Train 20 steps, make a checkpoint, and train `more` that it does not know of; its state as a file has it."""
    debugger.train()
    train(20)
    saved = debugger.as_state()
    train(more)
    debugger.end_phase()
    return saved


@pytest.mark.parametrize("job", [None, "job-1"])
def test_a_resumed_training_goes_on_counting_and_replaces_what_came_after_the_checkpoint(watched, tmp_path, job):
    debugger, *_, train = watched(job)
    saved = cut_off(debugger, train, more=15)
    assert on_disk(tmp_path) == list(range(35))
    debugger, *_, train = watched(job)
    debugger.restore(saved)
    debugger.train()
    train(1)
    debugger.end_phase()
    assert on_disk(tmp_path) == list(range(21))
    train(9)
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    assert trial.tensor(LOSS).steps(mode=modes.TRAIN) == list(range(30))
    assert [step for step in steps(trial, "gradient/Head_hidden.weight")] == list(range(10))


def test_a_job_of_another_name_has_tensors_of_its_own_that_start_at_step_0(watched, tmp_path):
    debugger, *_, train = watched("job-1")
    saved = cut_off(debugger, train, more=3)
    debugger, *_, train = watched("job-2")
    debugger.restore(saved)
    debugger.train()
    train(4)
    debugger.close()
    trial = rules.open_trial(tmp_path / "tensors")
    assert trial.tensor(LOSS).steps() == [0, 1, 2, 3]
    assert steps(trial, "training_labels") == [3]
    assert state(trial) == {"training_job": "job-2", "finished": True}


def test_a_training_that_starts_anew_where_one_failed_leaves_none_of_its_steps(watched, tmp_path):
    debugger, *_, train = watched()
    debugger.train()
    train(30)
    debugger._hook._cleanup()  # as at the exit of a process that failed
    assert (tmp_path / "tensors" / "training_job_end.ts").exists()
    debugger, *_, train = watched()
    debugger.train()
    train(12)
    debugger.close()
    assert on_disk(tmp_path) == list(range(12))


def test_a_checkpoint_carries_the_hook_through_a_whole_training(
    train, make_features, hook_configuration, tmp_path, monkeypatch
):
    from breeds.training import fitting

    data = make_features(tmp_path / "f")
    same = ("--features", data, "--hidden-width", 16, "--batch-size", 8, "--epochs", 4)
    found = {}
    for name, cut in {"whole": None, "cut": 2}.items():
        tensors = tmp_path / name
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tensors)))
        arguments = (*same, "--checkpoints", tmp_path / f"{name}-checkpoints", "--model-dir", tmp_path / f"{name}-m")
        if cut:
            with monkeypatch.context() as patched:
                ended = fitting.Fit._train_epoch

                def fail(self, cut=cut, ended=ended):
                    if self.epoch > cut:
                        raise KeyboardInterrupt
                    ended(self)

                patched.setattr(fitting.Fit, "_train_epoch", fail)
                with pytest.raises(KeyboardInterrupt):
                    train(*arguments)
        train(*arguments)
        trial = rules.open_trial(tensors)
        losses = trial.tensor(LOSS)
        found[name] = (
            [(step, trial.mode(step).name, float(losses.value(step))) for step in losses.steps()],
            [(each.step, each.accuracy) for each in evaluations(trial)],
            steps(trial, "training_labels"),
        )
    assert found["whole"] == found["cut"]


def test_what_was_gathered_survives_a_checkpoint():
    whole, first = Outcomes(), Outcomes()
    inputs, logits, labels = torch.randn(20, 16), torch.randn(20, 3), torch.arange(20) % 3
    for part in (slice(0, 9), slice(9, 20)):
        whole.add_inputs(inputs[part])
        whole.add(logits[part], labels[part], training=True)
    first.add_inputs(inputs[:9])
    first.add(logits[:9], labels[:9], training=True)
    second = Outcomes()
    second.restore(first.as_state())
    second.add_inputs(inputs[9:])
    second.add(logits[9:], labels[9:], training=True)
    assert np.array_equal(whole.pop_training()["training_labels"], second.pop_training()["training_labels"])
    for each in (whole, second):
        each.add_inputs(torch.cat([inputs[:5], torch.randn(15, 16)]))
        each.add(logits, labels, training=False)
        assert each.pop_validation()["validation_inputs_seen"] == 0.25


# Reductions


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(1000, generator=torch.Generator().manual_seed(0)),
        torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e-3 + 5,
        torch.full((7, 3), 2.5),
        torch.tensor(3.0),
        torch.tensor([1.0, float("nan"), 2.0]),
    ],
    ids=["around 0", "far from 0", "constant", "one value", "with NaN"],
)
def test_reductions_are_those_of_numpy(values):
    wanted = ["min", "max", "mean", "variance", "l2", "abs_mean"]
    numbers = values.double().numpy()
    expected = [numbers.min(), numbers.max(), numbers.mean(), numbers.var(), np.linalg.norm(numbers.ravel())]
    expected.append(np.abs(numbers).mean())
    found = reductions(values, wanted)
    assert [found[name] for name in wanted] == pytest.approx(expected, rel=1e-4, abs=1e-12, nan_ok=True)


def test_a_reduction_that_only_smdebug_knows_is_saved_all_the_same(tmp_path, hook_configuration, monkeypatch):
    collections = [
        {"CollectionName": "gradients", "CollectionParameters": {"reductions": "std,sum,abs_max,abs_l1_norm"}}
    ]
    configuration = hook_configuration(tmp_path, tmp_path / "tensors", collections)
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
    model, criterion, debugger = nn.Linear(4, 3), nn.CrossEntropyLoss(), hook.create()
    debugger.register(model, criterion)
    debugger.train()
    criterion(model(torch.randn(16, 4)), torch.zeros(16, dtype=torch.long)).backward()
    debugger.close()
    gradient, trial = model.weight.grad, rules.open_trial(tmp_path / "tensors")
    saved = trial.tensor("gradient/Linear_weight")
    assert saved.reduction_value(0, "std") == pytest.approx(gradient.std().item(), rel=1e-4)
    assert saved.reduction_value(0, "sum") == pytest.approx(gradient.sum().item(), abs=1e-5)
    assert saved.reduction_value(0, "max", abs=True) == pytest.approx(gradient.abs().max().item(), rel=1e-4)


def test_importing_smdebug_takes_neither_boto3_nor_requests(tmp_path):
    (tmp_path / "t.py").write_text(
        "import sys; from breeds.debugger import smdebug_shim; smdebug_shim.prepare()\n"
        "from breeds.debugger import trainable_hook\n"
        "print(sorted({'boto3', 'requests', 'pandas'} & set(sys.modules)))\n"
        "import requests; print(requests.get.__name__)"
    )
    code = next(path for path in sys.path if path.endswith("code"))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "t.py")],
        env={**os.environ, "PYTHONPATH": code},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.stdout.splitlines()[-2:] == ["[]", "get"], done.stderr
