"""Data capture: what an endpoint was asked and what it answered, in S3, as AWS writes it."""

import base64
import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from sagelocal.services.sagemaker.hosting import capture
from sagelocal.services.sagemaker.hosting.instance import Answer, Served
from tests.sagelocal.endpoint_account import Account
from tests.waiting import until

KEY = re.compile(r"captured/[\w-]+/AllTraffic/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl")


@pytest.fixture(scope="module")
def account(server: lifecycle.Running) -> Account:
    return Account(server.url)


def wanted(*modes: str, percent: int = 100, bucket: str = "models", **more) -> dict:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percent,
        "DestinationS3Uri": f"s3://{bucket}/captured",
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
        **more,
    }


@pytest.fixture
def captured(account: Account) -> Iterator:
    """captured(config of the capture, …) -> the name of an endpoint in service."""
    names = []

    def start(config: dict, **more) -> str:
        names.append(account.endpoint(account.config("1", capture=config, **more)))
        assert account.settled(names[-1])["EndpointStatus"] == "InService"
        return names[-1]

    yield start
    for name in names:
        account.sagemaker.delete_endpoint(EndpointName=name)


def keys(account: Account, endpoint: str) -> list[str]:
    found = account.s3.list_objects_v2(Bucket="models", Prefix=f"captured/{endpoint}/")
    return [item["Key"] for item in found.get("Contents", [])]


def records(account: Account, endpoint: str, count: int) -> list[dict]:
    """The first `count` captured requests, waited for."""

    def lines() -> list[dict]:
        bodies = [account.s3.get_object(Bucket="models", Key=key)["Body"] for key in keys(account, endpoint)]
        return [json.loads(line) for body in bodies for line in body.read().splitlines()]

    return until(lines, lambda found: len(found) >= count)


def test_requests_and_answers_are_captured_as_aws_writes_them(account: Account, captured):
    name = captured(wanted("Input", "Output", CaptureContentTypeHeader={"JsonContentTypes": ["application/x-said"]}))
    picture, began = bytes(range(256)), int(time.time())
    said = account.runtime.invoke_endpoint(
        **{"EndpointName": name, "Body": picture, "ContentType": "image/jpeg"},
        **{"InferenceId": "photo-7", "CustomAttributes": "trace=1"},
    )
    answer = said["Body"].read().decode()
    account.said(name, b"again")
    first, second = records(account, name, 2)
    assert first == {
        "captureData": {
            "endpointInput": {
                **{"observedContentType": "image/jpeg", "mode": "INPUT"},
                **{"data": base64.b64encode(picture).decode(), "encoding": "BASE64"},
            },
            "endpointOutput": {
                **{"observedContentType": "application/x-said", "mode": "OUTPUT"},
                **{"data": answer, "encoding": "JSON"},
            },
        },
        "eventMetadata": first["eventMetadata"],
        "eventVersion": "0",
    }
    event = first["eventMetadata"]
    assert uuid.UUID(event["eventId"]) and event["eventId"] != second["eventMetadata"]["eventId"]
    assert began <= datetime.fromisoformat(event["inferenceTime"]).timestamp() <= time.time()
    assert (event["inferenceId"], event["customAttributes"]) == ("photo-7", ["trace=1"])
    assert all(KEY.fullmatch(key) for key in keys(account, name))


@pytest.mark.parametrize(
    ("mode", "parts"),
    [
        ("Input", {"endpointInput"}),
        ("Output", {"endpointOutput"}),
        ("InputAndOutput", {"endpointInput", "endpointOutput"}),
    ],
)
def test_only_what_is_wanted_is_in_a_record(mode: str, parts: set[str]):
    line = capture.record(taken(wanted(mode), b"a,b\n1,2", "text/csv; charset=utf-8"))
    assert set(line["captureData"]) == parts


def taken(config: dict, body: bytes = b"x", content_type: str = "image/png") -> capture.Captured:
    served = Served(
        **{"endpoint": "e", "variant": "v", "image": "i", "model_data": None, "packed": True, "environment": {}},
        **{"capture": config},
    )
    answer = Answer(200, {"Content-Type": "application/json"}, b"{}")
    return capture.Captured(served, 1_700_000_000.5, {"Body": body, "ContentType": content_type}, answer)


