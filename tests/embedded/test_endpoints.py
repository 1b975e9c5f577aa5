"""Endpoints: real processes behind InvokeEndpoint, exchanged under load."""

import hashlib
import io
import json
import os
import signal
import tarfile
import threading
import time
import uuid
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from embedded import lifecycle

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"

SERVE = """
import hashlib, http.server, json, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"die":
            os._exit(3)
        if body == b"bad":
            return self.answer(415, b"no such picture")
        if body == b"slow":
            time.sleep(0.5)
        said = {"version": open("/opt/ml/model/version").read(), "pid": os.getpid(), "seen": dict(self.headers),
                "sha256": hashlib.sha256(body).hexdigest(), "environment": dict(os.environ)}
        self.answer(200, json.dumps(said).encode(), Content_Type="application/x-said",
                    X_Amzn_SageMaker_Custom_Attributes="from-the-model")

    def log_message(self, *arguments):
        pass

print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def archive(version: str, script: str = SERVE) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (("version", version), ("code/serve.py", script)):
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
    return packed.getvalue()


class Account:
    """Short words for what the tests do."""

    def __init__(self, url: str):
        def made(service: str):
            return boto3.client(
                service, endpoint_url=url, region_name="us-east-1", config=Config(retries={"total_max_attempts": 1})
            )

        self.sagemaker, self.runtime, self.s3 = made("sagemaker"), made("sagemaker-runtime"), made("s3")
        self.s3.create_bucket(Bucket="models")

    def config(self, version: str, count: int = 1, script: str = SERVE, **variant) -> str:
        name = f"c-{uuid.uuid4().hex[:12]}"
        self.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive(version, script))
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn="arn:aws:iam::123456789012:role/model",
            PrimaryContainer={
                **{"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}/model.tar.gz"},
                "Environment": {"COLOUR": "blue"},
            },
        )
        hosts = {"InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": name, **(variant or hosts)}],
        )
        return name

    def endpoint(self, config: str) -> str:
        name = f"e-{uuid.uuid4().hex[:12]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def settled(self, endpoint: str, seconds: float = 30) -> dict:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            if not found["EndpointStatus"].endswith("ing"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"{endpoint} is still {found['EndpointStatus']}")

    def said(self, endpoint: str, body: bytes = b"x", **more) -> dict:
        return json.loads(self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)["Body"].read())


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
    assert environment["AWS_ACCESS_KEY_ID"] == "embedded"
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


class Load:
    """Requests without a pause from several threads; every answer and every failure is kept."""

    def __init__(self, account: Account, endpoint: str, threads: int = 4, body: bytes = b"x"):
        self.versions: list[str] = []
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(account, endpoint, body)) for _ in range(threads)]

    def _ask(self, account: Account, endpoint: str, body: bytes) -> None:
        while not self._stop.is_set():
            try:
                self.versions.append(account.said(endpoint, body)["version"])
            except Exception as problem:
                self.failures.append(problem)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_an_update_swaps_versions_under_load_without_a_failed_request(account: Account, serving: str):
    following = account.config("2")
    with Load(account, serving) as load, Load(account, serving, 2, b"slow") as slow:
        time.sleep(0.3)
        account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following)
        assert account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "Updating"
        found = account.settled(serving)
        time.sleep(0.8)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", following)
    assert load.failures + slow.failures == []
    assert set(load.versions) == {"1", "2"} and load.versions[-1] == "2" and len(slow.versions) >= 4


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

    first = account.said(serving)["pid"]
    with Load(account, serving, 3) as load:
        assert capacity(3) == 3
        with Load(account, serving, 3, b"slow"):
            pids = {account.said(serving)["pid"] for _ in range(30)}
        assert len(pids) >= 2
        assert capacity(1) == 1
    assert load.failures == []
    assert {account.said(serving)["pid"] for _ in range(5)} == {first}


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
    killed = account.said(serving)["pid"]
    os.kill(killed, signal.SIGKILL)
    assert account.said(serving)["pid"] != killed
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
    pid = account.said(name)["pid"]
    account.sagemaker.delete_endpoint(EndpointName=name)
    with pytest.raises(ClientError, match="not found"):
        account.said(name)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_endpoints_serve_again_after_the_server_was_killed(tmp_path: Path):
    running = lifecycle.ensure(tmp_path / "state")
    try:
        account = Account(running.url)
        name = account.endpoint(account.config("1"))
        account.settled(name)
        model = account.sagemaker.list_models()["Models"][0]["ModelName"]
        account.sagemaker.delete_model(ModelName=model)
        pid = account.said(name)["pid"]
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
        running = lifecycle.ensure(tmp_path / "state")
        account = Account(running.url)
        said = account.said(name)
        assert said["version"] == "1" and said["pid"] != pid
        assert account.settled(name)["EndpointStatus"] == "InService"
    finally:
        lifecycle.stop(tmp_path / "state")
