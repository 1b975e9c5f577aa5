"""Log streams are plain files, and CloudWatch Logs reads and writes them."""

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.logs import streams

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def filled(context: Context) -> Context:
    for number in range(5):
        streams.append(context, GROUP, "job/algo-1-0", f"line {number}", timestamp=1000 + number)
    return context


def events(answer: dict) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_a_stream_is_a_file_with_a_time_and_a_message_per_line(filled):
    path = filled.state_dir / "logs" / "aws" / "sagemaker" / "TrainingJobs" / "job" / "algo-1-0.log"
    assert path.read_text().splitlines()[0] == "1000\tline 0"
    assert streams.tail(filled, GROUP, "job/algo-1-0", 2) == ["line 3", "line 4"]


def test_a_message_of_several_lines_stays_one_event(context):
    streams.append(context, GROUP, "s", "a\nb\tc")
    assert streams.tail(context, GROUP, "s", 9) == ["a\rb\tc"]


def test_groups_and_streams_are_told_apart_even_when_their_names_nest(filled):
    streams.append(filled, "/aws/sagemaker", "x", "1")
    assert streams.groups(filled) == ["/aws/sagemaker", GROUP]
    assert streams.streams(filled, "/aws/sagemaker") == ["x"]
    described = filled.call("logs", "DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix="job/")["logStreams"]
    assert [stream["logStreamName"] for stream in described] == ["job/algo-1-0"]
    groups = filled.call("logs", "DescribeLogGroups", logGroupNamePrefix="/aws/sagemaker/T")["logGroups"]
    assert [group["logGroupName"] for group in groups] == [GROUP]


def test_a_reader_that_follows_the_forward_token_sees_each_event_once(filled):
    stream = {"logGroupName": GROUP, "logStreamName": "job/algo-1-0"}
    first = filled.call("logs", "GetLogEvents", **stream, startFromHead=True, limit=3)
    second = filled.call("logs", "GetLogEvents", **stream, nextToken=first["nextForwardToken"], startFromHead=True)
    third = filled.call("logs", "GetLogEvents", **stream, nextToken=second["nextForwardToken"], startFromHead=True)
    assert events(first) + events(second) == [f"line {n}" for n in range(5)]
    assert events(third) == [] and third["nextForwardToken"] == second["nextForwardToken"]
    streams.append(filled, GROUP, "job/algo-1-0", "late")
    fourth = filled.call("logs", "GetLogEvents", **stream, nextToken=third["nextForwardToken"], startFromHead=True)
    assert events(fourth) == ["late"]


def test_without_a_token_the_latest_events_come_and_the_backward_token_goes_back(filled):
    stream = {"logGroupName": GROUP, "logStreamName": "job/algo-1-0"}
    last = filled.call("logs", "GetLogEvents", **stream, limit=2)
    assert events(last) == ["line 3", "line 4"]
    assert events(filled.call("logs", "GetLogEvents", **stream, limit=2, nextToken=last["nextBackwardToken"])) == [
        "line 1",
        "line 2",
    ]


def test_filtering_finds_words_phrases_and_times(filled):
    streams.append(filled, GROUP, "other", "ERROR disk full", timestamp=2000)
    found = filled.call("logs", "FilterLogEvents", logGroupName=GROUP, filterPattern='"disk full" ERROR -line')
    assert [(event["logStreamName"], event["message"]) for event in found["events"]] == [("other", "ERROR disk full")]
    found = filled.call("logs", "FilterLogEvents", logGroupName=GROUP, startTime=1003, endTime=1005)
    assert events(found) == ["line 3", "line 4"]


def test_a_client_writes_and_reads_events_over_http(client):
    cloudwatch = client("logs")
    cloudwatch.create_log_group(logGroupName="/my/app")
    cloudwatch.create_log_stream(logGroupName="/my/app", logStreamName="run")
    written = [
        {"timestamp": 1_700_000_000_000, "message": "one"},
        {"timestamp": 1_700_000_000_001, "message": "zwei ä"},
    ]
    cloudwatch.put_log_events(logGroupName="/my/app", logStreamName="run", logEvents=written)
    read = cloudwatch.get_log_events(logGroupName="/my/app", logStreamName="run", startFromHead=True)
    assert [(event["timestamp"], event["message"]) for event in read["events"]] == [
        (item["timestamp"], item["message"]) for item in written
    ]
    with pytest.raises(cloudwatch.exceptions.ResourceAlreadyExistsException):
        cloudwatch.create_log_group(logGroupName="/my/app")


@pytest.mark.parametrize("group, stream", [("/none", "s"), (GROUP, "none")])
def test_what_does_not_exist_is_not_found(filled, group, stream):
    with pytest.raises(AwsError) as refused:
        filled.call("logs", "GetLogEvents", logGroupName=group, logStreamName=stream)
    assert refused.value.code == "ResourceNotFoundException"


def test_no_name_leads_out_of_the_log_directory(context):
    for group, stream in [("../../etc", "x"), ("/a", "../../../x")]:
        with pytest.raises(AwsError) as refused:
            streams.append(context, group, stream, "x")
        assert refused.value.code == "InvalidParameterException"
