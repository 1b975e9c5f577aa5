"""Whose request it is: every way in which clients sign is accepted, and nothing that was changed afterwards."""

import base64
import hashlib
import hmac
import http.client
import io
import json
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.auth
import pytest
import requests
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.signing import keys, signed
from tests.waiting import HANG

ROLE = "arn:aws:iam::123456789012:role/any"
TRUST = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
KEYS = [
    *("plain", "ü", "日本/語", "a b", "a+b", "a&b=c", "a?b", "a#b", "a%20b", "a%2Fb", "tilde~", "bang!", "star*"),
    *("quote'", "(round)", "x//y", "/lead", "end/", "a/../b", "a/./b", "ü+ %25 &?=#~!*'()"),
]


@pytest.fixture(scope="module")
def bucket(client) -> str:
    client("s3").create_bucket(Bucket="signed")
    return "signed"


@pytest.fixture(scope="module")
def function(client) -> str:
    """An ARN, whose colons stand in the paths of requests."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
    made = client("lambda").create_function(
        **{"FunctionName": "signed", "Role": ROLE, "Runtime": "python3.12", "Handler": "app.handler"},
        Code={"ZipFile": zipped.getvalue()},
    )
    return made["FunctionArn"]


@pytest.fixture(scope="module")
def session(client) -> Credentials:
    """A session of a role that may do everything."""
    iam = client("iam")
    document = {"Version": "2012-10-17", "Statement": [TRUST]}
    arn = iam.create_role(RoleName="signs", AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="signs", PolicyName="all", PolicyDocument=json.dumps(everything))
    given = client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


@pytest.fixture(scope="module")
def s3_with(server) -> Callable[..., Any]:
    """s3_with(version, by) -> a client that signs by that version, with those keys."""

    def make(version: str, by: Any = None) -> Any:
        by = by or keys()
        return boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            config=Config(signature_version=version, retries={"max_attempts": 0}),
            aws_access_key_id=by.access_key,
            aws_secret_access_key=by.secret_key,
            aws_session_token=by.token,
        )

    return make


VERSIONS = pytest.mark.parametrize("version", ["s3", "s3v4"])


@pytest.fixture(params=["owner", "session"])
def by(request, session: Credentials) -> Credentials:
    return keys() if request.param == "owner" else session


@VERSIONS
@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_signed_for_as_clients_write_it(s3_with, bucket: str, version: str, key: str):
    if version == "s3" and key in ("a/../b", "a/./b", "x//y", "/lead"):
        pytest.skip("urllib3 sends a path without its dots where botocore signed them by version 2")
    s3 = s3_with(version)
    s3.put_object(Bucket=bucket, Key=key, Body=b"data", Metadata={"said": "two  spaces "}, ContentType="text/x")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"data"
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    assert urllib.request.urlopen(url).read() == b"data"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    s3.delete_object(Bucket=bucket, Key=key)


@VERSIONS
def test_every_kind_of_request_to_s3_is_accepted(s3_with, bucket: str, version: str, by: Credentials):
    s3, name = s3_with(version, by), {"Bucket": bucket}
    s3.put_object(**name, Key="p/k", Body=b"data", Tagging="a=b")
    assert s3.list_objects_v2(**name, Prefix="p/", Delimiter="/", StartAfter="a b+c")["KeyCount"] == 1
    assert s3.list_objects(**name, Prefix="p/")["Contents"][0]["Key"] == "p/k"
    assert s3.head_object(**name, Key="p/k")["ContentLength"] == 4
    assert s3.get_object(**name, Key="p/k", Range="bytes=1-2")["Body"].read() == b"at"
    assert s3.get_object_tagging(**name, Key="p/k")["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.put_object_tagging(**name, Key="p/k", Tagging={"TagSet": []})
    upload = {**name, "Key": "big", "UploadId": s3.create_multipart_upload(**name, Key="big")["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"part")
    assert len(s3.list_parts(**upload)["Parts"]) == 1
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    s3.upload_fileobj(io.BytesIO(b"stream"), bucket, "stream")
    s3.put_bucket_tagging(**name, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_location(**name)["LocationConstraint"] is None
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    deleted = s3.delete_objects(**name, Delete={"Objects": [{"Key": "p/k"}, {"Key": "big"}, {"Key": "stream"}]})
    assert len(deleted["Deleted"]) == 3
    with pytest.raises(ClientError, match="404"):
        s3.head_object(**name, Key="p/k")


@pytest.mark.parametrize("size", [19_000, 300_000, 3 << 20])
def test_a_form_carries_a_file_of_any_size(client, bucket: str, size: int):
    form = client("s3").generate_presigned_post(bucket, "large form")
    answer = requests.post(form["url"], data=form["fields"], files={"file": b"x" * size}, timeout=HANG)
    assert answer.status_code == 204, answer.text
    assert client("s3").head_object(Bucket=bucket, Key="large form")["ContentLength"] == size


@pytest.mark.parametrize("room", [0, 1 << 16, 1 << 18], ids=["all at once", "a buffer", "a block"])
def test_a_forms_signature_is_good_for_no_other_request(client, bucket: str, room: int):
    client("s3").put_object(Bucket=bucket, Key="stays", Body=b"")
    form = client("s3").generate_presigned_post(bucket, "form")
    fields = "".join(
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    begin = f'{fields}--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()
    body = begin.ljust(room) + b"<Delete><Object><Key>stays</Key></Object></Delete>"
    sent = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = requests.post(f"{form['url']}?delete", body, headers=sent, timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, "AccessDenied")
    assert client("s3").head_object(Bucket=bucket, Key="stays")


@pytest.mark.parametrize("stated", ["9" * 5000, "-1", "1e3", "\xb2"])
def test_a_length_that_is_no_number_of_bytes_is_refused(server, bucket: str, stated: str):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=HANG)
    connection.request("PUT", f"/{bucket}/k", b"", {"x-amz-decoded-content-length": stated})
    answer = connection.getresponse()
    assert (answer.status, b"<Code>InvalidArgument</Code>" in answer.read()) == (400, True)


def test_an_end_of_a_presigned_url_that_is_no_time_is_in_the_past(server, bucket: str):
    query = f"AWSAccessKeyId={keys().access_key}&Signature=x&Expires={'9' * 5000}"
    answer = requests.get(f"{server.url}/{bucket}/k?{query}", timeout=HANG)
    assert (answer.status_code, "Request has expired" in answer.text) == (403, True)


@VERSIONS
def test_presigned_urls_put_get_and_say_headers(s3_with, bucket: str, version: str, by: Credentials):
    s3, named = s3_with(version, by), {"Bucket": bucket, "Key": "ü by url"}
    put = s3.generate_presigned_url("put_object", Params={**named, "ContentType": "text/x", "Metadata": {"a": "b"}})
    sent = {"Content-Type": "text/x", "x-amz-meta-a": "b"}
    assert requests.put(put, b"by url", headers=sent, timeout=HANG).status_code == 200
    said = 'attachment; filename="a b.txt"'
    get = s3.generate_presigned_url("get_object", Params={**named, "ResponseContentDisposition": said})
    answer = requests.get(get, timeout=HANG)
    assert (answer.content, answer.headers["Content-Disposition"]) == (b"by url", said)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    assert requests.put(s3.generate_presigned_url("upload_part", Params=part), b"part", timeout=HANG).ok


@VERSIONS
def test_a_form_may_upload_what_its_policy_allows_and_nothing_else(s3_with, bucket: str, version: str, by: Credentials):
    s3 = s3_with(version, by)
    fields = {"acl-like": "x", "x-amz-meta-who": "me"}
    conditions = [["starts-with", "$acl-like", ""], {"x-amz-meta-who": "me"}, ["content-length-range", 2, 9]]
    form = s3.generate_presigned_post(bucket, "form/${filename}", Fields=fields, Conditions=conditions)

    def post(content: bytes, url: str = form["url"], **changes: str) -> tuple[int, str]:
        answer = requests.post(url, data=form["fields"] | changes, files={"file": ("a.txt", content)}, timeout=HANG)
        code = answer.text.partition("<Code>")[2].partition("</Code>")[0]
        return answer.status_code, code

    assert post(b"posted") == (204, "")
    assert s3.get_object(Bucket=bucket, Key="form/a.txt")["Body"].read() == b"posted"
    assert s3.head_object(Bucket=bucket, Key="form/a.txt")["Metadata"] == {"who": "me"}
    assert post(b"0123456789") == (400, "EntityTooLarge")
    assert post(b"0") == (400, "EntityTooSmall")
    assert post(b"posted", key="elsewhere") == (403, "AccessDenied")
    assert post(b"posted", more="field") == (403, "AccessDenied")
    assert post(b"posted", **{"x-amz-meta-who": "you"}) == (403, "AccessDenied")
    wider = base64.b64encode(json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": []}).encode()).decode()
    assert post(b"posted", policy=wider) == (403, "SignatureDoesNotMatch")
    s3.create_bucket(Bucket="other-bucket")
    assert post(b"posted", form["url"].replace(bucket, "other-bucket")) == (403, "AccessDenied")
    late = s3.generate_presigned_post(bucket, "late", ExpiresIn=-5)
    answer = requests.post(late["url"], data=late["fields"], files={"file": b"x"}, timeout=HANG)
    assert answer.status_code == 403 and "Policy expired" in answer.text
    answer = requests.post(late["url"], data={"key": "k"}, files={"file": b"x"}, timeout=HANG)
    assert answer.status_code == 403 and "<Code>AccessDenied</Code>" in answer.text
    keys_there = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not {"late", "k", "elsewhere"} & set(keys_there)


CALLS: dict[str, Callable[[Callable[[str], Any], str], object]] = {
    "sts": lambda client, _: client("sts").get_caller_identity(),
    "sagemaker": lambda client, _: client("sagemaker").list_training_jobs(NameContains="b"),
    "lambda": lambda client, arn: client("lambda").get_function(FunctionName=arn),
    "lambda versions": lambda client, arn: client("lambda").list_versions_by_function(FunctionName=arn, MaxItems=5),
    "lambda invoke": lambda client, arn: client("lambda").invoke(FunctionName=arn, Payload=b'{"a": 1}'),
    "iam": lambda client, _: client("iam").list_roles(PathPrefix="/"),
    "sqs": lambda client, _: client("sqs").create_queue(QueueName="signed"),
    "sns": lambda client, _: client("sns").create_topic(Name="signed"),
    "events": lambda client, _: client("events").list_rules(NamePrefix="a"),
    "logs": lambda client, _: client("logs").describe_log_groups(),
    "cloudwatch": lambda client, _: client("cloudwatch").put_metric_data(
        Namespace="N", MetricData=[{"MetricName": "ü", "Value": 1.0}]
    ),
    "cloudformation": lambda client, _: client("cloudformation").list_stacks(),
    "ecr": lambda client, _: client("ecr").describe_repositories(),
    "scheduler": lambda client, _: client("scheduler").list_schedules(NamePrefix="a"),
    "application-autoscaling": lambda client, _: client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker"
    ),
    "service-quotas": lambda client, _: client("service-quotas").list_service_quotas(ServiceCode="sagemaker"),
    "dynamodb": lambda client, _: client("dynamodb").list_tables(),
}


def client_with(server, by: Any) -> Callable[[str], Any]:
    return lambda service: boto3.client(
        service,
        endpoint_url=server.url,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 0}),
        aws_access_key_id=by.access_key,
        aws_secret_access_key=by.secret_key,
        aws_session_token=by.token,
    )


@pytest.mark.parametrize("call", CALLS)
def test_every_service_accepts_its_clients_signature(server, function: str, call: str, by: Credentials):
    CALLS[call](client_with(server, by), function)


# What a service says to a key that nobody has, a wrong secret, a wrong token: by family of protocols.
S3 = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken")
IN_XML = ("InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidClientTokenId")
IN_JSON = ("UnrecognizedClientException", "InvalidSignatureException", "UnrecognizedClientException")


@pytest.mark.parametrize(
    ("service", "operation", "codes"),
    [
        ("s3", "list_buckets", S3),
        *((service, operation, IN_XML) for service, operation in (("sts", "get_caller_identity"),)),
        *((service, operation, IN_XML) for service, operation in (("iam", "list_roles"), ("sqs", "list_queues"))),
        *((service, operation, IN_XML) for service, operation in (("cloudwatch", "list_metrics"),)),
        *((service, operation, IN_JSON) for service, operation in (("sagemaker", "list_models"),)),
        *((service, operation, IN_JSON) for service, operation in (("lambda", "list_functions"),)),
        *((service, operation, IN_JSON) for service, operation in (("logs", "describe_log_groups"),)),
    ],
)
def test_keys_that_do_not_fit_get_the_services_own_error(server, session, service: str, operation: str, codes):
    wrong = [
        Credentials("AKIANOBODYSKEYSTHESE", "any"),
        Credentials(keys().access_key, "another secret"),
        Credentials(session.access_key, session.secret_key, session.token[:-1] + "x"),
        Credentials(session.access_key, session.secret_key),  # without its token
        Credentials(session.access_key, "another secret", session.token),
        Credentials(keys().access_key, keys().secret_key, "a token of nobody"),
    ]
    unknown, mismatch, token = codes
    for by, code in zip(wrong, (unknown, mismatch, token, unknown, mismatch, token), strict=True):
        with pytest.raises(ClientError) as refused:
            getattr(client_with(server, by)(service), operation)()
        assert refused.value.response["Error"]["Code"] == code


def code_of(answer: requests.Response) -> str:
    """The error code of an answer in any protocol."""
    if answer.text.startswith("<"):
        return answer.text.partition("<Code>")[2].partition("</Code>")[0]
    return json.loads(answer.text)["__type"] if answer.text.startswith("{") else ""


Change = Callable[[str, str, bytes, dict[str, str]], tuple[str, str, bytes, dict[str, str]]]
CHANGES: dict[str, Change] = {
    "method": lambda method, url, body, headers: ("DELETE", url, body, headers),
    "path": lambda method, url, body, headers: (method, url.replace("/signed/k", "/signed/l"), body, headers),
    "query": lambda method, url, body, headers: (method, f"{url}&prefix=x", body, headers),
    "host": lambda method, url, body, headers: (method, url.replace("127.0.0.1", "localhost"), body, headers),
    "date": lambda method, url, body, headers: (
        method,
        url,
        body,
        headers | {"X-Amz-Date": headers["X-Amz-Date"][:-2] + ("1Z" if headers["X-Amz-Date"][-2] == "0" else "0Z")},
    ),
    "a signed header": lambda method, url, body, headers: (method, url, body, headers | {"x-amz-meta-a": "other"}),
    "a signed header left out": lambda method, url, body, headers: (
        method,
        url,
        body,
        {name: value for name, value in headers.items() if name != "x-amz-meta-a"},
    ),
    "signature": lambda method, url, body, headers: (
        method,
        url,
        body,
        headers | {"Authorization": headers["Authorization"][:-1] + "g"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_signed_can_be_changed(server, client, bucket: str, change: str):
    client("s3").put_object(Bucket=bucket, Key="k", Body=b"before")
    url = f"{server.url}/{bucket}/k?x-id=PutObject"
    headers = signed("PUT", url, "s3", b"after", {"x-amz-meta-a": "b"})
    method, url, body, headers = CHANGES[change]("PUT", url, b"after", headers)
    answer = requests.request(method, url, data=body, headers=headers, timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, "SignatureDoesNotMatch")
    assert client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"before"


def test_a_body_that_is_not_the_signed_one_is_refused_and_nothing_is_stored(server, client, bucket: str, state_dir):
    url = f"{server.url}/{bucket}/never"
    for body in (b"other", b"shorter"[:3], b"x" * 5_000_000):
        answer = requests.put(url, data=body, headers=signed("PUT", url, "s3", b"after"), timeout=HANG)
        assert (answer.status_code, code_of(answer)) == (400, "XAmzContentSHA256Mismatch")
    with pytest.raises(ClientError, match="404"):
        client("s3").head_object(Bucket=bucket, Key="never")
    assert [path for path in (state_dir / "s3" / ".incoming").rglob("*") if path.is_file()] == []
    headers = signed("POST", f"{server.url}/", "sagemaker", b"{}", {"X-Amz-Target": "SageMaker.ListModels"})
    answer = requests.post(f"{server.url}/", b'{"NameContains": "x"}', headers=headers, timeout=HANG)
    assert code_of(answer) == "InvalidSignatureException"


def test_what_is_not_signed_for_a_header_that_counts_is_refused(server, client, bucket: str):
    url = f"{server.url}/{bucket}/copied"
    client("s3").put_object(Bucket=bucket, Key="k", Body=b"k")
    headers = signed("PUT", url, "s3") | {"x-amz-copy-source": f"/{bucket}/k"}
    answer = requests.put(url, headers=headers, timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, "AccessDenied") and "not signed" in answer.text
    headers = signed("POST", f"{server.url}/", "sagemaker", b"{}") | {"X-Amz-Target": "SageMaker.ListModels"}
    answer = requests.post(f"{server.url}/", b"{}", headers=headers, timeout=HANG)
    assert code_of(answer) == "InvalidSignatureException"


@pytest.mark.parametrize(("service", "minutes"), [("s3", 15), ("sts", 5)])
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_clock_may_differ_by_so_many_minutes(server, monkeypatch, service, minutes, accepted, direction):
    moved = datetime.now(UTC) + direction * timedelta(minutes=minutes - 1 if accepted else minutes + 1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: moved.replace(tzinfo=None))
    path = "/" if service == "s3" else "/?Action=GetCallerIdentity&Version=2011-06-15"
    answer = requests.get(server.url + path, headers=signed("GET", server.url + path, service), timeout=HANG)
    code = "" if accepted else "RequestTimeTooSkewed" if service == "s3" else "SignatureDoesNotMatch"
    assert (answer.ok, code_of(answer)) == (accepted, code)


def presigned(url: str, service: str, seconds: int = 60, method: str = "GET") -> str:
    request = AWSRequest(method, url)
    kind = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
    kind(keys(), service, "us-east-1", expires=seconds).add_auth(request)
    return request.url


def test_a_presigned_url_is_good_for_its_method_its_time_and_its_parameters(server, client, s3_with, bucket: str):
    client("s3").put_object(Bucket=bucket, Key="k", Body=b"data")
    for version, expiry in (("s3v4", "X-Amz-Expires"), ("s3", "Expires")):
        s3 = s3_with(version)
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert requests.get(url, timeout=HANG).content == b"data"
        assert code_of(requests.delete(url, timeout=HANG)) == "SignatureDoesNotMatch"
        assert code_of(requests.get(url.replace("/k?", "/l?"), timeout=HANG)) == "SignatureDoesNotMatch"
        assert code_of(requests.get(f"{url}&acl", timeout=HANG)) == "SignatureDoesNotMatch"
        longer = url.replace(f"{expiry}=3600", f"{expiry}=3601").replace(f"&{expiry}=1", f"&{expiry}=2")
        assert longer != url and code_of(requests.get(longer, timeout=HANG)) == "SignatureDoesNotMatch"
        copied = requests.get(url, headers={"x-amz-copy-source": "/a/b"}, timeout=HANG)
        assert copied.status_code == 403
        late = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-1)
        answer = requests.get(late, timeout=HANG)
        assert answer.status_code in (400, 403) and code_of(answer) != ""
    assert code_of(requests.get(presigned(f"{server.url}/{bucket}/k", "s3", 604_801), timeout=HANG)) == (
        "AuthorizationQueryParametersError"
    )
    both = presigned(f"{server.url}/{bucket}/k", "s3")
    answer = requests.get(both, headers=signed("GET", both, "s3"), timeout=HANG)
    assert answer.status_code == 400


def test_an_expired_presigned_url_says_so(server, client, bucket: str, monkeypatch):
    before = datetime.now(UTC) - timedelta(minutes=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: before.replace(tzinfo=None))
    answer = requests.get(presigned(f"{server.url}/{bucket}?list-type=2", "s3", 60), timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, "AccessDenied") and "Request has expired" in answer.text
    assert requests.get(presigned(f"{server.url}/{bucket}?list-type=2", "s3", 180), timeout=HANG).ok


def test_the_query_chooses_a_service_only_where_aws_presigns_and_only_by_its_signature(server):
    who = f"{server.url}/?Action=GetCallerIdentity&Version=2011-06-15"
    assert "arn:aws:iam::123456789012:root" in requests.get(presigned(who, "sts"), timeout=HANG).text
    for service, path in (("iam", "/?Action=ListRoles"), ("lambda", "/2015-03-31/functions"), ("sagemaker", "/")):
        url = presigned(server.url + path, service)
        answer = requests.get(url, timeout=HANG)
        assert answer.status_code == 403 and "MissingAuthenticationToken" in code_of(answer)
    as_sts = presigned(f"{server.url}/?Action=GetCallerIdentity", "s3").replace("%2Fs3%2F", "%2Fsts%2F")
    assert requests.get(as_sts, timeout=HANG).status_code == 403


def test_a_signature_for_another_service_or_region_is_good_for_nothing_here(server, bucket: str):
    url = f"{server.url}/{bucket}?list-type=2"
    elsewhere = AWSRequest("GET", url)
    S3SigV4Auth(keys(), "s3", "eu-west-1").add_auth(elsewhere)
    answer = requests.get(url, headers=dict(elsewhere.headers.items()), timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (400, "AuthorizationHeaderMalformed")
    assert "expecting 'us-east-1'" in answer.text
    stop = f"{server.url}/_sagelocal/stop"
    answer = requests.post(stop, headers=signed("POST", stop, "sts"), timeout=HANG)
    assert answer.status_code == 403 and code_of(answer) == "InvalidSignatureException"
    for scope in ("S3", "IAM"):  # what compares without regard to case must not be reached past the check
        headers = signed("GET", url, scope)
        assert requests.get(url, headers=headers, timeout=HANG).status_code in (400, 403)


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=a/2026/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x",
        "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x",
        "AWS nobody",
        "AWS :",
        "Bearer token",
        "Basic YTpi",
        "é",
    ],
)
def test_a_header_that_is_no_signature_is_refused(server, header: str):
    answer = requests.get(f"{server.url}/", headers={"Authorization": header.encode("latin-1")}, timeout=HANG)
    assert answer.status_code in (400, 403) and code_of(answer)


class ChunkSigner:
    """An aws-chunked body, signed chunk by chunk as Amazon's documentation has it."""

    def __init__(self, url: str, content: bytes, trailer: str = "", size: int = 8192):
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
        headers = {
            "x-amz-content-sha256": kind,
            "x-amz-decoded-content-length": str(len(content)),
            "Content-Encoding": "aws-chunked",
        }
        if trailer:
            headers["x-amz-trailer"] = trailer.partition(":")[0]
        self.headers = self._seed(url, headers, kind)
        chunks = [content[at : at + size] for at in range(0, len(content), size)] + [b""]
        self.body = b"".join(self._chunk(chunk) for chunk in chunks)
        if trailer:
            self.body = self.body.removesuffix(b"\r\n")
            digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
            self.body += f"{trailer}\r\nx-amz-trailer-signature:{self._sign('TRAILER', digest)}\r\n\r\n".encode()

    def _seed(self, url: str, headers: dict[str, str], payload_hash: str) -> dict[str, str]:
        self.moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.scope = f"{self.moment[:8]}/us-east-1/s3/aws4_request"
        self.key = b"AWS4" + keys().secret_key.encode()
        for part in self.scope.split("/"):
            self.key = hmac.digest(self.key, part.encode(), "sha256")
        headers = {name.lower(): value for name, value in headers.items()}
        headers |= {"host": urlsplit(url).netloc, "x-amz-date": self.moment}
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        names = ";".join(sorted(headers))
        canonical = f"PUT\n{quote(urlsplit(url).path)}\n\n{lines}\n{names}\n{payload_hash}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        self.last = self._hmac(f"AWS4-HMAC-SHA256\n{self.moment}\n{self.scope}\n{digest}")
        credential = f"{keys().access_key}/{self.scope}"
        signature = f"Credential={credential}, SignedHeaders={names}, Signature={self.last}"
        return headers | {"Authorization": f"AWS4-HMAC-SHA256 {signature}"}

    def _chunk(self, data: bytes) -> bytes:
        nothing = hashlib.sha256(b"").hexdigest()
        signature = self._sign("PAYLOAD", f"{nothing}\n{hashlib.sha256(data).hexdigest()}")
        return f"{len(data):x};chunk-signature={signature}\r\n".encode() + data + b"\r\n"

    def _sign(self, kind: str, end: str) -> str:
        self.last = self._hmac(f"AWS4-HMAC-SHA256-{kind}\n{self.moment}\n{self.scope}\n{self.last}\n{end}")
        return self.last

    def _hmac(self, text: str) -> str:
        return hmac.digest(self.key, text.encode(), "sha256").hex()


