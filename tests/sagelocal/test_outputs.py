"""What a job leaves in its tree leads the server nowhere else: not to a file of the user's, not to another job's."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest

from sagelocal.core.errors import ValidationException
from sagelocal.runtime import outputs
from sagelocal.runtime.cluster import JobFailed
from sagelocal.services.s3 import objects
from tests.sagelocal import as_nobody
from tests.waiting import HANG

ROOT = Path(__file__).resolve().parents[2]
ROLE = "arn:aws:iam::123456789012:role/job"
PLACES = ("output/data", "model", "output/tensors", "checkpoints")


@pytest.fixture
def secret(tmp_path) -> Path:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "x").write_text("PRIVATE")
    (home / "failure").write_text("PRIVATE")
    (home / "message").write_text("PRIVATE")
    (home / "failure").chmod(0o600)
    return home


@pytest.fixture
def stored(context):
    """stored() -> all that is in the bucket, unpacked."""
    objects.create_bucket(context, "bucket")

    def look() -> dict[str, bytes]:
        found = {
            uri: objects.read_bytes(context, f"s3://bucket/{uri}") for uri in objects.keys(context, "s3://bucket/out")
        }
        for uri in [uri for uri in found if uri.endswith(".tar.gz")]:
            with tarfile.open(fileobj=io.BytesIO(found.pop(uri))) as tar:
                assert all(member.isfile() for member in tar)
                found |= {f"{uri}/{member.name}": tar.extractfile(member).read() for member in tar}
        return found

    return look


def train(context, program: str, **more) -> dict:
    objects.write_bytes(context, "s3://bucket/program/go.py", program.encode())
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/program/", "S3DataDistributionType": "FullyReplicated"}
    request = {
        "TrainingJobName": "job",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "python",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/program/go.py"],
        },
        "InputDataConfig": [{"ChannelName": "program", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "DebugHookConfig": {"S3OutputPath": "s3://bucket/out/tensors"},
        "CheckpointConfig": {"S3Uri": "s3://bucket/out/checkpoints"},
    }
    context.call("sagemaker", "CreateTrainingJob", **request | more)
    done = lambda job: job["TrainingJobStatus"] not in ("InProgress", "Stopping")  # noqa: E731
    return context.store.wait("training-job", "job", done, HANG)


@pytest.mark.parametrize("what", ["a file", "a folder", "the folder itself", "a folder above"])
def test_a_link_in_an_output_of_a_job_is_not_followed(context, secret, stored, what):
    program = f"""
import os, shutil
secret, what = {str(secret)!r}, {what!r}
for place in {PLACES}:
    path = "/opt/ml/" + place
    os.makedirs(path, exist_ok=True)
    if what == "a file": os.symlink(secret + "/failure", path + "/link")
    if what == "a folder": os.symlink(secret, path + "/link")
    if what == "the folder itself": shutil.rmtree(path); os.symlink(secret, path)
if what == "a folder above":
    shutil.rmtree("/opt/ml/output"); os.symlink(secret, "/opt/ml/output")
"""
    job = train(context, program)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert stored() == {}
    assert (secret / "failure").stat().st_mode & 0o777 == 0o600


def test_a_link_in_place_of_the_reason_of_a_failure_tells_nothing(context, secret, stored):
    program = f"""
import os
os.rmdir("/opt/ml/output/data")
os.rmdir("/opt/ml/output")
os.symlink({str(secret)!r}, "/opt/ml/output")
os._exit(3)
"""
    job = train(context, program)
    assert job["TrainingJobStatus"] == "Failed"
    assert "PRIVATE" not in json.dumps(job, default=str)


@pytest.mark.parametrize("path", ["/tmp/checkpoints", "/opt/ml/../../tmp", "checkpoints", "/opt/mlx"])
def test_a_folder_outside_of_the_tree_is_refused(context, stored, path):
    for member in ("CheckpointConfig", "DebugHookConfig"):
        config = {"S3Uri": "s3://bucket/c"} if member == "CheckpointConfig" else {"S3OutputPath": "s3://bucket/c"}
        with pytest.raises(ValidationException, match="below /opt/ml"):
            train(context, "pass", **{member: config | {"LocalPath": path}})
    with pytest.raises(JobFailed, match="below /opt/ml"):
        outputs.place(Path("tree"), path)


@pytest.mark.parametrize("archive", ["/etc/hostname", "/opt/ml/../../../../etc/hostname"])
def test_a_source_archive_outside_of_the_tree_is_refused(context, stored, archive):
    algorithm = {"TrainingImage": "python", "TrainingInputMode": "File"}
    mode = {"sagemaker_program": "go.py", "sagemaker_submit_directory": archive}
    job = train(context, "", AlgorithmSpecification=algorithm, HyperParameters=mode)
    assert "below /opt/ml" in job["FailureReason"]


def test_a_file_that_is_swapped_for_a_link_while_it_is_read_never_leads_out(tmp_path, secret):
    tree = tmp_path / "tree"
    (tree / "checkpoints").mkdir(parents=True)
    (tree / "checkpoints" / "failure").write_text("mine")
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            (tree / "checkpoints").rename(tree / "aside")
            (tree / "checkpoints").symlink_to(secret)
            (tree / "checkpoints").unlink()
            (tree / "aside").rename(tree / "checkpoints")

    swapping = threading.Thread(target=swap)
    swapping.start()
    read = set()
    for _ in range(3000):
        try:
            with outputs.opened(tree, tree / "checkpoints" / "failure") as file:
                read.add(file.read())
        except FileNotFoundError:
            continue
    ended.set()
    swapping.join()
    assert read == {b"mine"}


CLOSED = """
import json, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from sagelocal.runtime import outputs
tree = Path({tree!r})
(tree / "closed").mkdir(parents=True)
(tree / "closed" / "x").write_text("kept")
(tree / "closed" / "x").chmod(0)
(tree / "closed").chmod(0)
outputs.take_back(tree)
found = {{name: outputs.opened(tree, path).read().decode() for path, name in outputs.files_under(tree, tree)}}
(tree / "closed").chmod(0o500)
outputs.remove(tree)
print(json.dumps([os.geteuid(), found, tree.exists()]))
"""


def test_an_ordinary_user_gets_and_removes_what_a_job_has_closed():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        command = [sys.executable, "-c", CLOSED.format(root=str(ROOT), tree=f"{folder}/tree")]
        if os.geteuid() == 0:
            os.chown(folder, as_nobody.NOBODY, as_nobody.NOBODY)
            command = [sys.executable, as_nobody.__file__, *command]
        user, found, left = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert user != 0
    assert found == {"closed/x": "kept"}
    assert not left


def test_a_folder_of_any_depth_is_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    here = os.getcwd()
    os.chdir(tmp_path / "deep")
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    outputs.remove(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()


def test_an_output_that_cannot_be_looked_into_fails_the_job_instead_of_being_left_out(context, stored):
    program = """
import os
os.chdir("/opt/ml/model")
for _ in range(80):
    os.mkdir("d" * 60)
    os.chdir("d" * 60)
open("x", "w").close()
"""
    assert "cannot be read: File name too long" in train(context, program)["FailureReason"]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        outputs.opened(tmp_path, tmp_path / "pipe")
