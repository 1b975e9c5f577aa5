"""The pipeline on a schedule: EventBridge Scheduler starts it, with a role, a time zone and a dead-letter queue."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from contract.s3 import bucket_and_key
from pipeline import console, hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.parameters import Value
from sagelocal.services.scheduler import expressions

RETRIES = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}
URIS = ("InputDataUri", "PretrainedWeightsUri")
COMPARED = ("ScheduleExpression", "ScheduleExpressionTimezone", "State", "FlexibleTimeWindow", "Target")
SHOWN_RUNS = 5
START_DELAY = timedelta(seconds=2)  # a start date that has passed when it arrives would cost a rate its first run


def schedule(cloud: Cloud, expression: str, timezone: str, values: Mapping[str, Value]) -> dict[str, Any]:
    """Start the pipeline by itself at an expression's times, with checked parameters; the next five runs.

    The schedule has the project's name: another call changes it. Everything is checked before anything is made. Raises
    UserError for a bad expression or time zone, and for a pipeline, role, queue or data that is not there.
    """
    next_runs(expression, timezone)
    _check_data(cloud, {**_pipeline_defaults(cloud), **values})
    role = _role(cloud)
    wanted = {
        "Name": cloud.settings.project,
        "Description": "Starts the pipeline",
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": timezone,
        "State": "ENABLED",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": cloud.settings.pipeline_arn,
            "RoleArn": role,
            "DeadLetterConfig": {"Arn": _queue(cloud)},
            "RetryPolicy": RETRIES,
            **_pipeline_parameters(values),
        },
    }
    change, start = _put(cloud, wanted)
    runs = next_runs(expression, timezone, start)
    return {
        "schedule": cloud.settings.project,
        "change": change,
        "expression": expression,
        "timezone": timezone,
        "parameters": dict(values),
        "next_runs": [run.isoformat() for run in runs],
    }


def unschedule(cloud: Cloud) -> dict[str, Any]:
    """Switch the schedule off. It stays, as part of the stack that made it, until `pawline destroy`."""
    scheduler = cloud.client("scheduler")
    try:
        known = scheduler.get_schedule(Name=cloud.settings.project)
    except scheduler.exceptions.ResourceNotFoundException:
        return {"schedule": cloud.settings.project, "change": "there was none"}
    if known["State"] == "DISABLED":
        return {"schedule": cloud.settings.project, "change": "it was off already"}
    kept = ("Name", "Description", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{member: known[member] for member in kept if member in known}, State="DISABLED")
    return {"schedule": cloud.settings.project, "change": "switched off"}


def next_runs(expression: str, timezone: str, start: datetime | None = None) -> list[datetime]:
    """The next five runs of an expression, in its time zone; a rate counts from `start`.

    Raises UserError for an expression that is none, or that never runs.
    """
    try:
        runs = expressions.next_times(expression, timezone, SHOWN_RUNS, anchor=start)
    except expressions.ExpressionError as error:
        raise UserError(
            str(error), f"For instance: {hints.SCHEDULE(cron='cron(0 3 ? * MON *)', timezone='Europe/Berlin')}"
        ) from None
    if not runs:
        raise UserError(f"{expression} never runs: no such time is to come.", "Choose a time in the future.")
    return runs


def show(found: dict[str, Any]) -> None:
    """The schedule and its next runs."""
    say = console.console.print
    say(f"Schedule {found['schedule']}: {found['change']}. {found['expression']}, {found['timezone']}.")
    if found["parameters"]:
        say("With " + ", ".join(f"{name}={value}" for name, value in found["parameters"].items()) + ".")
    say("The next runs:")
    for run in found["next_runs"]:
        say(f"  {datetime.fromisoformat(run):%a %Y-%m-%d %H:%M:%S %z}")


def _put(cloud: Cloud, wanted: dict[str, Any]) -> tuple[str, datetime | None]:
    """(created, updated or unchanged; since when the schedule counts). A rate's first run is its start date."""
    scheduler = cloud.client("scheduler")
    try:
        known = scheduler.get_schedule(Name=wanted["Name"])
    except scheduler.exceptions.ResourceNotFoundException:
        known = None
    if known and all(known.get(member) == wanted[member] for member in COMPARED):
        return "unchanged", known.get("StartDate")
    start = None
    if wanted["ScheduleExpression"].startswith("rate"):
        start = datetime.now(UTC).replace(microsecond=0) + START_DELAY
        wanted = {**wanted, "StartDate": start}
    try:
        if known is None:
            scheduler.create_schedule(**wanted)
        else:
            scheduler.update_schedule(**wanted)
    except scheduler.exceptions.ValidationException as error:
        raise UserError(
            f"EventBridge Scheduler refuses the schedule: {error.response['Error']['Message']}",
            f"If it is about the role, {hints.DEPLOY_INFRA} makes one that the Scheduler may assume.",
        ) from None
    return ("updated" if known else "created"), start


def _pipeline_parameters(values: Mapping[str, Value]) -> dict[str, Any]:
    """The target's parameters; AWS refuses an empty list."""
    given = [{"Name": name, "Value": str(value)} for name, value in values.items()]
    return {"SageMakerPipelineParameters": {"PipelineParameterList": given}} if given else {}


def _pipeline_defaults(cloud: Cloud) -> dict[str, Value]:
    """The defaults of the pipeline in the account. Raises UserError when it is not there."""
    try:
        known = cloud.client("sagemaker").describe_pipeline(PipelineName=cloud.settings.pipeline_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        what = f"There is no pipeline {cloud.settings.pipeline_name} to schedule."
        raise UserError(what, f"Create it first: {hints.UPSERT}") from None
    entries = json.loads(known["PipelineDefinition"])["Parameters"]
    return {entry["Name"]: entry["DefaultValue"] for entry in entries if "DefaultValue" in entry}


def _check_data(cloud: Cloud, values: Mapping[str, Value]) -> None:
    """Raise UserError when the runs would start with data that is not there."""
    for name in URIS:
        bucket, prefix = bucket_and_key(str(values[name]), UserError)
        try:
            found = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount", 0)
        except ClientError as error:
            raise UserError(f"{name} {values[name]} cannot be read: {error}.", _data_hint(name)) from None
        if not found:
            raise UserError(f"The runs would start with {name}={values[name]}, where nothing is.", _data_hint(name))


def _data_hint(name: str) -> str:
    data, weights = hints.UPLOAD_DATA(data="dogImages.zip"), hints.UPLOAD_WEIGHTS(weights="imagenet")
    return f"Upload first, and give what it prints as {name}=s3://…: {data if name == URIS[0] else weights}"


def _role(cloud: Cloud) -> str:
    """The scheduler role's ARN. Raises UserError when it does not exist."""
    arn = cloud.settings.role("scheduler")
    try:
        cloud.client("iam").get_role(RoleName=arn.rpartition("/")[2])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        raise UserError(f"There is no role {arn} for the schedule.", f"Make it: {hints.DEPLOY_INFRA}") from None
    return arn


def _queue(cloud: Cloud) -> str:
    """The ARN of the queue that keeps failed starts. Raises UserError when it does not exist."""
    settings = cloud.settings
    name = f"{settings.project}-dead-letters"
    sqs = cloud.client("sqs")
    try:
        sqs.get_queue_url(QueueName=name)
    except sqs.exceptions.QueueDoesNotExist:
        raise UserError(f"There is no queue {name} for starts that fail.", f"Make it: {hints.DEPLOY_INFRA}") from None
    return f"arn:aws:sqs:{settings.region}:{settings.account}:{name}"
