"""The retrain function: a burst of new objects is one schedule, which each of them puts off."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from lambda_support import load_handler
from moto import mock_aws
from retraining import Retraining, data_set, postpone

ENVIRONMENT = {
    "PIPELINE_ARN": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/pawline",
    "SCHEDULE_NAME": "pawline-retrain",
    "SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/pawline-scheduler",
    "DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:pawline-dead-letters",
    "RAW_PREFIX": "pawline/raw/",
    "DEBOUNCE_MINUTES": "15",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}
NOON = datetime(2099, 1, 1, 12, tzinfo=UTC)


def created(key: str) -> dict:
    return {"source": "aws.s3", "detail": {"bucket": {"name": "photos"}, "object": {"key": key, "size": 1}}}


@pytest.fixture
def settings() -> Retraining:
    return Retraining.from_environment(ENVIRONMENT)


@pytest.fixture
def scheduler(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("scheduler")


def only_schedule(scheduler) -> dict:
    (entry,) = scheduler.list_schedules()["Schedules"]
    return scheduler.get_schedule(Name=entry["Name"])


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("pawline/raw/0a1b/dogImages.zip", "s3://photos/pawline/raw/0a1b/"),
        ("pawline/raw/0a1b/train/001.Affenpinscher/ü 1.jpg", "s3://photos/pawline/raw/0a1b/"),
        ("pawline/raw/dogImages.zip", None),
        ("pawline/raw/0a1b/", None),
        ("pawline/raw/0a1b/train/", None),
        ("pawline/raw//dog.jpg", None),
        ("pawline/runs/0a1b/dog.jpg", None),
    ],
)
def test_a_data_set_is_the_folder_directly_under_the_raw_prefix(key: str, expected: str | None):
    assert data_set(created(key), "pawline/raw/") == expected


def test_a_second_object_puts_off_the_start_that_the_first_one_asked_for(scheduler, settings):
    postpone(scheduler, settings, "s3://photos/pawline/raw/a/", NOON)
    first = only_schedule(scheduler)
    assert first["ScheduleExpression"] == "at(2099-01-01T12:15:01)"
    postpone(scheduler, settings, "s3://photos/pawline/raw/b/", NOON + timedelta(minutes=10))
    second = only_schedule(scheduler)
    assert second["ScheduleExpression"] == "at(2099-01-01T12:25:01)"
    assert second["ActionAfterCompletion"] == "DELETE"
    target = second["Target"]
    assert target["Arn"] == ENVIRONMENT["PIPELINE_ARN"]
    assert target["RoleArn"] == ENVIRONMENT["SCHEDULER_ROLE_ARN"]
    assert target["DeadLetterConfig"] == {"Arn": ENVIRONMENT["DEAD_LETTER_QUEUE_ARN"]}
    given = target["SageMakerPipelineParameters"]["PipelineParameterList"]
    assert given == [{"Name": "InputDataUri", "Value": "s3://photos/pawline/raw/b/"}]


def test_two_events_at_the_same_moment_make_one_schedule_and_none_fails(scheduler, settings):
    class Overtaken:
        """The other event's schedule appears between the two calls."""

        exceptions = scheduler.exceptions
        update_schedule = staticmethod(scheduler.update_schedule)

        def create_schedule(self, **wanted):
            scheduler.create_schedule(**wanted)
            scheduler.create_schedule(**wanted)

    postpone(Overtaken(), settings, "s3://photos/pawline/raw/a/", NOON)
    assert only_schedule(scheduler)["ScheduleExpression"] == "at(2099-01-01T12:15:01)"


def test_no_pause_at_all_is_still_a_time_to_come(settings, scheduler):
    at_once = Retraining.from_environment(ENVIRONMENT | {"DEBOUNCE_MINUTES": "0"})
    assert postpone(scheduler, at_once, "s3://photos/pawline/raw/a/", NOON) > NOON


def test_the_handler_answers_what_starts_when_and_why_nothing_does(scheduler, context, capsys):
    handler = load_handler("retrain")
    answer = handler.lambda_handler(created("pawline/raw/a/1.jpg"), context)
    assert answer["input_data_uri"] == "s3://photos/pawline/raw/a/"
    assert only_schedule(scheduler)["ScheduleExpression"] == f"at({answer['start'].removesuffix('+00:00')})"
    assert "ignored" in handler.lambda_handler(created("pawline/raw/1.jpg"), context)
    assert [json.loads(line)["level"] for line in capsys.readouterr().out.splitlines()] == ["INFO", "WARNING"]
