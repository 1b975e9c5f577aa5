"""Lambda functions from a zip, run in their own processes."""

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.sagelocal.lambda_functions import MEET, call, packed
from tests.waiting import until

CODE = (
    MEET
    + """
import json, logging, os, sys, time

loaded = time.time()
count = 0

def handler(event, context):
    global count
    count += 1
    return {"event": event, "count": count, "stream": context.log_stream_name,
            "environment": dict(os.environ), "path": sys.path,
            "arn": context.invoked_function_arn, "id": context.aws_request_id, "cwd": os.getcwd(),
            "left": context.get_remaining_time_in_millis(), "version": context.function_version}

def talk(event, context):
    print("printed")
    logging.getLogger().warning("logged %s", 1)
    sys.stdout.write("no newline")
    return "é"

def fail(event, context):
    raise ValueError("a wrong breed")

def sleep(event, context):
    time.sleep(event)
    return 1

def together(event, context):
    meet(**event)
    return context.log_stream_name

def leave(event, context):
    os._exit(4)

def odd(event, context):
    return {1, 2}
"""
)


@pytest.fixture
def make(create_function):
    """make("handler", Timeout=7, …) -> the name of a new function."""

    def create(handler: str = "handler", code: bytes | None = None, **more) -> str:
        return create_function(code or packed({"app.py": CODE}), **({"Handler": f"app.{handler}"} | more))

    return create


def error(functions, name: str, event: object = None) -> dict:
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    return json.loads(answer["Payload"].read())


def test_a_function_gets_its_event_its_context_and_only_its_environment(functions, make, monkeypatch):
    name = make(Environment={"Variables": {"ENDPOINT": "dogs"}}, Timeout=7, MemorySize=256)
    said = call(functions, name, {"url": "é"})
    assert said["event"] == {"url": "é"} and said["arn"].endswith(f":function:{name}") and said["version"] == "$LATEST"
    assert 5000 < said["left"] <= 7000
    environment = said["environment"]
    assert (environment["ENDPOINT"], environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("dogs", "256")
    assert environment["LAMBDA_TASK_ROOT"] == said["cwd"] == said["path"][0]
    assert "PYTEST_CURRENT_TEST" not in environment and environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_a_worker_stays_warm_until_its_code_or_configuration_changes(functions, make):
    name = make()
    first, second = call(functions, name), call(functions, name)
    assert (second["stream"], second["count"]) == (first["stream"], 2)
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {"A": "1"}})
    third = call(functions, name)
    assert third["count"] == 1 and third["environment"]["A"] == "1"
    functions.update_function_code(FunctionName=name, ZipFile=packed({"app.py": "def handler(e, c): return 'new'"}))
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(functions, name) == "new"


def test_what_a_function_prints_and_logs_is_in_its_log_in_order(functions, client, make):
    name = make("talk")
    answer = functions.invoke(FunctionName=name, Payload="{}", LogType="Tail")
    assert json.loads(answer["Payload"].read()) == "é" and answer["ExecutedVersion"] == "$LATEST"
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    starts = [line.split(" ")[0].split("\t")[0] for line in lines]
    assert starts == ["START", "printed", "[WARNING]", "no", "END", "REPORT"]
    assert lines[2].endswith("\tlogged 1") and "Init Duration" in lines[5]
    streams = client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    events = client("logs").get_log_events(
        logGroupName=f"/aws/lambda/{name}", logStreamName=streams[0]["logStreamName"], startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == lines


def test_an_exception_is_an_unhandled_function_error_with_its_trace(functions, make):
    said = error(functions, make("fail"))
    assert (said["errorType"], said["errorMessage"]) == ("ValueError", "a wrong breed")
    assert len(said["stackTrace"]) == 1 and 'raise ValueError("a wrong breed")' in said["stackTrace"][0]


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'"),
        ("leave", "Runtime.ExitError", "exit status 4"),
        ("odd", "Runtime.MarshalError", "not JSON serializable"),
    ],
)
def test_what_goes_wrong_outside_the_handler_is_named(functions, make, handler: str, kind: str, message: str):
    said = error(functions, make(handler))
    assert said["errorType"] == kind and message in said["errorMessage"]


def test_a_module_that_cannot_be_imported_is_named(functions, make):
    said = error(functions, make(code=packed({"app.py": "import no_such_thing"})))
    assert said["errorType"] == "Runtime.ImportModuleError" and "no_such_thing" in said["errorMessage"]


