"""train.py in several processes: the same result as one, and an end in seconds when one of them is lost."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.training.batches import training_batches
from breeds.training.fitting import Fit
from breeds.training.optimization import check_finite

from contract import metrics
from tests.code.training_output import metrics_in, same_weights
from tests.waiting import HANG

TRAIN = Path(__file__).resolve().parents[2] / "code" / "train.py"
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_several_hosts_without_torchrun_are_refused(train, make_features, tmp_path, monkeypatch):
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    with pytest.raises(InputError, match="2 hosts were started without torchrun"):
        train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m")


def test_two_processes_train_and_evaluate_exactly_as_one_does(script, make_features, tmp_path):
    # 50 images in batches of 15: shares of 8 and 7, and a last batch of 5; no dropout, one view: no chance.
    data = make_features(tmp_path / "f", num_train=50, num_valid=31, views=1, separation=0.4)
    same = ("--features", data, "--epochs", 3, "--batch-size", 15, "--dropout", 0, "--hidden-width", 8)
    alone = script("train", *same, "--model-dir", tmp_path / "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both = script("train", *same, "--model-dir", tmp_path / "two", launcher=launcher)
    assert alone.returncode == both.returncode == 0, both.stderr
    for name in metrics.NAMES:
        assert metrics_in(both.stdout, name) == pytest.approx(metrics_in(alone.stdout, name), abs=2e-4)
    weights = [torch.load(tmp_path / d / "model.pth", weights_only=True)["head.hidden.weight"] for d in ("one", "two")]
    assert torch.allclose(*weights, atol=1e-5)


def test_two_processes_fine_tune_and_evaluate_as_one_does(script, small_model, tmp_path):
    same = ("--features", small_model.features, "--prepared", small_model.prepared, "--weights", small_model.weights)
    same += ("--trainable-stages", 1, "--epochs", 1, "--fine-tune-epochs", 2, "--batch-size", 7, "--dropout", 0)
    same += ("--optimize", "off", "--hidden-width", 8)
    alone = script("train", *same, "--model-dir", tmp_path / "one")
    both = script("train", *same, "--model-dir", tmp_path / "two", launcher=TWO)
    assert alone.returncode == both.returncode == 0, both.stderr
    assert "2 processes share each batch of 7 images" in both.stdout
    for name, tolerance in {"train:loss": 0.03, "validation:loss": 0.03, "validation:accuracy": 0.06}.items():
        assert metrics_in(both.stdout, name) == pytest.approx(metrics_in(alone.stdout, name), abs=tolerance)


def short_of_memory(folder: Path, where: str) -> dict[str, str]:
    """The environment of processes whose head runs out of memory in a training pass where this condition holds, of
    `rank`, `images` in the pass, and `passes` so far."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"""
import os, sys
if "RANK" in os.environ:
    sys.path.insert(0, {str(TRAIN.parent)!r})
    import torch
    from breeds.model.classifier import Head
    forward, rank, passes = Head.forward, int(os.environ["RANK"]), 0
    def limited(self, features):
        global passes
        images, passes = len(features), passes + self.training
        if self.training and {where}:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, features)
    Head.forward = limited
