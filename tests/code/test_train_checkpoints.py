"""train.py's checkpoints: a training that was cut off ends as if it had not been."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from breeds.base.container import InputError
from breeds.training import checkpoints, fitting

from tests.code.training_output import metrics_in, same_weights

# As the processes of these tests: the number of threads decides the order of sums.
pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = Path(__file__).resolve().parents[2] / "code" / "train.py"
HEAD = ("--epochs", 30, "--patience", 30, "--hidden-width", 16, "--batch-size", 16, "--ema-decay", 0.9)
STAGES = ("--trainable-stages", 1, "--fine-tune-epochs", 3, "--patience", 9, "--batch-size", 8, "--epochs", 2)


def kill_after(line: str, *arguments: object) -> None:
    """Run train.py as a process, and kill it with -9 as soon as it prints a line that starts so."""
    command = [sys.executable, str(TRAIN), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for printed in process.stdout:
            if printed.startswith(line):
                process.send_signal(signal.SIGKILL)
                break
        else:
            raise AssertionError(f"no line started with {line!r}")
    assert process.returncode == -signal.SIGKILL


def test_a_head_killed_with_minus_nine_and_resumed_is_the_head_of_an_uninterrupted_training(
    train, make_features, tmp_path
):
    same = ("--features", make_features(tmp_path / "f"), "--checkpoints", tmp_path / "checkpoints", *HEAD)
    kill_after("epoch=4 ", *same, "--model-dir", tmp_path / "killed")
    resumed = train(*same, "--model-dir", tmp_path / "resumed")
    whole = train(*same[:2], *HEAD, "--model-dir", tmp_path / "whole")
    assert "resuming from checkpoint" in resumed
    assert len(metrics_in(resumed, "train:loss")) < 31 == len(metrics_in(whole, "train:loss"))
    assert resumed.splitlines()[-1].split(" seconds")[0] == whole.splitlines()[-1].split(" seconds")[0]
    assert same_weights(tmp_path / "resumed", tmp_path / "whole")


def test_fine_tuning_killed_with_minus_nine_and_resumed_is_that_of_an_uninterrupted_training(
    train, small_model, tmp_path
):
    same = (
        *("--features", small_model.features, "--prepared", small_model.prepared, "--weights", small_model.weights),
        *(*STAGES, "--optimize", "off"),
    )
    checkpoint = ("--checkpoints", tmp_path / "checkpoints")
    kill_after("epoch=4 ", *same, *checkpoint, "--model-dir", tmp_path / "killed")
    resumed = train(*same, *checkpoint, "--model-dir", tmp_path / "resumed")
    train(*same, "--model-dir", tmp_path / "whole")
    assert "resuming from checkpoint" in resumed
    assert "fine-tuning, epoch" in resumed
    assert same_weights(tmp_path / "resumed", tmp_path / "whole")


@pytest.mark.parametrize("steps", [3, 11])
def test_a_training_goes_on_within_an_epoch_with_mixup_averages_and_micro_batches(
    train, make_features, tmp_path, monkeypatch, steps
):
    same = ("--features", make_features(tmp_path / "f"), "--epochs", 3, "--hidden-width", 8, "--batch-size", 16)
    same += ("--mixup-alpha", 0.3, "--ema-decay", 0.99, "--micro-batch-size", 5, "--checkpoint-seconds", 0)
    whole = train(*same, "--model-dir", tmp_path / "whole")
    checkpointed = (*same, "--checkpoints", tmp_path / "c")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "ASK_EVERY", 1)
        fail_after(steps, patched)
        with pytest.raises(KeyboardInterrupt):
            train(*checkpointed, "--model-dir", tmp_path / "cut")
    resumed = train(*checkpointed, "--model-dir", tmp_path / "resumed")
    assert f"epoch {1 + steps // 8}, step {steps % 8}" in resumed
    assert (
        metrics_in(resumed, "train:loss") == metrics_in(whole, "train:loss")[-len(metrics_in(resumed, "train:loss")) :]
    )
    assert same_weights(tmp_path / "resumed", tmp_path / "whole")


def fail_after(steps: int, patched: pytest.MonkeyPatch) -> None:
    step, left = fitting.Fit._train_step, [steps]

    def failing(self, *arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        step(self, *arguments)

    patched.setattr(fitting.Fit, "_train_step", failing)


@pytest.fixture
def cut(train, make_features, tmp_path, monkeypatch):
    """Arguments of a training that was cut off in its second epoch, its checkpoint in tmp_path/c."""
    arguments = ("--features", make_features(tmp_path / "f"), "--checkpoints", tmp_path / "c")
    arguments += ("--model-dir", tmp_path / "m", "--epochs", 3, "--hidden-width", 8, "--batch-size", 16)
    with monkeypatch.context() as patched:
        fail_after(10, patched)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments)
    return arguments


def test_a_checkpoint_of_other_settings_stays_unused_and_untouched_and_is_named_once(cut, train, tmp_path):
    (before,) = (tmp_path / "c").glob("*.pt")
    content = before.read_bytes()
    out = train(*cut, "--dropout", 0.2)
    assert out.count("another training's") == 1
    assert "dropout 0.5 there, 0.2 here" in out
    assert "resuming" not in out
    assert before.read_bytes() == content
    assert "epoch=1 " in out.split("another training's")[1]


def test_a_checkpoint_of_other_data_stays_unused(cut, train, make_features, tmp_path):
    make_features(tmp_path / "f", seed=5)
    out = train(*cut)
    assert "data" in next(line for line in out.splitlines() if "another training's" in line)
    assert "resuming" not in out


def test_a_damaged_checkpoint_is_refused_and_kept(cut, train, tmp_path):
    (path,) = (tmp_path / "c").glob("*.pt")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint .*\.pt cannot be used.*Remove it"):
        train(*cut)
    assert path.stat().st_size == 1000


def test_the_checkpoint_of_a_finished_training_is_a_small_note_and_starts_nothing_from_its_end(cut, train, tmp_path):
    train(*cut)
    (path,) = (tmp_path / "c").glob("*.pt")
    assert path.stat().st_size < 10_000
    assert len(metrics_in(train(*cut), "train:loss")) == 4


def test_a_loss_that_is_not_a_number_leaves_the_last_checkpoint_as_it_was(cut, train, tmp_path, monkeypatch):
    (path,) = (tmp_path / "c").glob("*.pt")
    content = path.read_bytes()
    loss = torch.nn.CrossEntropyLoss.forward
    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", lambda *given: loss(*given) * float("nan"))
    with pytest.raises(InputError, match="loss became nan"):
        train(*cut)
    assert path.read_bytes() == content


def test_without_a_directory_nothing_is_written(train, make_features, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"f", "m"}
