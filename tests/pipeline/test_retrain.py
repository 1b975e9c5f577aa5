"""New data starts the pipeline, from the template alone: bucket, rule, function, schedule, execution."""

import json

import pytest

from pipeline import infra, inventory
from pipeline.cloud import Cloud
from sagelocal.core import lifecycle
from tests.waiting import until

DEFINITION = {
    "Parameters": [{"Name": "InputDataUri", "Type": "String", "DefaultValue": "none"}],
    "Steps": [
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.InputDataUri"}, "RightValue": "a"}]
            },
        }
    ],
}


@pytest.fixture
def cloud(new_account: Cloud) -> Cloud:
    return new_account


def deploy(cloud: Cloud, **given: str) -> None:
    infra.deploy(cloud, given, confirm=lambda change_set: True, watch=lambda event: None)
    cloud.client("sagemaker").create_pipeline(
        PipelineName="pawline", PipelineDefinition=json.dumps(DEFINITION), RoleArn=cloud.settings.role("pipeline")
    )


def put(cloud: Cloud, *names: str) -> None:
    for name in names:
        cloud.client("s3").put_object(Bucket=cloud.settings.bucket, Key=f"pawline/{name}", Body=b"photo")


def schedules(cloud: Cloud) -> list[str]:
    return [entry["Name"] for entry in cloud.client("scheduler").list_schedules()["Schedules"]]


def executions(cloud: Cloud) -> list[str]:
    found = cloud.client("sagemaker").list_pipeline_executions(PipelineName="pawline")["PipelineExecutionSummaries"]
    return [entry["PipelineExecutionArn"] for entry in found]


def logged(cloud: Cloud) -> list[str]:
    """What the function has said, a message for each event that it has dealt with."""
    logs, group = cloud.client("logs"), {"logGroupName": "/aws/lambda/pawline-retrain"}
    streams = [each["logStreamName"] for each in logs.describe_log_streams(**group)["logStreams"]]
    events = [e for s in streams for e in logs.get_log_events(**group, logStreamName=s)["events"]]
    return sorted(json.loads(e["message"])["message"] for e in events if e["message"].startswith('{"level"'))


def test_objects_that_arrive_together_start_one_execution_on_their_data_set(cloud, new_state_dir):
    deploy(cloud, RetrainOnNewData="true", DebounceMinutes="0.1")
    put(cloud, "raw/0a1b/train/1.jpg", "raw/0a1b/train/2.jpg", "runs/x/3.jpg", "raw/alone.zip")
    until(lambda: len(logged(cloud)) == 3)
    assert [words.split()[0] for words in logged(cloud)] == ["ignored:", "postponed", "postponed"]
    assert schedules(cloud) == ["pawline", "pawline-retrain"]
    assert executions(cloud) == []
    until(lambda: schedules(cloud) == ["pawline"])
    (arn,) = executions(cloud)
    given = cloud.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    uri = f"s3://{cloud.settings.bucket}/pawline/raw/0a1b/"
    assert given["PipelineParameters"] == [{"Name": "InputDataUri", "Value": uri}]
    used = json.loads(lifecycle.find(new_state_dir).ask("GET", "/_sagelocal/iam/used"))
    needed = {s["sid"]: bool(s["only_here"]) for s in used["roles"]["pawline-retrain"]}
    assert needed == {"PutOffStart": True, "PassSchedulerRole": True, "WriteLogs": True, "KeepFailedEvents": True}
    assert used["refused"] == []


def test_a_start_that_waits_goes_with_destroy(cloud):
    deploy(cloud, RetrainOnNewData="true")
    put(cloud, "raw/0a1b/dogs.zip")
    until(lambda: "pawline-retrain" in schedules(cloud))
    waiting = [item for item in inventory.find(cloud, keep_data=True) if item.name == "pawline-retrain"]
    assert [item.kind for item in waiting] == ["schedule"]
    waiting[0].delete()
    assert "pawline-retrain" not in schedules(cloud)
    assert executions(cloud) == []


def test_switched_off_it_leaves_no_role_and_no_events_behind(cloud):
    deploy(cloud, RetrainOnNewData="true")
    s3, iam = cloud.client("s3"), cloud.client("iam")
    bucket = {"Bucket": cloud.settings.bucket}
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(**bucket)
    infra.deploy(cloud, {"RetrainOnNewData": "false"}, confirm=lambda change_set: True, watch=lambda event: None)
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(**bucket)
    assert "pawline-retrain" not in {role["RoleName"] for role in iam.list_roles()["Roles"]}