"""
    )
    return {"PYTHONPATH": str(folder)}


def test_memory_short_on_one_rank_gives_every_rank_the_micro_batches_that_could_be_set(script, make_features, tmp_path):
    same = ("--features", make_features(tmp_path / "f"), "--epochs", 2, "--batch-size", 15, "--hidden-width", 8)
    asked = ("--micro-batch-size", 2, "--model-dir", tmp_path / "asked")
    asked = script("train", *same, *asked, launcher=TWO)
    environment = short_of_memory(tmp_path / "short", "rank == 1 and images > 3")
    short = script("train", *same, "--model-dir", tmp_path / "found", launcher=TWO, env=environment)
    assert asked.returncode == short.returncode == 0, short.stderr
    assert [line for line in short.stdout.splitlines() if "out of memory" in line] == [
        "out of memory with 8 images at once: going on with micro-batches of 2; each step still takes 15 images"
    ]
    assert metrics_in(short.stdout, "train:loss") == metrics_in(asked.stdout, "train:loss")
    assert same_weights(tmp_path / "found", tmp_path / "asked")


def test_trying_a_batch_before_training_changes_nothing(train, make_features, tmp_path, monkeypatch):
    same = ("--features", make_features(tmp_path / "f"), "--epochs", 2, "--hidden-width", 8)
    train(*same, "--model-dir", tmp_path / "plain")
    run, tried = Fit.run, []

    def try_and_run(self):
        chance = torch.get_rng_state()
        self._agree_on_micro_batches()
        tried.append(torch.equal(chance, torch.get_rng_state()))
        assert all(parameter.grad is None for parameter in self.parameters)
        run(self)

    monkeypatch.setattr(Fit, "run", try_and_run)
    train(*same, "--model-dir", tmp_path / "tried")
    assert tried == [True]
    assert same_weights(tmp_path / "plain", tmp_path / "tried")


def test_memory_that_runs_out_within_a_step_of_several_ranks_ends_them_with_advice(script, make_features, tmp_path):
    same = ("--features", make_features(tmp_path / "f"), "--epochs", 1, "--batch-size", 16, "--hidden-width", 8)
    environment = short_of_memory(tmp_path / "late", "rank == 1 and passes > 2")
    done = script("train", *same, "--model-dir", tmp_path / "m", launcher=TWO, env=environment)
    assert done.returncode != 0
    assert "A micro-batch of 8 images does not fit the device's memory" in done.stderr + done.stdout
    assert "Start again, which tries what fits now, or set micro-batch-size to 4 or less." in done.stderr + done.stdout


class Numbers:
    """Batches of nothing but their own labels."""

    def __init__(self, count: int):
        self.labels, self.num_classes, self.evaluation_batch = torch.arange(count), count, 4

    def order(self, epoch: int) -> torch.Tensor:
        return torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(epoch))

    def take(self, indices: torch.Tensor, epoch: int | None) -> torch.Tensor:
        return indices


@pytest.mark.parametrize(("count", "size"), [(50, 2), (16, 3), (17, 4), (3, 4)])
def test_the_ranks_together_take_each_image_once_with_its_share_of_the_batch(count, size):
    device = torch.device("cpu")
    ranks = [
        list(
            training_batches(
                Numbers(count), batch_size=15, epoch=1, first_step=0, world=World(rank=rank, size=size, device=device)
            )
        )
        for rank in range(size)
    ]
    assert len({len(steps) for steps in ranks}) == 1
    taken = torch.cat([labels for steps in ranks for _, _, labels, share in steps if share])
    assert sorted(taken.tolist()) == list(range(count))
    for step in zip(*ranks, strict=True):
        assert sum(share for *_, share in step) == pytest.approx(size)


def test_a_gradient_that_is_not_a_number_on_another_rank_ends_this_one_with_the_same_reason():
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, float("nan")])
    world = World(rank=0, size=2, device=torch.device("cpu"))
    with pytest.raises(InputError, match=r"gradient became nan in epoch 3.*learning rate \(it is 0\.1\)"):
        check_finite(0.5, [parameter], world, epoch=3, learning_rate=0.1)


def test_a_host_whose_process_is_killed_ends_the_other_host_with_the_reason(make_features, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    data = make_features(tmp_path / "f")
    hosts = []
    for rank in range(2):
        base = tmp_path / f"algo-{rank + 1}"
        (base / "input" / "config").mkdir(parents=True)
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        command += ["--master-addr", "127.0.0.1", "--master-port", str(port), "--node-rank", str(rank), str(TRAIN)]
        command += ["--features", str(data), "--model-dir", str(tmp_path / "m"), "--epochs", "1000"]
        command += ["--patience", "1000", "--checkpoints", str(tmp_path / "c")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SAGEMAKER_BASE_DIR": str(base)}
        hosts.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    try:
        for line in hosts[0].stdout:
            if line.startswith("epoch=3 "):
                break
        os.kill(worker_of(hosts[1].pid), signal.SIGKILL)
        codes = [host.wait(timeout=HANG) for host in hosts]  # gloo itself would wait for half an hour
    finally:
        for host in hosts:
            host.kill()
            host.stdout.close()
            host.wait()
    assert all(codes), codes
    assert "Another of the 2 processes of this training was lost" in (tmp_path / "algo-1/output/failure").read_text()
    assert list((tmp_path / "c").glob("*.pt"))


def worker_of(launcher: int) -> int:
    """The process that torchrun started to train."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(int(pid) for pid in children if "train.py" in Path(f"/proc/{pid}/cmdline").read_text())
