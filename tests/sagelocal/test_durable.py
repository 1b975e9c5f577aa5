"""What must hold when the disk refuses, a thread dies or the clock goes back: nothing is lost, doubled or stuck."""

import errno
import sqlite3
import threading
import time
import uuid

import pytest

from sagelocal.core import patience, supervisor
from sagelocal.runtime import cluster
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import (
    ENDPOINT,
    EXECUTION,
    PACKAGE,
    PIPELINE,
    PROCESSING_JOB,
    START_TOKEN,
    TRAINING_JOB,
    TUNING_JOB,
)
from sagelocal.services.sagemaker.execution import identity
from sagelocal.services.sagemaker.jobs import processing_api, training, training_api
from tests.waiting import HANG, until

ROLE = "arn:aws:iam::123456789012:role/pipeline"
ENTRY = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
NO_PIPELINE = (
    '{"Version": "2020-12-01", "Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]}'
)


def refusal(code=sqlite3.SQLITE_FULL):
    problem = sqlite3.OperationalError("database or disk is full")
    problem.sqlite_errorcode = code
    return problem


class RefusingDisk:
    """The store's commits fail until `free` is set; reads go on."""

    def __init__(self, store, monkeypatch):
        self.refused, self.full = 0, threading.Event()
        real = store._db.write

        def write(*given):
            if self.full.is_set():
                self.refused += 1
                raise refusal()
            return real(*given)

        monkeypatch.setattr(store._db, "write", write)


@pytest.fixture
def disk(context, monkeypatch):
    return RefusingDisk(context.store, monkeypatch)


def create_job(context, name, *command):
    context.call(
        "sagemaker",
        "CreateProcessingJob",
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": "python", "ContainerEntrypoint": list(command)},
        ProcessingResources={"ClusterConfig": ENTRY},
    )


def job_of(context, name):
    return context.call("sagemaker", "DescribeProcessingJob", ProcessingJobName=name)


@pytest.mark.parametrize(
    ("problem", "is_the_disks"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EIO, "bad sector"), True),
        (OSError(errno.EMFILE, "too many open files"), True),
        (refusal(), True),
        (refusal(sqlite3.SQLITE_IOERR_WRITE), True),
        (refusal(sqlite3.SQLITE_BUSY), True),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (refusal(sqlite3.SQLITE_CONSTRAINT), False),
        (KeyError("x"), False),
    ],
)
def test_the_disks_refusals_are_told_from_other_errors(problem, is_the_disks):
    assert patience.refused(problem) == is_the_disks


def test_what_the_disk_refuses_is_tried_until_it_is_taken_and_the_reserve_is_given_up(context, monkeypatch):
    left, freed = [refusal(), OSError(errno.ENOSPC, "full"), refusal()], []
    monkeypatch.setattr(patience, "FULL_HOOKS", [freed.append])

    def write():
        if left:
            raise left.pop()
        return "written"

    assert patience.patiently(context, "it", write) == "written"
    assert freed == [context] * 3


def test_patience_ends_with_the_server_and_with_its_time_and_other_errors_are_raised_at_once(context):
    tries = []

    def write():
        tries.append(1)
        raise refusal()

    with pytest.raises(sqlite3.OperationalError):
        patience.patiently(context, "it", write, seconds=0.05)
    assert len(tries) == 2
    with pytest.raises(ZeroDivisionError):
        patience.patiently(context, "it", lambda: 1 / 0)
    context.stopping.set()
    with pytest.raises(sqlite3.OperationalError):
        patience.patiently(context, "it", write)
    assert len(tries) == 3


def test_a_job_that_ends_while_the_disk_is_full_is_completed_when_it_is_not(context, disk):
    create_job(context, "j", "/bin/sleep", "1")
    until(lambda: job_of(context, "j").get("ProcessingStartTime"))
    disk.full.set()
    until(lambda: disk.refused > 2)
    assert job_of(context, "j")["ProcessingJobStatus"] == "InProgress"
    disk.full.clear()
    context.store.wait(PROCESSING_JOB, "j", lambda job: job["ProcessingJobStatus"] == "Completed", HANG)


