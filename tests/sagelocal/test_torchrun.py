"""A training under torchrun, whose workers have sessions of their own, ends whole, whichever part is killed."""

import os
import signal
import time
import uuid
from collections.abc import Iterator

import boto3
import psutil
import pytest

from benchmarks.archives import tar_gz
from sagelocal.core import lifecycle
from sagelocal.runtime import isolation, sandbox
from tests.waiting import HANG, until

HOSTS = 2
PROGRAM = b"import time\nprint('begun', flush=True)\ntime.sleep(600)\n"
MODES = ["here", "none"]
pytestmark = pytest.mark.slow


class Training:
    """A training of a server, with short words for what the tests do."""

    def __init__(self, running: lifecycle.Running):
        settings = running.client_settings()
        self.sagemaker, self.s3 = (boto3.client(name, **settings) for name in ("sagemaker", "s3"))
        self.name = f"training-{uuid.uuid4().hex[:8]}"

    def start(self) -> None:
        self.s3.create_bucket(Bucket="torchrun")
        self.s3.put_object(Bucket="torchrun", Key="code.tar.gz", Body=tar_gz({"go.py": PROGRAM}))
        self.sagemaker.create_training_job(
            TrainingJobName=self.name,
            RoleArn="arn:aws:iam::123456789012:role/job",
            AlgorithmSpecification={"TrainingImage": "pytorch-training:2", "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": "s3://torchrun/out"},
            ResourceConfig={"InstanceCount": HOSTS, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
            HyperParameters={
                "sagemaker_program": "go.py",
                "sagemaker_submit_directory": "s3://torchrun/code.tar.gz",
                "sagemaker_torch_distributed_enabled": "true",
                "name": self.name,
            },
        )
        until(lambda: len(self.workers()) == HOSTS)

    def workers(self) -> list[psutil.Process]:
        """The processes that run its program; as the machine numbers them."""
        alive = [each for each in psutil.process_iter(["cmdline", "status"]) if each.info["status"] != "zombie"]
        return [each for each in alive if {"-u", self.name} <= set(each.info["cmdline"] or ())]

    def ended(self) -> str:
        def status() -> str:
            return self.sagemaker.describe_training_job(TrainingJobName=self.name)["TrainingJobStatus"]

        until(lambda: status() not in ("InProgress", "Stopping"))
        return status()


@pytest.fixture(params=MODES)
def server(request, tmp_path, monkeypatch) -> Iterator[lifecycle.Running]:
    if request.param == "none":
        monkeypatch.setenv(isolation.VARIABLE, "none")
    elif isolation.mode() == sandbox.NONE:
        pytest.skip("this machine allows no namespaces")
    yield lifecycle.ensure(tmp_path / "state")
    lifecycle.stop(tmp_path / "state")


def test_no_worker_outlives_a_training(server, tmp_path):
    for victim, status in (("worker", "Failed"), ("launcher", "Failed"), ("nobody: stopped", "Stopped")):
        training = Training(server)
        training.start()
        worker = training.workers()[0]
        assert os.getsid(worker.pid) != os.getsid(worker.ppid())
        if victim == "nobody: stopped":
            began = time.monotonic()
            training.sagemaker.stop_training_job(TrainingJobName=training.name)
        else:
            os.kill(worker.pid if victim == "worker" else worker.ppid(), signal.SIGKILL)
        assert (victim, training.ended()) == (victim, status)
        assert training.workers() == []
    assert time.monotonic() - began < HANG / 2
    training = Training(server)
    training.start()
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: training.workers() == [])
    again = Training(lifecycle.ensure(tmp_path / "state"))
    again.name = training.name
    assert again.ended() == "Failed"
