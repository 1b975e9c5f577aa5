"""EventBridge Scheduler over HTTP: schedules are kept, checked, and fire."""

import functools
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.waiting import until

ROLE = "arn:aws:iam::123456789012:role/scheduler"
PIPELINE = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/nightly"
CONDITION = {
    "Name": "Check",
    "Type": "Condition",
    "Arguments": {"Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.Word"}, "RightValue": "yes"}]},
}
DEFINITION = {"Parameters": [{"Name": "Word", "Type": "String", "DefaultValue": "no"}], "Steps": [CONDITION]}


@pytest.fixture(scope="module")
def pipeline(client) -> str:
    sagemaker = client("sagemaker")
    sagemaker.create_pipeline(PipelineName="nightly", PipelineDefinition=json.dumps(DEFINITION), RoleArn=ROLE)
    return "nightly"


@pytest.fixture
def queue(client):
    """A queue of its own, as a dead-letter queue or a target: (arn, receive)."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"queue-{time.time_ns()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def receive() -> dict:
        """The next message, which is gone from the queue then."""
        asked = {"QueueUrl": url, "MessageAttributeNames": ["All"]}
        (message,) = until(lambda: sqs.receive_message(**asked).get("Messages"))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return message

    return arn, receive


def make(client, name: str, expression: str, target: dict, **more) -> None:
    client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"RoleArn": ROLE, **target},
        **more,
    )


def in_seconds(seconds: float) -> str:
    """A time as at() knows it, in whole seconds. It must not have passed yet when the server comes to read it."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def executions(client) -> list[dict]:
    return client("sagemaker").list_pipeline_executions(PipelineName="nightly")["PipelineExecutionSummaries"]


def test_a_rate_starts_an_execution_with_its_parameters_without_anyone_asking(client, pipeline):
    parameters = {"PipelineParameterList": [{"Name": "Word", "Value": "yes"}]}
    make(client, "each-minute", "rate(1 minute)", {"Arn": PIPELINE, "SageMakerPipelineParameters": parameters})
    started = until(lambda: executions(client))
    sagemaker = client("sagemaker")
    arn = started[0]["PipelineExecutionArn"]
    assert sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"] == [
        {"Name": "Word", "Value": "yes"}
    ]
    assert len(started) == 1
    client("scheduler").delete_schedule(Name="each-minute")


def test_a_schedule_fires_at_its_time_and_is_deleted_after_completion(client, queue):
    arn, receive = queue
    moment = in_seconds(4)
    target = {"Arn": arn, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'}
    make(client, "once", f"at({moment})", target, ActionAfterCompletion="DELETE")
    message = receive()
    assert datetime.now(UTC) >= datetime.fromisoformat(f"{moment}Z")
    assert json.loads(message["Body"]) == {"at": f"{moment}Z"}
    until(lambda: "once" not in [s["Name"] for s in client("scheduler").list_schedules()["Schedules"]])


def test_what_fails_goes_to_the_dead_letter_queue_with_the_reason(client, queue):
    arn, receive = queue
    gone = PIPELINE.replace("nightly", "gone")
    target = {"Arn": gone, "DeadLetterConfig": {"Arn": arn}, "RetryPolicy": {"MaximumRetryAttempts": 0}}
    make(client, "to-nowhere", "rate(1 hour)", target)
    message = receive()
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "ResourceNotFound"
    assert attributes["TARGET_ARN"] == gone
    assert attributes["SCHEDULE_ARN"].endswith("schedule/default/to-nowhere")
    assert json.loads(message["Body"])["PipelineName"] == "gone"


def test_a_disabled_schedule_does_not_fire_until_it_is_enabled(client, queue):
    arn, receive = queue
    make(client, "asleep", f"at({in_seconds(1)})", {"Arn": arn, "Input": '"asleep"'}, State="DISABLED")
    make(client, "later", f"at({in_seconds(4)})", {"Arn": arn, "Input": '"later"'})
    assert receive()["Body"] == '"later"'
    client("scheduler").update_schedule(
        Name="asleep",
        ScheduleExpression=f"at({in_seconds(4)})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": ROLE, "Input": '"awake"'},
    )
    assert receive()["Body"] == '"awake"'


def test_nothing_fires_before_the_start_date_or_after_the_end_date(context):
    from sagelocal.services.scheduler.loop import next_due

    noon = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
    context.call(
        "scheduler",
        "CreateSchedule",
        Name="bounded",
        ScheduleExpression="rate(1 hour)",
        StartDate=noon,
        EndDate=noon + 7200,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": PIPELINE, "RoleArn": ROLE},
    )
    body = context.store.get("schedule", "default/bounded")
    assert next_due(body, noon - 1e6) == noon
    assert next_due(body, noon) == noon + 3600
    assert next_due(body, noon + 7200) is None


def test_a_rate_fires_at_the_very_moment_that_it_was_made_whatever_the_clock_showed():
    from sagelocal.services.scheduler.expressions import just_before, next_within, parse

    rate, late = parse("rate(1 hour)"), []
    for number in range(2000):
        made = 1_796_015_197.808 + number * 0.000_000_7
        due = next_within(rate, "UTC", just_before(made), made, None, None)
        late += [made] if due is None or abs(due - made) > 1e-5 else []
    assert not late


