"""train.py in several processes: the same result as one, and an end in seconds when one of them is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from breeds.container import InputError
from breeds.distributed import World
from breeds.metrics import METRIC_NAMES
from breeds.training import check_finite, training_batches

from tests.code.training_output import metrics_in

TRAIN = Path(__file__).resolve().parents[2] / "code" / "train.py"
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SECONDS_TO_END = 15  # what a busy machine takes; on an idle one it is two


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
    for name in METRIC_NAMES:
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


def test_a_host_whose_process_is_killed_ends_the_other_host_in_seconds_with_the_reason(make_features, tmp_path):
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
        killed = time.monotonic()
        codes = [host.wait(timeout=60) for host in hosts]
        took = time.monotonic() - killed
    finally:
        for host in hosts:
            host.kill()
            host.stdout.close()
            host.wait()
    assert all(codes), codes
    assert took < SECONDS_TO_END
    assert "Another of the 2 processes of this training was lost" in (tmp_path / "algo-1/output/failure").read_text()
    assert list((tmp_path / "c").glob("*.pt"))


def worker_of(launcher: int) -> int:
    """The process that torchrun started to train."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(int(pid) for pid in children if "train.py" in Path(f"/proc/{pid}/cmdline").read_text())
