"""Reserved and provisioned concurrency, and aliases with weights."""

import base64
import json
import os
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.sagelocal.board import with_variable
from tests.sagelocal.lambda_functions import MEET, ROLE, call, packed
from tests.waiting import is_gone, until

CODE = (
    MEET
    + """
def handler(event, context):
    if (event or {}).get("until"):
        tell(event["until"], wait_for=1_000_000)
    if (event or {}).get("board"):
        meet(**event)
    if (event or {}).get("leave"):
        os._exit(3)
    return [context.log_stream_name, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], context.function_version, VERSION]
"""
)


def code(version: int) -> bytes:
    return packed({"app.py": f"VERSION = {version}\n{CODE}"})


@pytest.fixture
def make(functions, create_function):
    """make() -> the name of a new function with version 1 and the alias `live` of it."""

    def create(zipped: bytes | None = None) -> str:
        name = create_function(zipped or code(1), Timeout=300, Publish=True)
        functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        return name

    return create


def provision(functions, name: str, number: int, qualifier: str = "live") -> dict:
    asked = {"FunctionName": name, "Qualifier": qualifier}
    return functions.put_provisioned_concurrency_config(**asked, ProvisionedConcurrentExecutions=number)


def ready(functions, name: str, qualifier: str = "live") -> dict:
    asked = {"FunctionName": name, "Qualifier": qualifier}
    return until(
        lambda: functions.get_provisioned_concurrency_config(**asked), lambda config: config["Status"] != "IN_PROGRESS"
    )


def process_of(stream: str) -> int:
    return with_variable("AWS_LAMBDA_LOG_STREAM_NAME", stream)


def report(functions, name: str) -> str:
    answer = functions.invoke(FunctionName=name, LogType="Tail")
    return base64.b64decode(answer["LogResult"]).decode().splitlines()[-1]


def refused(error) -> tuple[str, int]:
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_past_the_reserved_number_calls_are_throttled_and_nothing_runs_at_zero(functions, make, board):
    name = make()
    assert "ReservedConcurrentExecutions" not in functions.get_function_concurrency(FunctionName=name)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 1
    refusals = []
    event = json.dumps({"until": board.port})
    quick = boto3.session.Config(retries={"total_max_attempts": 1})
    once = boto3.client("lambda", endpoint_url=functions.meta.endpoint_url, region_name="us-east-1", config=quick)

    def attempt(_: int) -> int:
        try:
            return once.invoke(FunctionName=name, Payload=event)["StatusCode"]
        except ClientError as problem:
            assert problem.response["Error"]["Code"] == "TooManyRequestsException"
            assert problem.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
            refusals.append(problem)
            if len(refusals) == 2:
                board.release()
            return problem.response["ResponseMetadata"]["HTTPStatusCode"]

    with ThreadPoolExecutor(3) as callers:
        assert Counter(callers.map(attempt, range(3))) == {200: 1, 429: 2}
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert attempt(0) == 429
    functions.delete_function_concurrency(FunctionName=name)
    assert attempt(0) == 200


def test_a_report_line_has_the_time_the_memory_and_at_a_cold_start_the_init_time(functions, make):
    name = make()
    pattern = (
        r"REPORT RequestId: [0-9a-f-]{36}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms"
        r"\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB(\tInit Duration: \d+\.\d\d ms)?"
    )
    cold, warm = (re.fullmatch(pattern, report(functions, name)) for _ in range(2))
    assert cold and warm and cold[4] and not warm[4]
    assert 0 <= int(warm[2]) - float(warm[1]) <= 1 and 5 < int(warm[3]) < 128


