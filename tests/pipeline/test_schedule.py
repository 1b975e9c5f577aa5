"""`pawline schedule` and `pawline unschedule`, against the embedded server with the shipped template."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline import infra, schedule
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.upsert import upsert
from tests.waiting import until

MONDAYS = "cron(0 3 ? * MON *)"


@pytest.fixture(scope="module")
def values(bare: Cloud) -> dict[str, Any]:
    root = bare.settings.root
    return {"InputDataUri": f"{root}/raw/x/", "PretrainedWeightsUri": f"{root}/weights/x/", "Epochs": 3}


@pytest.fixture(scope="module")
def cloud(bare: Cloud, values: dict[str, Any]) -> Cloud:
    """The same account, set up, with the pipeline and some data."""
    infra.ensure(bare)
    upsert(bare)
    for name in ("InputDataUri", "PretrainedWeightsUri"):
        bucket, _, prefix = values[name].removeprefix("s3://").partition("/")
        bare.client("s3").put_object(Bucket=bucket, Key=f"{prefix}file", Body=b"something")
    return bare


def known(cloud: Cloud) -> dict[str, Any]:
    return cloud.client("scheduler").get_schedule(Name=cloud.settings.project)


def test_without_a_pipeline_there_is_nothing_to_schedule(bare: Cloud, values):
    with pytest.raises(UserError, match="pawline upsert"):
        schedule.schedule(bare, MONDAYS, "UTC", values)


def test_the_schedule_has_its_role_queue_retries_zone_and_parameters(cloud: Cloud, values):
    found = schedule.schedule(cloud, MONDAYS, "Europe/Berlin", values)
    made = known(cloud)
    target = made["Target"]
    assert made["State"] == "ENABLED" and made["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert target["RoleArn"].endswith(":role/pawline-scheduler")
    assert target["DeadLetterConfig"]["Arn"].endswith(":pawline-dead-letters")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 3
    assert {"Name": "Epochs", "Value": "3"} in target["SageMakerPipelineParameters"]["PipelineParameterList"]
    runs = [datetime.fromisoformat(run) for run in found["next_runs"]]
    assert len(runs) == 5 and all(run.weekday() == 0 and run.hour == 3 for run in runs)
    assert runs[0] > datetime.now(UTC)


def test_the_same_schedule_again_changes_nothing_and_another_one_updates_it(cloud: Cloud, values):
    schedule.schedule(cloud, MONDAYS, "UTC", values)
    assert schedule.schedule(cloud, MONDAYS, "UTC", values)["change"] == "unchanged"
    assert schedule.schedule(cloud, "cron(0 4 ? * MON *)", "UTC", values)["change"] == "updated"
    assert known(cloud)["ScheduleExpression"] == "cron(0 4 ? * MON *)"


def test_a_rate_starts_an_execution_by_itself_when_it_said_it_would(cloud: Cloud, values):
    found = schedule.schedule(cloud, "rate(1 hour)", "UTC", values)
    assert schedule.schedule(cloud, "rate(1 hour)", "UTC", values)["next_runs"] == found["next_runs"]
    sagemaker = cloud.client("sagemaker")
    started = until(lambda: sagemaker.list_pipeline_executions(PipelineName="pawline")["PipelineExecutionSummaries"])
    first, second = (datetime.fromisoformat(run) for run in found["next_runs"][:2])
    assert first <= started[0]["StartTime"] < second
    arn = started[0]["PipelineExecutionArn"]
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert {"Name": "Epochs", "Value": "3"} in given
    schedule.unschedule(cloud)


def test_unscheduling_switches_it_off_once(cloud: Cloud, values):
    schedule.schedule(cloud, MONDAYS, "UTC", values)
    assert schedule.unschedule(cloud)["change"] == "switched off"
    assert known(cloud)["State"] == "DISABLED"
    assert schedule.unschedule(cloud)["change"] == "it was off already"
    assert schedule.schedule(cloud, MONDAYS, "UTC", values)["change"] == "updated"
    assert known(cloud)["State"] == "ENABLED"


@pytest.mark.parametrize(
    ("expression", "timezone", "named"),
    [
        ("0 3 * * 1", "UTC", "no schedule expression"),
        ("cron(0 3 * * 1)", "UTC", "5 fields"),
        (MONDAYS, "Europe/Atlantis", "Europe/Atlantis"),
        ("at(2020-01-01T00:00:00)", "UTC", "never runs"),
        ("cron(0 3 31 2 ? *)", "UTC", "never runs"),
    ],
)
def test_what_is_no_expression_is_refused_before_anything_is_made(cloud: Cloud, values, expression, timezone, named):
    before = known(cloud)
    with pytest.raises(UserError, match=named):
        schedule.schedule(cloud, expression, timezone, values)
    assert known(cloud)["LastModificationDate"] == before["LastModificationDate"]


def test_runs_that_would_find_no_data_are_refused(cloud: Cloud, values):
    gone = {**values, "InputDataUri": f"{cloud.settings.root}/raw/gone/"}
    with pytest.raises(UserError, match="where nothing is"):
        schedule.schedule(cloud, MONDAYS, "UTC", gone)
    with pytest.raises(UserError, match="cannot be read"):
        schedule.schedule(cloud, MONDAYS, "UTC", {**values, "InputDataUri": "s3://no-such-bucket-here/x/"})


def test_without_role_or_queue_the_way_out_is_named(cloud: Cloud, values):
    """Last: it takes the account apart."""
    cloud.client("sqs").delete_queue(
        QueueUrl=cloud.client("sqs").get_queue_url(QueueName="pawline-dead-letters")["QueueUrl"]
    )
    with pytest.raises(UserError, match=r"pawline-dead-letters.*pawline deploy-infra"):
        schedule.schedule(cloud, MONDAYS, "UTC", values)
    cloud.client("iam").delete_role_policy(RoleName="pawline-scheduler", PolicyName="scheduler")
    cloud.client("iam").delete_role(RoleName="pawline-scheduler")
    with pytest.raises(UserError, match=r"pawline-scheduler.*pawline deploy-infra"):
        schedule.schedule(cloud, MONDAYS, "UTC", values)