def test_a_schedule_is_read_changed_listed_and_deleted(client):
    scheduler = client("scheduler")
    scheduler.create_schedule_group(Name="team")
    target = {"Arn": PIPELINE}
    make(client, "a", "cron(0 3 ? * MON *)", target, GroupName="team", ScheduleExpressionTimezone="Europe/Berlin")
    got = scheduler.get_schedule(Name="a", GroupName="team")
    assert got["ScheduleExpressionTimezone"] == "Europe/Berlin" and got["State"] == "ENABLED"
    assert got["CreationDate"].year >= 2026
    assert [s["Name"] for s in scheduler.list_schedules(GroupName="team")["Schedules"]] == ["a"]
    with pytest.raises(scheduler.exceptions.ConflictException):
        make(client, "a", "rate(1 day)", target, GroupName="team")
    scheduler.delete_schedule_group(Name="team")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="a", GroupName="team")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ScheduleExpression": "cron(0 3 * * 1)"}, "5 fields"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"Target": {"Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:x", "RoleArn": ROLE}}, "stateMachine"),
        ({"StartDate": datetime(2031, 1, 1), "EndDate": datetime(2030, 1, 1)}, "EndDate"),
    ],
)
def test_what_could_never_fire_is_refused(client, change: dict, named: str):
    request = {
        "Name": "bad",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": PIPELINE, "RoleArn": ROLE},
    }
    with pytest.raises(ClientError) as refusal:
        client("scheduler").create_schedule(**request | change)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert named in refusal.value.response["Error"]["Message"]


def test_schedules_outlive_the_server_and_what_was_to_fire_once_meanwhile_fires_late(tmp_path: Path):
    def clients(url: str):
        return (
            boto3.client(service, endpoint_url=url, region_name="us-east-1") for service in ("sagemaker", "scheduler")
        )

    def started() -> list[str]:
        return [e["PipelineExecutionArn"] for e in executions(lambda _: sagemaker)]

    began = time.monotonic()
    sagemaker, scheduler = clients(lifecycle.ensure(tmp_path).url)
    a_start = time.monotonic() - began  # on this machine, as busy as it is
    sagemaker.create_pipeline(PipelineName="nightly", PipelineDefinition=json.dumps(DEFINITION), RoleArn=ROLE)
    make_ = functools.partial(make, lambda _: scheduler)
    make_("past", f"at({in_seconds(-60)})", {"Arn": PIPELINE}, ActionAfterCompletion="DELETE")
    make_("once", f"at({in_seconds(1)})", {"Arn": PIPELINE})
    (first,) = until(started)
    due = 1 + a_start
    missed = in_seconds(due)
    parameters = {"PipelineParameterList": [{"Name": "Word", "Value": "yes"}]}
    late = {"Arn": PIPELINE, "SageMakerPipelineParameters": parameters}
    make_("late", f"at({missed})", late, ActionAfterCompletion="DELETE")
    make_("asleep", f"at({missed})", {"Arn": PIPELINE}, State="DISABLED")
    make_("over", "cron(0 3 1 1 ? *)", {"Arn": PIPELINE}, EndDate=time.time() + due, ActionAfterCompletion="DELETE")
    lifecycle.stop(tmp_path)
    until(lambda: datetime.now(UTC) > datetime.fromisoformat(f"{missed}Z") + timedelta(seconds=1))
    try:
        sagemaker, scheduler = clients(lifecycle.ensure(tmp_path).url)
        names = until(
            lambda: {s["Name"] for s in scheduler.list_schedules()["Schedules"]}, lambda names: "late" not in names
        )
        assert names == {"past", "once", "asleep"}
        (second,) = set(started()) - {first}
        asked = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=second)
        assert asked["PipelineParameters"] == [{"Name": "Word", "Value": "yes"}]
    finally:
        lifecycle.stop(tmp_path)


def test_what_is_older_than_its_retry_policy_allows_is_not_fired_any_more(context):
    from sagelocal.services.scheduler.loop import loop

    request = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ActionAfterCompletion": "DELETE"}
    policy = {"MaximumEventAgeInSeconds": 3600}
    context.call(
        "sagemaker",
        "CreatePipeline",
        PipelineName="nightly",
        PipelineDefinition=json.dumps(DEFINITION),
        RoleArn=ROLE,
        ClientRequestToken="0" * 32,
    )
    for name, seconds in (("old", -3700), ("young", -3500)):
        target = {"Arn": PIPELINE, "RoleArn": ROLE, "RetryPolicy": policy}
        at = f"at({in_seconds(seconds)})"
        context.call("scheduler", "CreateSchedule", Name=name, ScheduleExpression=at, Target=target, **request)
        body = context.store.update("schedule", f"default/{name}", {"LastModificationDate": time.time() - 7200})
        loop(context).take_up(f"default/{name}", body, time.time())
    until(lambda: not context.store.list("schedule"))
    listed = context.call("sagemaker", "ListPipelineExecutions", PipelineName="nightly")
    assert len(listed["PipelineExecutionSummaries"]) == 1


def test_a_schedule_acts_with_its_role_and_nothing_more(client, pipeline, queue):
    arn, receive = queue
    iam = client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="queue-only", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="queue-only", PolicyName="send", PolicyDocument=document)
    before = len(executions(client))
    make(client, "denied", "rate(1 hour)", {"Arn": PIPELINE, "RoleArn": role, "DeadLetterConfig": {"Arn": arn}})
    error = {name: value["StringValue"] for name, value in receive()["MessageAttributes"].items()}
    assert error["ERROR_CODE"] == "AccessDeniedException"
    assert "sagemaker:StartPipelineExecution" in error["ERROR_MESSAGE"] and "queue-only" in error["ERROR_MESSAGE"]
    assert len(executions(client)) == before