def test_provisioned_workers_are_started_before_anybody_asks(functions, make, board):
    name = make()
    put = provision(functions, name, 2)
    assert (put["RequestedProvisionedConcurrentExecutions"], put["Status"]) == (2, "IN_PROGRESS")
    there = ready(functions, name)
    assert (there["Status"], there["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert "Init Duration" not in report(functions, f"{name}:live")
    meeting = {"board": board.port, "number": 2}
    with ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(lambda _: call(functions, f"{name}:live", meeting), range(2)))
    assert len({stream for stream, *_ in answers}) == 2
    assert {kind for _, kind, *_ in answers} == {"provisioned-concurrency"}
    assert call(functions, name)[1] == "on-demand"
    listed = functions.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [item["FunctionArn"].rpartition(":")[2] for item in listed] == ["live"]


def test_a_provisioned_worker_that_is_lost_is_replaced(functions, make):
    name = make()
    provision(functions, name, 1)
    ready(functions, name)
    first = call(functions, f"{name}:live")[0]
    crash = functions.invoke(FunctionName=f"{name}:live", Payload=b'{"leave": true}')
    assert "exit status 3" in json.loads(crash["Payload"].read())["errorMessage"]
    ready(functions, name)
    second, kind, *_ = call(functions, f"{name}:live")
    assert second != first and kind == "provisioned-concurrency"
    os.kill(process_of(second), signal.SIGKILL)

    def another() -> bool:
        there = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        return there["Status"] == "READY" and call(functions, f"{name}:live")[0] != second

    until(another)


def test_provisioned_workers_follow_their_alias_to_another_version(functions, make):
    name = make()
    provision(functions, name, 1)
    ready(functions, name)
    before = call(functions, f"{name}:live")
    old = process_of(before[0])
    functions.update_function_code(FunctionName=name, ZipFile=code(2), Publish=True)
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    ready(functions, name)
    after = call(functions, f"{name}:live")
    assert (before[1:], after[1:]) == (["provisioned-concurrency", "1", 1], ["provisioned-concurrency", "2", 2])
    until(lambda: is_gone(old))
    new = process_of(after[0])
    functions.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    until(lambda: is_gone(new))
    with pytest.raises(ClientError) as error:
        functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert refused(error) == ("ProvisionedConcurrencyConfigNotFoundException", 404)


def test_what_is_provisioned_is_set_aside_from_the_reserved_number(functions, make):
    name = make()
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with pytest.raises(ClientError, match="should not be greater than the reservedConcurrentExecution"):
        provision(functions, name, 2)
    provision(functions, name, 1)
    ready(functions, name)
    assert call(functions, f"{name}:live")[1] == "provisioned-concurrency"
    with pytest.raises(ClientError) as error:
        functions.invoke(FunctionName=name)
    assert refused(error) == ("TooManyRequestsException", 429)
    with pytest.raises(ClientError, match="should not be lower than function's total provisioned concurrency"):
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)


def test_code_that_cannot_start_makes_the_provisioning_fail_and_says_so(functions, make):
    name = make(packed({"app.py": "import no_such_thing"}))
    provision(functions, name, 1)
    there = ready(functions, name)
    assert (there["Status"], there["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")


@pytest.mark.parametrize(
    ("qualifier", "code"),
    [("$LATEST", "InvalidParameterValueException"), ("9", "ResourceNotFoundException")],
)
def test_only_versions_and_aliases_that_exist_can_be_provisioned(functions, make, qualifier: str, code: str):
    with pytest.raises(ClientError) as error:
        provision(functions, make(), 1, qualifier)
    assert refused(error)[0] == code


def test_a_version_and_its_alias_are_not_both_provisioned(functions, make):
    name = make()
    provision(functions, name, 1)
    with pytest.raises(ClientError, match="Version is pointed by a Provisioned Concurrency alias"):
        provision(functions, name, 1, "1")


def test_an_alias_divides_its_calls_by_weight(functions, make):
    name = make()
    functions.update_function_code(FunctionName=name, ZipFile=code(2), Publish=True)
    asked = {"FunctionName": name, "Name": "live"}
    functions.update_alias(**asked, RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    seen = Counter(call(functions, f"{name}:live")[2] for _ in range(40))
    assert set(seen) == {"1", "2"} and min(seen.values()) >= 5
    for weights, message in (
        ({"1": 0.5}, "already included in routing configuration"),
        ({"$LATEST": 0.5}, "not supported for an alias"),
        ({"1": 0.1, "2": 0.1}, "cannot be greater than 1"),
    ):
        with pytest.raises(ClientError, match=message):
            functions.update_alias(**asked, RoutingConfig={"AdditionalVersionWeights": weights})
    functions.update_alias(**asked, RoutingConfig={"AdditionalVersionWeights": {}})
    assert {call(functions, f"{name}:live")[2] for _ in range(8)} == {"1"}


def test_provisioned_workers_are_there_again_after_the_server_starts_again(tmp_path):
    def functions_of(running: lifecycle.Running):
        return boto3.client("lambda", endpoint_url=running.url, region_name="us-east-1")

    functions = functions_of(lifecycle.ensure(tmp_path))
    functions.create_function(
        **{"FunctionName": "f", "Role": ROLE, "Runtime": "python3.12", "Handler": "app.handler"},
        **{"Code": {"ZipFile": code(1)}, "Publish": True},
    )
    provision(functions, "f", 1, "1")
    lifecycle.stop(tmp_path)
    try:
        functions = functions_of(lifecycle.ensure(tmp_path))
        assert ready(functions, "f", "1")["Status"] == "READY"
        assert call(functions, "f:1")[1] == "provisioned-concurrency"
    finally:
        lifecycle.stop(tmp_path)
