"""Asynchronous invocations: retries, dead letters and destinations, on a server whose minutes are short."""

import functools
import json
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.sagelocal.board import TELL, Board
from tests.sagelocal.lambda_functions import ROLE, packed
from tests.waiting import until

SPEED = 200  # AWS's three minutes of retries pass in 0.9 s
CODE = (
    TELL
    + """
def handler(event, context):
    if tell(event["board"], str(time.time())) <= event.get("failures", 0):
        raise ValueError("no such dog")
    return {"breed": "beagle"}
"""
)


@pytest.fixture(scope="module", autouse=True)
def fast(server):
    server.ask("POST", f"/_sagelocal/clock?speed={SPEED}")


@pytest.fixture
def queue(client):
    """A new queue: (ARN, a function that waits for its next message)."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:10]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def receive() -> dict:
        asked = {"QueueUrl": url, "MessageAttributeNames": ["All"]}
        return until(lambda: sqs.receive_message(**asked).get("Messages"))[0]

    return arn, receive


@pytest.fixture
def make(create_function):
    """make() -> the name of a new function."""
    return functools.partial(create_function, packed({"app.py": CODE}))


def send(functions, name: str, event: dict, **more) -> None:
    payload = json.dumps(event).encode()
    assert functions.invoke(FunctionName=name, InvocationType="Event", Payload=payload, **more)["StatusCode"] == 202


def runs(board: Board) -> list[float]:
    """When the function ran."""
    return [float(text) for text in board.notices]


def on_result(functions, name: str, arn: str, **more) -> None:
    both = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig=both, **more)


def test_a_failed_event_is_retried_after_one_minute_and_after_two(functions, make, queue, board):
    arn, receive = queue
    name = make()
    on_result(functions, name, arn)
    send(functions, name, {"board": board.port, "failures": 2})
    about = json.loads(receive()["Body"])["requestContext"]
    first, second, third = runs(board)
    assert second - first >= 60 / SPEED and third - second >= 120 / SPEED
    assert (about["condition"], about["approximateInvokeCount"]) == ("Success", 3)


def test_what_fails_to_the_end_is_a_dead_letter_with_the_reason(functions, make, queue, board):
    arn, receive = queue
    event = {"board": board.port, "failures": 9}
    send(functions, make(DeadLetterConfig={"TargetArn": arn}), event)
    letter = receive()
    assert len(runs(board)) == 3 and json.loads(letter["Body"]) == event
    attributes = letter["MessageAttributes"]
    assert attributes["ErrorMessage"]["StringValue"] == "no such dog"
    assert (attributes["ErrorCode"]["StringValue"], attributes["ErrorCode"]["DataType"]) == ("200", "Number")
    assert uuid.UUID(attributes["RequestID"]["StringValue"])


def test_a_success_is_recorded_at_its_destination(functions, make, queue, board):
    arn, receive = queue
    name = make()
    on_result(functions, name, arn)
    event = {"board": board.port}
    send(functions, name, event)
    record = json.loads(receive()["Body"])
    assert record["version"] == "1.0" and record["requestPayload"] == event
    about = record["requestContext"]
    assert about["functionArn"].endswith(f":function:{name}:$LATEST")
    assert (about["condition"], about["approximateInvokeCount"]) == ("Success", 1)
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == {"breed": "beagle"}


def test_a_failure_is_recorded_after_as_many_retries_as_are_set(functions, make, queue, board):
    arn, receive = queue
    name = make()
    on_result(functions, name, arn, MaximumRetryAttempts=0)
    send(functions, name, {"board": board.port, "failures": 9})
    record = json.loads(receive()["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no such dog"


def test_an_event_that_gets_too_old_is_given_up(functions, make, queue, board):
    arn, receive = queue
    name = make()
    on_result(functions, name, arn, MaximumEventAgeInSeconds=60)
    send(functions, name, {"board": board.port, "failures": 9})
    record = json.loads(receive()["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded" and len(runs(board)) == 1


def test_a_throttled_event_waits_until_there_is_room(functions, make, queue, board):
    arn, receive = queue
    name = make(Timeout=10)
    on_result(functions, name, arn)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    for _ in range(3):
        send(functions, name, {"board": board.port})
    conditions = [json.loads(receive()["Body"])["requestContext"]["condition"] for _ in range(3)]
    assert conditions == ["Success"] * 3


def test_with_nothing_reserved_an_event_is_given_up_at_once(functions, make, queue, board):
    arn, receive = queue
    name = make(DeadLetterConfig={"TargetArn": arn})
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(functions, name, {"board": board.port})
    assert receive()["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"
    assert runs(board) == []


def test_a_result_goes_to_a_function_a_topic_or_the_event_bus_too(functions, client, make, queue, board):
    arn, receive = queue
    base = "arn:aws:{}:us-east-1:123456789012:{}"
    topic = client("sns").create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    client("events").put_rule(Name="results", EventPattern=json.dumps({"source": ["lambda"]}))
    client("events").put_targets(Rule="results", Targets=[{"Id": "1", "Arn": arn}])
    next_function = make()
    on_result(functions, next_function, arn, MaximumRetryAttempts=0)
    name = make()
    for destination, looks_right in (
        (topic, lambda body: json.loads(body["Message"])["requestContext"]["condition"] == "Success"),
        (
            base.format("events", "event-bus/default"),
            lambda body: body["detail-type"] == "Lambda Function Invocation Result - Success",
        ),
        (base.format("lambda", f"function:{next_function}"), lambda body: body["requestPayload"]["version"] == "1.0"),
    ):
        on_result(functions, name, destination)
        send(functions, name, {"board": board.port})
        assert looks_right(json.loads(receive()["Body"]))


def test_what_a_rule_sends_to_a_function_is_retried_like_every_event(functions, client, make, queue, board):
    arn, receive = queue
    name = make()
    on_result(functions, name, arn)
    events = client("events")
    events.put_rule(Name="dogs", EventPattern=json.dumps({"source": ["dogs"]}))
    target = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    events.put_targets(Rule="dogs", Targets=[{"Id": "1", "Arn": target, "InputPath": "$.detail"}])
    detail = {"board": board.port, "failures": 1}
    events.put_events(Entries=[{"Source": "dogs", "DetailType": "d", "Detail": json.dumps(detail)}])
    about = json.loads(receive()["Body"])["requestContext"]
    assert (about["condition"], about["approximateInvokeCount"]) == ("Success", 2)


def test_an_aliass_own_rules_are_for_its_events(functions, make, queue, board):
    arn, receive = queue
    name = make(Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.put_function_event_invoke_config(
        FunctionName=name,
        Qualifier="live",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    send(functions, name, {"board": board.port, "failures": 9}, Qualifier="live")
    record = json.loads(receive()["Body"])
    assert record["requestContext"]["functionArn"].endswith(f"{name}:live")
    assert record["responseContext"]["executedVersion"] == "1"


def test_the_rules_are_kept_changed_listed_and_deleted(functions, make, queue):
    arn, _ = queue
    asked = {"FunctionName": make()}
    with pytest.raises(ClientError, match="doesn't have an EventInvokeConfig"):
        functions.get_function_event_invoke_config(**asked)
    functions.put_function_event_invoke_config(**asked, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=100)
    changed = functions.update_function_event_invoke_config(
        **asked, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (1, 100)
    assert changed["DestinationConfig"]["OnFailure"] == {"Destination": arn}
    replaced = functions.put_function_event_invoke_config(**asked, MaximumRetryAttempts=0)
    assert "MaximumEventAgeInSeconds" not in replaced
    listed = functions.list_function_event_invoke_configs(**asked)["FunctionEventInvokeConfigs"]
    assert [config["FunctionArn"].rpartition(":")[2] for config in listed] == ["$LATEST"]
    functions.delete_function_event_invoke_config(**asked)
    assert functions.list_function_event_invoke_configs(**asked)["FunctionEventInvokeConfigs"] == []


def test_a_role_that_may_not_send_is_refused_when_the_target_is_set(functions, client, make, queue):
    arn, _ = queue
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = client("iam").create_role(
        RoleName=f"role-{uuid.uuid4().hex[:8]}",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    with pytest.raises(ClientError, match="does not have permissions to call SendMessage on SQS"):
        make(Role=role, DeadLetterConfig={"TargetArn": arn})
    with pytest.raises(ClientError, match=f"does not have permissions to call SendMessage on {arn}"):
        on_result(functions, make(Role=role), arn)
    with pytest.raises(ClientError, match="is not a queue, a topic, a function or an event bus"):
        on_result(functions, make(), "arn:aws:dynamodb:us-east-1:123456789012:table/t")


def test_a_queued_event_survives_the_server(tmp_path, board):
    def functions_of(running: lifecycle.Running):
        return boto3.client("lambda", endpoint_url=running.url, region_name="us-east-1")

    state = tmp_path / "state"
    running = lifecycle.ensure(state)
    functions = functions_of(running)
    functions.create_function(
        **{"FunctionName": "f", "Role": ROLE, "Runtime": "python3.12", "Handler": "app.handler"},
        **{"Code": {"ZipFile": packed({"app.py": CODE})}},
    )
    running.ask("POST", "/_sagelocal/clock?speed=30")
    send(functions, "f", {"board": board.port, "failures": 1})
    until(lambda: runs(board))
    lifecycle.stop(state)
    assert len(runs(board)) == 1
    lifecycle.ensure(state)
    try:
        until(lambda: len(runs(board)) == 2)
    finally:
        lifecycle.stop(state)
