"""Processing jobs keep the container's contract."""

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.services.logs import streams as logs
from sagelocal.services.s3 import objects
from tests.waiting import HANG, until

GROUP = "/aws/sagemaker/ProcessingJobs"

SCRIPT = """
import json, os, pathlib, sys
resources = json.load(open("/opt/ml/config/resourceconfig.json"))
job = json.load(open("/opt/ml/config/processingjobconfig.json"))
host = resources["current_host"]
data = pathlib.Path("/opt/ml/processing/in")
names = sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.is_file())
print(json.dumps([host, resources["hosts"], job["ProcessingJobName"], names, sys.argv[1:], os.environ["GREETING"]]))
pathlib.Path("/opt/ml/processing/out", "sub").mkdir()
pathlib.Path("/opt/ml/processing/out", "sub", host + ".txt").write_text(host)
if host == "algo-1":
    pathlib.Path("/opt/ml/output/message").write_text("3 files seen")
"""


@pytest.fixture
def bucket(context: Context) -> str:
    objects.create_bucket(context, "bucket")
    return "s3://bucket"


@pytest.fixture
def run(context: Context, bucket: str):
    """run(name, command, …) -> the job's description when it has ended."""

    def create(name: str, command: list[str], instances: int = 1, **more) -> dict:
        context.call(
            "sagemaker",
            "CreateProcessingJob",
            ProcessingJobName=name,
            RoleArn="arn:aws:iam::123456789012:role/job",
            AppSpecification={"ImageUri": "python:3.12", "ContainerEntrypoint": command, **more.pop("app", {})},
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": instances, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            **more,
        )
        return context.store.wait(
            "processing-job", name, lambda job: job["ProcessingJobStatus"] not in ("InProgress", "Stopping"), HANG
        )

    return create


def s3_input(uri: str, path: str, name: str = "data", distribution: str = "FullyReplicated") -> dict:
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": {**source, "S3DataDistributionType": distribution}}


def s3_output(uri: str, path: str) -> dict:
    return {
        "Outputs": [{"OutputName": "out", "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": "EndOfJob"}}]
    }


def lines(context: Context, job: str) -> list[str]:
    streams = logs.streams(context, GROUP, f"{job}/")
    return [line for stream in streams for line in logs.tail(context, GROUP, stream, 1000)]


def test_each_host_gets_its_share_its_configuration_and_uploads_its_output(context, bucket, run):
    import json

    for name in ("a", "b", "deep/c"):
        objects.write_bytes(context, f"{bucket}/data/{name}", name.encode())
    objects.write_bytes(context, f"{bucket}/code/run.py", SCRIPT.encode())
    job = run(
        "contract",
        ["python3", "/opt/ml/processing/code/run.py"],
        instances=2,
        app={"ContainerArguments": ["--limit", "3"]},
        Environment={"GREETING": "hello"},
        ProcessingInputs=[
            s3_input(f"{bucket}/code", "/opt/ml/processing/code", "code"),
            s3_input(f"{bucket}/data/", "/opt/ml/processing/in", distribution="ShardedByS3Key"),
        ],
        ProcessingOutputConfig=s3_output(f"{bucket}/out", "/opt/ml/processing/out"),
    )
    assert job["ProcessingJobStatus"] == "Completed" and job["ExitMessage"] == "3 files seen"
    hosts = ["algo-1", "algo-2"]
    assert sorted(json.loads(line) for line in lines(context, "contract")) == [
        ["algo-1", hosts, "contract", ["a", "deep/c"], ["--limit", "3"], "hello"],
        ["algo-2", hosts, "contract", ["b"], ["--limit", "3"], "hello"],
    ]
    assert objects.keys(context, f"{bucket}/out/") == ["out/sub/algo-1.txt", "out/sub/algo-2.txt"]
    until(lambda: not (context.state_dir / "jobs" / "processing" / "contract").exists())


def test_a_job_that_fails_says_why_and_leaves_no_output(context, bucket, run):
    script = "import sys; open('/opt/ml/processing/out/half', 'w').write('x'); sys.exit('no such breed')"
    job = run(
        "failing", ["python3", "-c", script], ProcessingOutputConfig=s3_output(f"{bucket}/o", "/opt/ml/processing/out")
    )
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: no such breed, exit code: 1"
    assert objects.keys(context, f"{bucket}/o") == []


def test_the_message_file_is_the_reason_of_a_failure(run):
    script = "import sys; open('/opt/ml/output/message', 'w').write('5 % of the images are broken'); sys.exit(3)"
    job = run("message", ["python3", "-c", script])
    assert job["FailureReason"] == "AlgorithmError: 5 % of the images are broken, exit code: 3"
    assert job["ExitMessage"] == "5 % of the images are broken"