CONTENT = bytes(range(256)) * 100
TRAILER = "x-amz-checksum-sha256:" + base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()


@pytest.mark.parametrize("trailer", ["", TRAILER])
def test_a_body_is_signed_chunk_by_chunk(server, client, bucket: str, state_dir, trailer: str):
    url = f"{server.url}/{bucket}/chunks-{uuid.uuid4().hex}"
    key = url.rpartition("/")[2]
    made = ChunkSigner(url, CONTENT, trailer)
    broken = {
        "a byte of a chunk": made.body.replace(b"\x00\x01\x02", b"\x00\x01\x03", 1),
        "a signature": made.body.replace(b"chunk-signature=", b"chunk-signature=0", 1),
        "no signature": made.body.replace(b";chunk-signature=", b";x=", 1),
        "a chunk left out": made.body[: made.body.index(b"\r\n", 200)] + made.body[-100:],
    }
    if trailer:
        broken["the trailer"] = made.body.replace(b"sha256:", b"sha256:A", 1)
        broken["the trailer's signature"] = made.body.replace(b"x-amz-trailer-signature:", b"x-other:", 1)
    for body in broken.values():
        answer = requests.put(url, data=body, headers=made.headers, timeout=HANG)
        assert answer.status_code in (400, 403)
        assert code_of(answer) in ("SignatureDoesNotMatch", "IncompleteBody")
    assert [path for path in (state_dir / "s3" / ".incoming").rglob("*") if path.is_file()] == []
    with pytest.raises(ClientError, match="404"):
        client("s3").head_object(Bucket=bucket, Key=key)
    answer = requests.put(url, data=made.body, headers=made.headers, timeout=HANG)
    assert answer.status_code == 200, answer.text
    stored = client("s3").get_object(Bucket=bucket, Key=key)
    assert stored["Body"].read() == CONTENT and "ContentEncoding" not in stored