def test_a_function_that_takes_too_long_is_stopped_and_the_next_call_works(functions, make):
    name = make("sleep", Timeout=1)
    assert error(functions, name, 3600)["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert call(functions, name, 0) > 0


def test_concurrent_calls_run_in_different_workers_up_to_the_reserved_number(functions, make, board):
    name, meeting = make("together", Timeout=300), {"board": board.port, "number": 3}
    with ThreadPoolExecutor(3) as callers:
        assert len(set(callers.map(lambda _: call(functions, name, meeting), range(3)))) == 3
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        call(functions, name, meeting)


def test_versions_and_aliases_keep_running_what_was_published(functions, make):
    name = make(code=packed({"app.py": "def handler(e, c): return [1, c.invoked_function_arn]"}))
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.update_function_code(FunctionName=name, ZipFile=packed({"app.py": "def handler(e, c): return [2]"}))
    assert call(functions, name) == [2]
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    for alias in (f"{name}:live", f"{arn}:live", f"123456789012:function:{name}:live"):
        assert call(functions, alias) == [1, f"{arn}:live"]
    assert call(functions, name, Qualifier="1") == [1, f"{arn}:1"]
    published = functions.update_function_code(
        FunctionName=name, ZipFile=packed({"app.py": "def handler(e, c): return [3]"}), Publish=True
    )
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=published["Version"])
    answer = functions.invoke(FunctionName=name, Qualifier="live")
    assert (json.loads(answer["Payload"].read()), answer["ExecutedVersion"]) == ([3], "2")
    with pytest.raises(ClientError, match=f"ResourceNotFoundException.*Function not found: {arn}:9"):
        call(functions, f"{name}:9")


def test_events_are_accepted_at_once_and_dry_runs_run_nothing(functions, client, make):
    name = make("talk")
    assert functions.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert functions.invoke(FunctionName=name, InvocationType="Event", Payload="{}")["StatusCode"] == 202

    def log() -> list[str]:
        there = logged(client, name)
        found = client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"] if there else []
        return [event["message"] for event in found]

    assert "printed" in until(log, lambda said: any(line.startswith("REPORT") for line in said))


def logged(client, name: str) -> bool:
    prefix = f"/aws/lambda/{name}"
    return bool(client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"])


def test_code_from_s3_runs(functions, client, make):
    bucket = f"code-{uuid.uuid4().hex[:8]}"
    client("s3").create_bucket(Bucket=bucket)
    client("s3").put_object(Bucket=bucket, Key="f.zip", Body=packed({"app.py": "def handler(e, c): return e['n'] + 1"}))
    assert call(functions, make(Code={"S3Bucket": bucket, "S3Key": "f.zip"}), {"n": 1}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file"),
        ({"Code": {"ZipFile": packed({"../../escaped.py": ""})}}, "leads out of it"),
        ({"Code": {"S3Bucket": "nowhere", "S3Key": "k"}}, "S3 Error Code: NoSuchBucket"),
        ({"Runtime": "nodejs22.x"}, "runs Python 3 functions, not nodejs22.x"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys.*AWS_REGION"),
        ({"Handler": "nodot"}, "not of the form module.function"),
        ({"PackageType": "Image"}, "not from a container image"),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_created(functions, make, change: dict, message: str):
    with pytest.raises(ClientError, match=message):
        make(**change)


def test_a_payload_that_is_no_json_and_a_taken_name_are_refused(functions, make):
    name = make()
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        functions.invoke(FunctionName=name, Payload=b"{no")
    with pytest.raises(ClientError, match=f"ResourceConflictException.*Function already exist: {name}"):
        functions.create_function(
            **{"FunctionName": name, "Role": "arn:aws:iam::123456789012:role/r", "Runtime": "python3.12"},
            **{"Handler": "app.handler", "Code": {"ZipFile": packed({"app.py": ""})}},
        )


def test_permissions_are_kept_with_the_function(functions, make):
    name = make()
    functions.add_permission(
        **{"FunctionName": name, "StatementId": "events", "Action": "lambda:InvokeFunction"},
        **{"Principal": "events.amazonaws.com", "SourceArn": "arn:aws:events:us-east-1:123456789012:rule/r"},
    )
    statement = json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"][0]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    functions.remove_permission(FunctionName=name, StatementId="events")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        functions.get_policy(FunctionName=name)
