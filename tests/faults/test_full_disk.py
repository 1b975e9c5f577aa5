"""A disk that is full for a while: the server answers, and what runs goes on when there is room again."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.faults import lab
from tests.faults.nursery import Nursery
from tests.waiting import until

SECONDS_FULL = 6
MIB = 1 << 20


@pytest.fixture
def base(tmp_path):
    """A state directory that has the pipeline."""
    nursery = Nursery()
    lab.make_base(nursery, tmp_path / "base", tmp_path / "operations")
    yield nursery, tmp_path / "base"
    nursery.end()


def refused(call, **request) -> str:
    """The error code of a request that the disk does not let through, as AWS shapes it."""
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    return raised.value.response["Error"]["Code"]


def test_a_server_answers_while_its_disk_is_full_and_its_execution_goes_on_afterwards(base):
    nursery, state_dir = base
    account = lab.Account(nursery, state_dir, operation="commit pipeline-execution-step #3", kind="full")
    account.armed.touch()
    arn = lab.begin(account.client)
    full = Path(f"{state_dir}.full")
    until(full.exists)

    sagemaker, s3 = account.client("sagemaker"), account.client("s3")
    assert lab.status_of(account.client, arn) == "Executing"
    assert sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert s3.list_objects_v2(Bucket="lab")["KeyCount"]
    assert refused(sagemaker.start_pipeline_execution, PipelineName="lab") == "InternalFailure"
    assert refused(sagemaker.stop_pipeline_execution, PipelineExecutionArn=arn) == "InternalFailure"
    assert refused(s3.put_object, Bucket="lab", Key="new", Body=b"x") in ("InternalError", "InternalFailure")
    assert lab.status_of(account.client, arn) == "Executing"

    full.unlink()
    assert lab.end_of(account.client, arn) == "Succeeded"
    account.stop()
    assert lab.problems(state_dir, arn) == []


def in_a_namespace(directory: Path, *command: str) -> subprocess.Popen[bytes] | None:
    """A command that has a small file system of its own at `directory`; None where that cannot be had here."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = f"mount -t tmpfs -o size=48m tmpfs '{directory}' && exec \"$@\""
    if not shutil.which("unshare") or subprocess.run([*unshare, "sh", "-c", mount, "sh", "true"]).returncode:
        return None
    environment = {**os.environ, "SAGELOCAL_IMAGES": ""}
    return subprocess.Popen([*unshare, "sh", "-c", mount, "sh", *command], env=environment)


def fill(path: Path) -> None:
    """Take the last byte of the file system that `path` is on."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, 0.5, 1.0, 1.8, 2.5, 3.2, 4.0])
def test_a_small_file_system_that_is_full_for_seconds_leaves_nothing_stuck(base, tmp_path, delay):
    _, prepared = base
    directory = tmp_path / "small"
    directory.mkdir()
    inside = directory / "state"
    program = "import sys; from sagelocal.cli import main; sys.exit(main())"
    start = f'cp -a {prepared} {inside} && exec {sys.executable} -c "{program}" up --foreground --state-dir {inside}'
    server = in_a_namespace(directory, "sh", "-c", start)
    if server is None:
        pytest.skip("no mount namespace here")
    try:
        seen = Path(f"/proc/{server.pid}/root{directory}")
        running = until(lambda: lifecycle.find(seen / "state"))
        client = lab.clients(running)
        arn = lab.begin(client)
        time.sleep(delay)
        fill(seen / "ballast")
        time.sleep(SECONDS_FULL)
        (seen / "ballast").unlink()
        status = lab.end_of(client, arn)
        if status == "Failed":
            client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
            assert lab.end_of(client, arn) == "Succeeded"
        assert lab.etags(client) == []
        assert lab.problems(seen / "state", arn) == []
        print(f"full after {delay} s, for {SECONDS_FULL} s: {status} by itself")
    finally:
        server.terminate()
        server.wait()