def test_content_types_that_are_named_are_kept_as_text():
    config = wanted("Input", CaptureContentTypeHeader={"CsvContentTypes": ["text/csv"]})
    line = capture.record(taken(config, b"a,b\n1,2", "text/csv; charset=utf-8"))
    data = line["captureData"]["endpointInput"]
    assert (data["data"], data["encoding"]) == ("a,b\n1,2", "CSV")
    assert data["observedContentType"] == "text/csv; charset=utf-8"
    assert line["eventMetadata"]["inferenceTime"] == "2023-11-14T22:13:20Z"


def test_the_endpoint_says_what_it_captures_and_an_update_changes_it(account: Account, captured):
    name = captured(wanted("Input", percent=50))
    found = account.sagemaker.describe_endpoint(EndpointName=name)["DataCaptureConfig"]
    assert found == {
        **{"EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 50},
        **{"DestinationS3Uri": "s3://models/captured", "KmsKeyId": ""},
    }
    off = wanted("Input", EnableCapture=False)
    account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=account.config("2", capture=off))
    assert account.settled(name)["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
    account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=account.config("3"))
    assert "DataCaptureConfig" not in account.settled(name)


def test_sampling_takes_a_part_of_the_requests(context):
    recorder = capture.Recorder(context)
    context.stopping.set()  # nobody writes them away
    served = taken(wanted("Input", percent=25)).served
    for _ in range(800):
        recorder.take(served, {"Body": b"x"}, Answer(200, {}, b"y"))
    assert 140 <= len(recorder._waiting) <= 260
    recorder.take(taken(wanted("Input", percent=0)).served, {"Body": b"never"}, Answer(200, {}, b"y"))
    assert recorder._waiting[-1].request["Body"] == b"x"


def test_what_cannot_be_kept_up_with_is_dropped_and_never_holds_a_request_up(context, monkeypatch):
    monkeypatch.setattr(capture, "MAX_WAITING_BYTES", 10)
    recorder = capture.Recorder(context)
    context.stopping.set()
    for _ in range(100):
        recorder.take(taken(wanted("Input")).served, {"Body": b"12345"}, Answer(200, {}, b""))
    assert len(recorder._waiting) == 2


def test_answers_with_an_error_are_not_captured(account: Account, captured):
    name = captured(wanted("InputAndOutput"))
    with pytest.raises(ClientError, match="ModelError"):
        account.said(name, b"bad")
    account.said(name, b"good")
    (line,) = records(account, name, 1)
    assert base64.b64decode(line["captureData"]["endpointInput"]["data"]) == b"good"


def test_what_was_captured_is_written_before_the_server_ends(tmp_path: Path):
    running = lifecycle.ensure(tmp_path / "state")
    try:
        account = Account(running.url)
        name = account.endpoint(account.config("1", capture=wanted("Input")))
        account.settled(name)
        account.said(name)
        lifecycle.stop(tmp_path / "state")
        account = Account(lifecycle.ensure(tmp_path / "state").url)
        assert len(keys(account, name)) == 1
    finally:
        lifecycle.stop(tmp_path / "state")


def test_the_models_role_must_be_allowed_to_write(account: Account, captured, client):
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = client("iam").create_role(RoleName="reader", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    read = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "ecr:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [read]})
    client("iam").put_role_policy(RoleName="reader", PolicyName="own", PolicyDocument=document)
    name = captured(wanted("Input"), role=role)
    account.said(name)
    group = f"/aws/sagemaker/Endpoints/{name}"

    def log() -> list[str]:
        try:
            found = client("logs").filter_log_events(logGroupName=group, logStreamNamePrefix="AllTraffic/data-log")
        except client("logs").exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in found["events"]]

    said = until(log)
    assert "1 captured request(s) were dropped" in said[0] and "s3:PutObject" in said[0]
    assert keys(account, name) == []


def test_a_destination_that_is_not_in_s3_is_refused(account: Account):
    with pytest.raises(ClientError, match="Not an S3 URI"):
        account.config("1", capture=wanted("Input") | {"DestinationS3Uri": "https://example.com/x"})


def test_the_hour_of_a_file_is_utc():
    uri = capture.object_uri(
        "s3://b/p/", taken(wanted("Input")).served, datetime(2026, 5, 1, 3, 4, 5, 6000, UTC).timestamp()
    )
    assert uri.startswith("s3://b/p/e/v/2026/05/01/03/04-05-006-")
