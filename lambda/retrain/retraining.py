"""The start of the pipeline that each new object puts off: one schedule, which fires when no object has moved it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

SHORTEST = timedelta(seconds=2)  # a time that has passed when the call arrives would never come


@dataclass(frozen=True)
class Retraining:
    """`raw_prefix`: keys below it are data sets, one folder each. `quiet`: how long no object must have arrived.
    `role_arn` and `queue_arn`: what the schedule starts the pipeline with, and where a start that fails is kept."""

    pipeline_arn: str
    schedule_name: str
    role_arn: str
    queue_arn: str
    raw_prefix: str
    quiet: timedelta

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Retraining:
        """Raises KeyError for a variable that is missing."""
        return cls(
            pipeline_arn=environment["PIPELINE_ARN"],
            schedule_name=environment["SCHEDULE_NAME"],
            role_arn=environment["SCHEDULER_ROLE_ARN"],
            queue_arn=environment["DEAD_LETTER_QUEUE_ARN"],
            raw_prefix=environment["RAW_PREFIX"],
            quiet=timedelta(minutes=float(environment["DEBOUNCE_MINUTES"])),
        )


def data_set(event: Mapping[str, Any], raw_prefix: str) -> str | None:
    """The InputDataUri of the data set that an "Object Created" event is about, s3://<bucket>/<raw prefix><folder>/.

    None for an object outside any folder, and for the empty object by which the S3 console makes a folder.
    """
    bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    folder, _, name = key.removeprefix(raw_prefix).partition("/")
    if not key.startswith(raw_prefix) or not folder or not name or key.endswith("/"):
        return None
    return f"s3://{bucket}/{raw_prefix}{folder}/"


def postpone(scheduler: Any, settings: Retraining, input_data_uri: str, now: datetime) -> datetime:
    """Let the pipeline start when it has been quiet from now on; when that is (UTC, whole seconds).

    Of several data sets that arrive together the last is the one that is trained on.
    """
    moment = (now.astimezone(UTC) + max(settings.quiet, SHORTEST)).replace(microsecond=0) + timedelta(seconds=1)
    wanted = {
        "Name": settings.schedule_name,
        "Description": "Starts the pipeline on data that has arrived; each new object puts it off",
        "ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": settings.pipeline_arn,
            "RoleArn": settings.role_arn,
            "DeadLetterConfig": {"Arn": settings.queue_arn},
            "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600},
            "SageMakerPipelineParameters": {
                "PipelineParameterList": [{"Name": "InputDataUri", "Value": input_data_uri}]
            },
        },
    }
    # A conflict: the event of another object makes or moves it at this very moment, and to the same time.
    with suppress(scheduler.exceptions.ConflictException):
        try:
            scheduler.update_schedule(**wanted)
        except scheduler.exceptions.ResourceNotFoundException:
            scheduler.create_schedule(**wanted)
    return moment
