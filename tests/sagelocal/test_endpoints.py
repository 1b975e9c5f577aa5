"""Endpoints: real processes behind InvokeEndpoint, exchanged under load."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.sagelocal.board import listening_on
from tests.sagelocal.endpoint_account import SERVE, Account, Load
from tests.waiting import is_gone, until


@pytest.fixture(scope="module")
def account(server: lifecycle.Running) -> Account:
    return Account(server.url)


@pytest.fixture
def serving(account: Account):
    """An endpoint in service with one instance of version 1."""
    name = account.endpoint(account.config("1"))
    assert account.settled(name)["EndpointStatus"] == "InService"
    yield name
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_bytes_and_headers_reach_the_model_unchanged(account: Account, serving: str):
    body = bytes(range(256)) * 400
    answer = account.runtime.invoke_endpoint(
        **{"EndpointName": serving, "Body": body, "ContentType": "image/jpeg", "Accept": "application/x-said"},
        CustomAttributes="trace=1",
    )
    said = json.loads(answer["Body"].read())
    assert said["sha256"] == hashlib.sha256(body).hexdigest()
    assert (said["seen"]["Content-Type"], said["seen"]["Accept"]) == ("image/jpeg", "application/x-said")
    assert said["seen"]["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("application/x-said", "from-the-model")
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_the_container_sees_its_model_and_its_environment_and_nothing_of_ours(account: Account, serving: str):
    environment = account.said(serving)["environment"]
    assert (environment["COLOUR"], environment["SM_MODEL_DIR"]) == ("blue", "/opt/ml/model")
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert "PYTEST_CURRENT_TEST" not in environment


def test_an_error_of_the_model_is_passed_on_as_one(account: Account, serving: str):
    with pytest.raises(ClientError) as caught:
        account.said(serving, b"bad")
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (415, "no such picture")


def test_an_unknown_endpoint_is_named(account: Account):
    with pytest.raises(ClientError, match="ValidationError.*Endpoint nobody of account 123456789012 not found"):
        account.said("nobody")
    with pytest.raises(ClientError, match='ValidationException.*Could not find endpoint ".*endpoint/nobody"'):
        account.sagemaker.describe_endpoint(EndpointName="nobody")
    with pytest.raises(ClientError, match="already existing endpoint"):
        config = account.config("1")
        name = account.endpoint(config)
        try:
            account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        finally:
            account.sagemaker.delete_endpoint(EndpointName=name)


def test_an_update_swaps_versions_under_load_without_a_failed_request(account: Account, serving: str):
    following = account.config("2")
    with Load(account, serving) as load, Load(account, serving, 2, b"slow") as slow:
        load.more(4)
        account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following)
        assert account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "Updating"
        found = account.settled(serving)
        then = len(load.versions)
        load.more(4)
        slow.more(4)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", following)
    assert load.failures + slow.failures == []
    assert set(load.versions) == {"1", "2"}
    assert load.versions[then:].count("1") <= 4, "what each of the four threads had under way"


def test_a_failed_update_leaves_the_old_version_serving_with_the_reason(account: Account, serving: str):
    broken = account.config("2", script="print('no weights in the archive', flush=True)\nraise SystemExit(7)")
    before = account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointConfigName"]
    account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=broken)
    found = account.settled(serving)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", before)
    assert "did not pass the ping health check" in found["FailureReason"]
    assert "exit code 7" in found["FailureReason"] and "no weights in the archive" in found["FailureReason"]
    assert account.said(serving)["version"] == "1"


def test_an_endpoint_that_cannot_start_is_failed_and_says_why(account: Account):
    name = account.endpoint(account.config("1", script="raise ValueError('a wrong backbone')"))
    found = account.settled(name)
    assert found["EndpointStatus"] == "Failed" and "a wrong backbone" in found["FailureReason"]
    with pytest.raises(ClientError, match="is Failed. Delete it"):
        account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=account.config("2"))
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_a_second_update_waits_its_turn(account: Account, serving: str):
    following = account.config("2")
    account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following)
    assert account.settled(serving)["EndpointStatus"] == "InService"


def test_instances_are_added_and_drained_under_load(account: Account, serving: str):
    def capacity(count: int) -> int:
        account.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=serving,
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count}],
        )
        return account.settled(serving)["ProductionVariants"][0]["CurrentInstanceCount"]

    first = account.said(serving)["port"]
    with Load(account, serving, 3) as load:
        assert capacity(3) == 3
        with Load(account, serving, 3, b"slow"):
            ports = {account.said(serving)["port"] for _ in range(30)}
        assert len(ports) >= 2
        assert capacity(1) == 1
    assert load.failures == []
    assert {account.said(serving)["port"] for _ in range(5)} == {first}


def test_retained_properties_keep_the_instance_count_through_an_update(account: Account, serving: str):
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=serving, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    account.settled(serving)
    for retain, count in ((True, 2), (False, 1)):
        account.sagemaker.update_endpoint(
            EndpointName=serving, EndpointConfigName=account.config("2"), RetainAllVariantProperties=retain
        )
        assert account.settled(serving)["ProductionVariants"][0]["CurrentInstanceCount"] == count


def test_a_killed_instance_comes_back(account: Account, serving: str):
    killed = account.said(serving)["port"]
    os.kill(listening_on(killed), signal.SIGKILL)
    assert account.said(serving)["port"] != killed
    with pytest.raises(ClientError, match="ModelError"):
        account.said(serving, b"die")
    assert account.said(serving)["version"] == "1"
    assert account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "InService"


def test_a_serverless_variant_serves(account: Account):
    name = account.endpoint(account.config("1", ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5}))
    variant = account.settled(name)["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"]["MaxConcurrency"] == 5 and "CurrentInstanceCount" not in variant
    assert account.said(name)["version"] == "1"
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_a_deleted_endpoint_leaves_no_process(account: Account, server: lifecycle.Running):
    name = account.endpoint(account.config("1"))
    account.settled(name)
    pid = listening_on(account.said(name)["port"])
    account.sagemaker.delete_endpoint(EndpointName=name)
    with pytest.raises(ClientError, match="not found"):
        account.said(name)
    until(lambda: is_gone(pid))


@pytest.mark.parametrize("cut", [signal.SIGKILL, signal.SIGTERM])
def test_an_endpoint_that_was_being_created_when_the_server_ended_is_created_by_the_next(tmp_path: Path, cut):
    running = lifecycle.ensure(tmp_path / "state")
    try:
        account = Account(running.url)
        name = account.endpoint(account.config("1", script=f"import time; time.sleep(3)\n{SERVE}"))
        assert account.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
        os.kill(running.pid, cut)
        os.waitpid(running.pid, 0)
        account = Account(lifecycle.ensure(tmp_path / "state").url)
        described = account.settled(name)
        assert described["EndpointStatus"] == "InService" and "FailureReason" not in described
        assert account.said(name)["version"] == "1"
    finally:
        lifecycle.stop(tmp_path / "state")


def test_endpoints_serve_again_after_the_server_was_killed(tmp_path: Path):
    running = lifecycle.ensure(tmp_path / "state")
    try:
        account = Account(running.url)
        name = account.endpoint(account.config("1"))
        account.settled(name)
        model = account.sagemaker.list_models()["Models"][0]["ModelName"]
        account.sagemaker.delete_model(ModelName=model)
        port = account.said(name)["port"]
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
        running = lifecycle.ensure(tmp_path / "state")
        account = Account(running.url)
        said = account.said(name)
        assert said["version"] == "1" and said["port"] != port
        assert account.settled(name)["EndpointStatus"] == "InService"
    finally:
        lifecycle.stop(tmp_path / "state")