def test_a_start_whose_writing_is_refused_leaves_no_token_that_leads_nowhere(context, disk):
    context.call(
        "sagemaker",
        "CreatePipeline",
        PipelineName="p",
        PipelineDefinition=NO_PIPELINE,
        RoleArn=ROLE,
        ClientRequestToken=uuid.uuid4().hex,
    )
    request = {"PipelineName": "p", "ClientRequestToken": uuid.uuid4().hex}
    real, calls = context.store.update, []

    def fail_at_the_last_change(*given):
        calls.append(given)
        raise refusal()

    context.store.update = fail_at_the_last_change
    with pytest.raises(sqlite3.OperationalError):
        context.call("sagemaker", "StartPipelineExecution", **request)
    context.store.update = real
    assert [kind for kind, *_ in calls] == [PIPELINE]
    assert context.store.list(START_TOKEN) == [] and context.store.list(EXECUTION) == []
    arn = context.call("sagemaker", "StartPipelineExecution", **request)["PipelineExecutionArn"]
    assert context.call("sagemaker", "StartPipelineExecution", **request)["PipelineExecutionArn"] == arn
    assert context.call("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn)


def test_a_registration_that_is_refused_uses_up_no_version_and_a_repeated_one_makes_none(context, monkeypatch):
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/model.tar.gz", b"model")
    context.call("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="g")
    container = {"Image": "python", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    types = {"SupportedContentTypes": ["text/plain"], "SupportedResponseMIMETypes": ["text/plain"]}
    request = {
        "ModelPackageGroupName": "g",
        "ClientToken": identity.token("execution", "Register"),
        "InferenceSpecification": {"Containers": [container], **types},
    }

    def refuse(*_):
        raise refusal()

    with monkeypatch.context() as patched, pytest.raises(sqlite3.OperationalError):
        patched.setattr(context.store, "put", refuse)
        context.call("sagemaker", "CreateModelPackage", **request)
    assert context.store.list(PACKAGE) == []
    first, second = (context.call("sagemaker", "CreateModelPackage", **request)["ModelPackageArn"] for _ in range(2))
    assert first == second and first.endswith("/g/1")
    context.call("sagemaker", "DeleteModelPackage", ModelPackageName=first)
    assert context.call("sagemaker", "CreateModelPackage", **request)["ModelPackageArn"].endswith("/g/2")


def lost_job(context, name):
    """A job that says it runs, as its thread leaves it when that dies."""
    create_job(context, name, "/bin/true")
    context.store.wait(PROCESSING_JOB, name, lambda job: job["ProcessingJobStatus"] == "Completed", HANG)
    until(lambda: (PROCESSING_JOB, name) not in cluster.running(context))
    context.store.update(PROCESSING_JOB, name, {"ProcessingJobStatus": "InProgress"})


def test_a_job_that_nobody_runs_is_ended_by_the_supervisor_and_one_that_runs_is_not(context, monkeypatch):
    monkeypatch.setattr(supervisor, "EVERY_SECONDS", 0.1)
    lost_job(context, "lost")
    create_job(context, "alive", "/bin/sleep", "3600")
    supervisor.begin(context)
    lost = context.store.wait(PROCESSING_JOB, "lost", lambda job: job["ProcessingJobStatus"] == "Failed", HANG)
    assert lost["FailureReason"] == "InternalServerError: The embedded SageMaker lost the job: nothing ran it any more."
    assert job_of(context, "alive")["ProcessingJobStatus"] == "InProgress"


def test_the_supervisor_goes_on_after_a_refusal(context, disk, monkeypatch):
    monkeypatch.setattr(supervisor, "EVERY_SECONDS", 0.05)
    lost_job(context, "lost")
    disk.full.set()
    supervisor.begin(context)
    until(lambda: disk.refused > 2)
    disk.full.clear()
    context.store.wait(PROCESSING_JOB, "lost", lambda job: job["ProcessingJobStatus"] == "Failed", HANG)


def test_a_job_for_which_there_is_no_thread_is_ended_too(context, monkeypatch):
    monkeypatch.setattr(supervisor, "EVERY_SECONDS", 0.1)
    supervisor.begin(context)

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(type(context), "spawn", no_thread)
        create_job(context, "j", "/bin/true")
    context.store.wait(PROCESSING_JOB, "j", lambda job: job["ProcessingJobStatus"] == "Failed", HANG)


def test_all_that_runs_in_the_background_is_watched():
    watched = {str(watch.kind) for watch in supervisor.WATCHES}
    assert watched >= {TRAINING_JOB, PROCESSING_JOB, TUNING_JOB, EXECUTION, ENDPOINT}


def test_an_endpoint_that_nobody_deploys_is_failed(context, monkeypatch):
    monkeypatch.setattr(supervisor, "EVERY_SECONDS", 0.1)
    body = {"EndpointName": "e", "EndpointStatus": "Creating", "CreationTime": time.time(), "_Deployment": "lost"}
    context.store.insert(ENDPOINT, "e", body)
    supervisor.begin(context)
    found = context.store.wait(ENDPOINT, "e", lambda endpoint: endpoint["EndpointStatus"] == "Failed", HANG)
    assert "lost the deployment" in found["FailureReason"]


def test_a_stop_that_comes_after_the_end_of_a_job_does_not_change_it(context):
    create_job(context, "j", "/bin/true")
    context.store.wait(PROCESSING_JOB, "j", lambda job: job["ProcessingJobStatus"] == "Completed", HANG)
    cluster.register(context, PROCESSING_JOB, "j")  # as for the moment between the writing and the forgetting
    with pytest.raises(Exception, match="the job j is Completed"):
        processing_api.JOBS.stop(context, "j", lambda body: body.update({"ProcessingJobStatus": "Stopping"}))
    assert job_of(context, "j")["ProcessingJobStatus"] == "Completed"


def test_a_clock_that_is_set_back_makes_no_negative_durations(context, monkeypatch):
    request = {
        "TrainingJobName": "t",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "python", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": ENTRY,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    training_api.insert(context, request)
    context.store.update(TRAINING_JOB, "t", {"TrainingStartTime": time.time()})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 90_000)
    done = {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
    job = training.end(context, "t", done)
    assert job["TrainingStartTime"] <= job["TrainingEndTime"] and job["TrainingTimeInSeconds"] == 1
    assert all(entry["StartTime"] <= entry["EndTime"] for entry in job["SecondaryStatusTransitions"])


def test_names_of_attempts_are_the_same_again_and_differ_from_all_others():
    made = {identity.mark(e, s, a) for e in ("e1", "e2") for s in ("A", "B") for a in range(1, 50)}
    assert len(made) == 2 * 2 * 49 and identity.mark("e1", "A", 1) in made
    assert all(len(mark) == 10 and mark.isalnum() for mark in made)
    assert identity.token("e1", "A") == identity.token("e1", "A") != identity.token("e1", "A", 1)