def test_a_missing_input_fails_the_job_before_it_runs(context, bucket, run):
    job = run("missing", ["/bin/true"], ProcessingInputs=[s3_input(f"{bucket}/none", "/opt/ml/processing/in")])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert f"S3 prefix {bucket}/none has no objects" in job["FailureReason"]
    job = run("nowhere", ["/bin/true"], ProcessingInputs=[s3_input("s3://no-bucket/x", "/opt/ml/processing/in")])
    assert job["ProcessingJobStatus"] == "Failed" and "no-bucket" in job["FailureReason"]


def test_a_job_over_its_time_limit_is_stopped(run):
    job = run("slow", ["/bin/sleep", "3600"], StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert job["ProcessingJobStatus"] == "Stopped" and "MaxRuntimeInSeconds" in job["FailureReason"]


def test_one_host_that_fails_ends_the_others(run):
    script = (
        "import time; 'host\": \"algo-2' in open('/opt/ml/config/resourceconfig.json').read() and 1/0; time.sleep(3600)"
    )
    job = run("half", ["python3", "-c", script], instances=2)
    assert job["ProcessingJobStatus"] == "Failed" and "ZeroDivisionError" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")


def test_hosts_find_each_other_by_name(context, run):
    run("names", ["python3", "-c", "import socket; print(socket.gethostbyname('algo-2'))"], instances=2)
    assert lines(context, "names") == ["127.0.0.1"] * 2


def test_stop_ends_a_running_job(context, bucket, run):
    def stop():
        until(lambda: lines(context, "stopped"))
        context.call("sagemaker", "StopProcessingJob", ProcessingJobName="stopped")

    context.spawn("stop", stop)
    job = run("stopped", ["/bin/sh", "-c", "echo started; sleep 3600"])
    assert job["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ValidationException, match="is Stopped"):
        context.call("sagemaker", "StopProcessingJob", ProcessingJobName="stopped")


def test_a_manifest_names_the_objects_to_bring(context, bucket, run):
    for name in ("a", "b", "c"):
        objects.write_bytes(context, f"{bucket}/data/{name}", b"x")
    objects.write_bytes(context, f"{bucket}/list", f'[{{"prefix": "{bucket}/data/"}}, "a", "c"]'.encode())
    given = s3_input(f"{bucket}/list", "/opt/ml/processing/in")
    given["S3Input"]["S3DataType"] = "ManifestFile"
    run("manifest", ["/bin/ls", "/opt/ml/processing/in"], ProcessingInputs=[given])
    assert lines(context, "manifest") == ["a", "c"]


def test_a_key_that_would_leave_the_input_directory_fails_the_job(context, bucket, run):
    objects.write_bytes(context, f"{bucket}/list", f'[{{"prefix": "{bucket}/"}}, "../../escaped"]'.encode())
    given = s3_input(f"{bucket}/list", "/opt/ml/processing/in")
    given["S3Input"]["S3DataType"] = "ManifestFile"
    assert "which is no file name" in run("escape", ["/bin/true"], ProcessingInputs=[given])["FailureReason"]


def test_what_cannot_run_is_refused_at_once(context, bucket, run):
    with pytest.raises(ValidationException, match="ContainerEntrypoint"):
        run("no-command", [])
    with pytest.raises(ValidationException, match="LocalPath must begin with /opt/ml/processing"):
        run("path", ["x"], ProcessingInputs=[s3_input(f"{bucket}/a", "/etc")])
    with pytest.raises(ValidationException, match="data is used twice"):
        run("twice", ["x"], ProcessingInputs=[s3_input(f"{bucket}/a", "/opt/ml/processing/a")] * 2)
    with pytest.raises(ValidationException, match="does not know how to run the image .*acme/cobol:1"):
        run("image", ["x"], app={"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/acme/cobol:1"})
    assert context.store.list("processing-job") == []


def test_names_are_unique_and_unknown_ones_are_not_found(context, run):
    run("same", ["/bin/true"])
    with pytest.raises(ResourceInUse, match="same"):
        run("same", ["/bin/true"])
    with pytest.raises(ResourceNotFound, match="other"):
        context.call("sagemaker", "DescribeProcessingJob", ProcessingJobName="other")


def test_jobs_are_listed_newest_first_filtered_and_in_pages(context, run):
    for name in ("one", "two", "three"):
        run(name, ["/bin/false" if name == "two" else "/bin/true"])

    def listed(**request) -> list[str]:
        answer = context.call("sagemaker", "ListProcessingJobs", **request)
        names = [job["ProcessingJobName"] for job in answer["ProcessingJobSummaries"]]
        return names + ([answer["NextToken"]] if "NextToken" in answer else [])

    assert listed() == ["three", "two", "one"]
    assert listed(SortBy="Name", SortOrder="Ascending") == ["one", "three", "two"]
    assert listed(StatusEquals="Failed") == ["two"]
    first, token = listed(NameContains="o", MaxResults=1)
    assert (first, listed(NameContains="o", MaxResults=1, NextToken=token)) == ("two", ["one"])