@pytest.mark.parametrize("kind", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_body_may_be_left_unsigned_where_the_request_says_so(server, client, bucket: str, kind: str):
    url = f"{server.url}/{bucket}/unsigned"
    body, headers = CONTENT, {"X-Amz-Content-SHA256": kind}
    if kind != "UNSIGNED-PAYLOAD":
        body = f"{len(CONTENT):x}\r\n".encode() + CONTENT + f"\r\n0\r\n{TRAILER}\r\n\r\n".encode()
        headers |= {"x-amz-decoded-content-length": str(len(CONTENT)), "x-amz-trailer": "x-amz-checksum-sha256"}
    answer = requests.put(url, data=body, headers=stated(url, headers), timeout=HANG)
    assert answer.status_code == 200, answer.text
    assert client("s3").get_object(Bucket=bucket, Key="unsigned")["Body"].read() == CONTENT


def stated(url: str, headers: dict[str, str]) -> dict[str, str]:
    """The headers of a PUT whose payload hash is what they say it is."""

    class Stated(SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return headers["X-Amz-Content-SHA256"]

        def _normalize_url_path(self, path: str) -> str:
            return path

    request = AWSRequest("PUT", url, headers=headers)
    Stated(keys(), "s3", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def test_a_hash_that_is_none_is_refused(server, bucket: str):
    url = f"{server.url}/{bucket}/none"
    answer = requests.put(url, b"x", headers=stated(url, {"X-Amz-Content-SHA256": "anything"}), timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (400, "InvalidArgument")


UNSIGNED: list[tuple[str, str, str, dict[str, str], str]] = [
    ("GET", "/", "", {}, "AccessDenied"),
    ("GET", "/signed/k", "", {}, "AccessDenied"),
    ("PUT", "/signed/k", "x", {}, "AccessDenied"),
    ("POST", "/signed?delete", "<Delete/>", {}, "AccessDenied"),
    ("OPTIONS", "/signed/k", "", {}, "AccessDenied"),
    ("POST", "/", "{}", {"X-Amz-Target": "SageMaker.ListModels"}, "MissingAuthenticationTokenException"),
    ("POST", "/", "{}", {"X-Amz-Target": "AmazonSQS.ListQueues"}, "MissingAuthenticationTokenException"),
    ("GET", "/2015-03-31/functions", "", {}, "MissingAuthenticationTokenException"),
    ("POST", "/2015-03-31/functions/f/invocations", "{}", {}, "MissingAuthenticationTokenException"),
    ("POST", "/endpoints/e/invocations", "{}", {}, "MissingAuthenticationTokenException"),
    ("GET", "/?Action=ListRoles", "", {}, "MissingAuthenticationToken"),
    ("POST", "/_sagelocal/stop", "", {}, "MissingAuthenticationTokenException"),
    ("GET", "/_sagelocal/stop", "", {}, "MissingAuthenticationTokenException"),
    ("POST", "/_sagelocal/health", "", {}, "MissingAuthenticationTokenException"),
    ("GET", "/_sagelocal/clock", "", {}, "MissingAuthenticationTokenException"),
    ("POST", "/_sagelocal/clock?speed=30", "", {}, "MissingAuthenticationTokenException"),
    ("GET", "/_sagelocal/iam/used", "", {}, "MissingAuthenticationTokenException"),
    ("DELETE", "/_sagelocal/iam/used", "", {}, "MissingAuthenticationTokenException"),
    ("GET", "/_sagelocal/anything", "", {}, "MissingAuthenticationTokenException"),
    ("GET", "/moto-api/", "", {}, "AccessDenied"),
    ("POST", "/moto-api/reset", "", {}, "AccessDenied"),
    ("GET", "/favicon.ico", "", {}, "AccessDenied"),
    ("GET", "/latest/meta-data/iam/security-credentials/", "", {}, "AccessDenied"),
    ("GET", "/signed_us-east-1/x/.well-known/jwks.json", "", {}, "AccessDenied"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "code"), UNSIGNED)
def test_nothing_is_answered_to_nobody(server, bucket: str, method: str, path: str, body: str, headers, code: str):
    answer = requests.request(method, server.url + path, data=body, headers=headers, timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, code)
    assert requests.get(f"{server.url}/_sagelocal/health", timeout=HANG).json().keys() == {"version"}


@pytest.mark.parametrize(
    ("method", "page"),
    [("POST", "stop"), ("GET", "clock"), ("POST", "clock?speed=9"), ("GET", "iam/used"), ("DELETE", "iam/used")],
)
def test_a_roles_session_does_not_reach_the_owners_pages(server, session: Credentials, method: str, page: str):
    url = f"{server.url}/_sagelocal/{page}"
    answer = requests.request(method, url, headers=signed(method, url, "sagelocal", by=session), timeout=HANG)
    assert (answer.status_code, code_of(answer)) == (403, "AccessDeniedException")


def test_moto_has_no_pages_of_its_own_for_anybody(server):
    for path in ("/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/x", "/favicon.ico"):
        url = server.url + path
        answer = requests.post(url, headers=signed("POST", url, "sns"), timeout=HANG)
        assert answer.status_code == 404


def test_health_is_for_everybody_and_tells_nothing_else(server):
    with urllib.request.urlopen(f"{server.url}/_sagelocal/health") as answer:
        assert list(json.loads(answer.read())) == ["version"]


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    """requests would sign with what a .netrc holds and ask a proxy: neither is the request that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.sessions.Session, "trust_env", False, raising=False)
        yield
