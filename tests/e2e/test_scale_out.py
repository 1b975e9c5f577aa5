"""Prepare and Embed on three hosts: each has its share of the data on its disk, and together they do what one does."""

import io
import json
import re
import tarfile
from pathlib import Path
from urllib.parse import urlparse

import boto3
import numpy as np
import pytest
from breeds.model import features

from pipeline import settings
from pipeline.cloud import Cloud
from pipeline.predict import prepared_test_photo
from pipeline.sample_data import draw_sample_data
from tests.e2e.commands import last_json, pawline

SPLITS = ("train", "valid", "test")
HOSTS = ("algo-1", "algo-2", "algo-3")
IMAGES = {"train": 8, "valid": 3, "test": 3}
SMALL = ("ImageSize=32", "AugmentedViews=2", "Backbone=resnet18", "MaxTuningJobs=1", "Epochs=1", "FasterServing=off")


@pytest.fixture(scope="module")
def execution(state_dir: Path, server, tmp_path_factory) -> str:
    """A run on three hosts, from its photos to the gate, which refuses the model."""
    data = draw_sample_data(tmp_path_factory.mktemp("data"), images_per_class=IMAGES)
    words = ["run", "--json", "--data", str(data), "--weights", "random", "ProcessingInstanceCount=3", *SMALL]
    report = last_json(pawline(state_dir, *words, "AccuracyThreshold=1"))
    done = {step["name"]: step["status"] for step in report["steps"]}
    assert done["Embed"] == done["Train"] == done["Evaluate"] == done["Gate"] == "Succeeded", report
    return report["execution_arn"]


@pytest.fixture(scope="module")
def embed_job(execution, client) -> dict:
    listed = client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=execution)
    (arn,) = (
        step["Metadata"]["ProcessingJob"]["Arn"]
        for step in listed["PipelineExecutionSteps"]
        if step["StepName"] == "Embed"
    )
    return client("sagemaker").describe_processing_job(ProcessingJobName=arn.rpartition("/")[2])


@pytest.fixture(scope="module")
def together(embed_job, client, tmp_path_factory) -> Path:
    return fetched(client, embed_job, tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def alone(embed_job, client, tmp_path_factory) -> Path:
    """What the same job makes of the same input on one host."""
    names = ("AppSpecification", "RoleArn", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources")
    request = {name: embed_job[name] for name in names}
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 1
    output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
    run = re.search("/runs/([^/]+)/", output["S3Uri"])[1]
    output["S3Uri"] = output["S3Uri"].replace(run, f"{run}-alone")  # a job's role writes features of runs only
    client("sagemaker").create_processing_job(ProcessingJobName="alone", **request)
    client("sagemaker").get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="alone", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    job = client("sagemaker").describe_processing_job(ProcessingJobName="alone")
    assert job["ProcessingJobStatus"] == "Completed", job
    return fetched(client, job, tmp_path_factory.mktemp("alone"))


def fetched(client, job: dict, to: Path) -> Path:
    uri = urlparse(job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"])
    prefix = uri.path.strip("/") + "/"
    for entry in client("s3").list_objects_v2(Bucket=uri.netloc, Prefix=prefix)["Contents"]:
        client("s3").download_file(uri.netloc, entry["Key"], str(to / entry["Key"].removeprefix(prefix)))
    return to


def printed(client, job: dict, host: str) -> list[str]:
    group, name = "/aws/sagemaker/ProcessingJobs", job["ProcessingJobName"]
    streams = client("logs").describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/{host}-")
    (stream,) = (entry["logStreamName"] for entry in streams["logStreams"])
    events = client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def keys(directory: Path, split: str, host: str) -> list[str]:
    return json.loads((directory / f"{split}-{host}-keys.json").read_text())


def test_every_host_finds_the_shards_of_its_share_and_no_other(embed_job, together, client):
    counts = features.load_info(together)["counts"]
    for split in SPLITS:
        mine = {host: len(keys(together, split, host)) for host in HOSTS}
        assert all(0 < count < counts[split] for count in mine.values())
        for host, count in mine.items():
            line = f"{split} on {host}: shards 1, images {count} of {counts[split]}"
            assert line in printed(client, embed_job, host)
        assert (
            sum(mine.values()) == counts[split] == len({key for host in HOSTS for key in keys(together, split, host)})
        )


def test_the_merged_features_are_those_of_one_host(together, alone):
    assert features.load_info(together) == features.load_info(alone)
    assert [path.name for path in alone.glob("train-*-keys.json")] == ["train-algo-1-keys.json"]
    for split in SPLITS:
        one, three = features.load(alone, split), features.load(together, split)
        place = {key: number for number, key in enumerate(three.keys)}
        order = [place[key] for key in one.keys]
        assert len(place) == len(one.keys)
        assert np.array_equal(three.labels[order], one.labels)
        for view in range(one.views):
            views = np.full(len(order), view)
            found, expected = three.take(views, np.array(order)), one.take(views, np.arange(len(order)))
            np.testing.assert_allclose(found.astype(np.float32), expected.astype(np.float32), atol=0.1, rtol=0.05)


def test_a_host_that_prepared_no_test_photo_does_not_hide_those_of_the_others(execution, embed_job, client, server):
    inputs = {entry["InputName"]: entry["S3Input"]["S3Uri"] for entry in embed_job["ProcessingInputs"]}
    test_shards = urlparse(inputs["test"])
    tarfile.open(fileobj=(empty := io.BytesIO()), mode="w").close()
    client("s3").put_object(
        Bucket=test_shards.netloc, Key=f"{test_shards.path.strip('/')}/algo-0-00000.tar", Body=empty.getvalue()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        cloud = Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1"))
        name, photo = prepared_test_photo(cloud, execution)
    assert name.startswith("test-") and photo.startswith(b"\xff\xd8")
