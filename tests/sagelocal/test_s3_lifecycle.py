"""What S3 deletes by itself: what lifecycle rules say, and what kills leave behind."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from sagelocal.core import lifecycle as server_lifecycle
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.events.bus import bus
from sagelocal.services.s3 import buckets, lifecycle, multipart, objects, pages, sweep, tree, writing, xml
from sagelocal.services.s3.cfn import Bucket
from tests.waiting import HANG

DAY = 86_400
MIB = 1 << 20
TEMPLATE = Path(__file__).resolve().parents[2] / "infra" / "template.yaml"


def request(method: str = "PUT", body: bytes = b"", query: str = "", **headers: str) -> Request:
    named = {f"x-amz-{name}": value for name, value in headers.items()}
    return Request(EnvironBuilder(method=method, data=body, query_string=query, headers=named).get_environ())


def rule(body: str, status: str = "Enabled") -> bytes:
    return f"<LifecycleConfiguration><Rule><Status>{status}</Status>{body}</Rule></LifecycleConfiguration>".encode()


@pytest.fixture
def put_rules(context: Context):
    objects.create_bucket(context, "kept")

    def put(body: bytes) -> None:
        buckets.put_setting(context, "kept", "lifecycle", request(body=body))

    return put


def put(context: Context, key: str, data: bytes = b"data", tagging: str = "") -> None:
    writing.put(context, "kept", key, request(body=data, **({"tagging": tagging} if tagging else {})))


SIZES = "<ObjectSizeGreaterThan>3</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan>"
TAG = "<Tag><Key>keep</Key><Value>no</Value></Tag>"


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("<Filter/>", []),
        ("<Prefix>a/</Prefix>", ["b"]),
        ("<Filter><Prefix>a/</Prefix></Filter>", ["b"]),
        (f"<Filter>{TAG}</Filter>", ["a/long", "b"]),
        (f"<Filter><And><Prefix>a/</Prefix>{SIZES}</And></Filter>", ["a/long", "b"]),
        (f"<Filter><And><Prefix>b</Prefix>{TAG}</And></Filter>", ["a/1", "a/long", "b"]),
        ("<Filter><ObjectSizeGreaterThan>4</ObjectSizeGreaterThan></Filter>", ["a/1", "b"]),
    ],
)
def test_an_object_that_every_condition_covers_goes_when_its_days_are_over(
    context: Context, put_rules, condition: str, left: list[str]
):
    put(context, "a/1", b"1234", "keep=no")
    put(context, "a/long", b"12345", "keep=yes")
    put(context, "b", b"1234")
    put_rules(rule(f"{condition}<Expiration><Days>3</Days></Expiration>"))
    lifecycle.carry_out(context, time.time() + 2 * DAY)
    assert pages.keys(context, "kept") == ["a/1", "a/long", "b"]
    lifecycle.carry_out(context, time.time() + 4 * DAY)
    assert pages.keys(context, "kept") == left


def test_days_end_at_midnight_and_those_of_a_faster_clock_sooner(context: Context, put_rules):
    put(context, "k")
    put_rules(rule("<Filter/><Expiration><Days>1</Days></Expiration>"))
    midnight = (time.time() // DAY + 2) * DAY
    lifecycle.carry_out(context, midnight - 1)
    assert pages.keys(context, "kept") == ["k"]
    clock(context).speed = 1000
    lifecycle.carry_out(context, time.time() + 2 * DAY / 1000)
    assert pages.keys(context, "kept") == []


def test_a_date_that_came_expires_what_is_there_and_a_disabled_rule_nothing(context: Context, put_rules):
    put(context, "k")
    expired = "<Filter/><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>"
    put_rules(rule(expired, "Disabled"))
    lifecycle.carry_out(context, time.time())
    assert pages.keys(context, "kept") == ["k"]
    put_rules(rule(expired.replace("2020", "2999")))
    lifecycle.carry_out(context, time.time())
    assert pages.keys(context, "kept") == ["k"]
    put_rules(rule(expired))
    lifecycle.carry_out(context, time.time())
    assert pages.keys(context, "kept") == []


def test_an_expired_object_is_told_to_the_event_bus(context: Context, put_rules):
    put(context, "gone")
    told: list[dict] = []
    bus(context).started = True
    bus(context).put = lambda source, kind, resources, detail, moment: told.append({"kind": kind, **detail})
    bridge = xml.document("NotificationConfiguration", {"EventBridgeConfiguration": {}})
    buckets.put_setting(context, "kept", "notification", request(body=bridge.encode()))
    put_rules(rule("<Filter/><Expiration><Days>1</Days></Expiration>"))
    lifecycle.carry_out(context, time.time() + 3 * DAY)
    (event,) = told
    assert (event["kind"], event["object"]["key"], event["reason"]) == (
        "Object Deleted",
        "gone",
        "Lifecycle Expiration",
    )


def test_an_upload_that_nobody_completes_is_aborted(context: Context, put_rules):
    for key in ("a/big", "b/big"):
        multipart.create(context, "kept", key, request("POST"))
    abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
    put_rules(rule(f"<Filter><Prefix>a/</Prefix></Filter>{abort}</AbortIncompleteMultipartUpload>"))
    lifecycle.carry_out(context, time.time() + 6 * DAY)
    assert len(list(multipart.uploads(context).iterdir())) == 2
    lifecycle.carry_out(context, time.time() + 9 * DAY)
    (left,) = multipart.uploads(context).iterdir()
    assert '"b/big"' in (left / multipart.NOTE).read_text()


DAYS = "<Expiration><Days>1</Days></Expiration>"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (f"<Filter/><Transition><Days>1</Days></Transition>{DAYS}", "NotImplemented", "does not carry out Transition"),
        (f"<Filter/><NoncurrentVersionTransition/>{DAYS}", "NotImplemented", "NoncurrentVersionTransition"),
        (f"<Filter/><Archive/>{DAYS}", "MalformedXML", "Archive"),
        (f"<Filter><Owner>me</Owner></Filter>{DAYS}", "MalformedXML", "Owner"),
        (f"<Filter><Prefix>a</Prefix>{TAG}</Filter>{DAYS}", "MalformedXML", "And"),
        (f"<Filter/><Prefix/>{DAYS}", "MalformedXML", "Filter"),
        (DAYS, "MalformedXML", "Filter"),
        ("<Filter/>", "InvalidRequest", "At least one action"),
        ("<Filter/><Expiration><Days>0</Days></Expiration>", "InvalidArgument", "'Days'"),
        ("<Filter/><Expiration><Days>1.5</Days></Expiration>", "InvalidArgument", "'1.5'"),
        (f"<Filter/><Expiration><Days>{'9' * 5000}</Days></Expiration>", "InvalidArgument", "'Days'"),
        ("<Filter/><Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>", "MalformedXML", "one of"),
        ("<Filter/><Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>", "InvalidArgument", "midnight"),
        ("<Filter/><Expiration><Date>soon</Date></Expiration>", "MalformedXML", "soon"),
        (f"<Filter/><Status>On</Status>{DAYS}", "MalformedXML", "Status"),
    ],
)
def test_a_rule_that_is_not_carried_out_is_refused_by_name(
    context: Context, put_rules, body: str, code: str, says: str
):
    sent = rule(body)
    if "<Status>On" in body:
        sent = sent.replace(b"<Status>Enabled</Status>", b"")
    with pytest.raises(AwsError, match=says) as caught:
        put_rules(sent)
    assert caught.value.code == code
    with pytest.raises(AwsError, match="does not exist"):
        buckets.get_setting(context, "kept", "lifecycle", request("GET"))


def template_rules() -> dict:
    class Loader(yaml.SafeLoader):
        """Reads `!Sub x` as x, and `!Ref IntermediateDays` as 30."""

    def plain(loader: yaml.Loader, suffix: str, node: yaml.Node) -> object:
        if not isinstance(node, yaml.ScalarNode):
            return None
        return 30 if suffix == "Ref" else loader.construct_scalar(node).replace("${Project}", "pawline")

    Loader.add_multi_constructor("!", plain)
    return yaml.load(TEMPLATE.read_text(), Loader)["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]


def test_the_rules_of_the_shipped_template_are_carried_out(context: Context):
    Bucket().create(context, {"BucketName": "kept", "LifecycleConfiguration": template_rules()}, "")
    for folder in ("runs", "trials", "tensors", "checkpoints", "captured", "models"):
        put(context, f"pawline/{folder}/1/file")
    multipart.create(context, "kept", "pawline/models/big", request("POST"))
    lifecycle.carry_out(context, time.time() + 40 * DAY)
    assert pages.keys(context, "kept") == ["pawline/models/1/file"]
    assert list(multipart.uploads(context).iterdir()) == []


def test_a_stacks_rule_that_is_not_carried_out_is_refused(context: Context):
    moves = {"Status": "Enabled", "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 1}]}
    with pytest.raises(AwsError, match="Transition"):
        Bucket().create(context, {"BucketName": "kept", "LifecycleConfiguration": {"Rules": [moves]}}, "")


def test_what_belongs_to_no_upload_is_swept_and_an_open_upload_stays(context: Context):
    objects.create_bucket(context, "kept")
    multipart.create(context, "kept", "big", request("POST"))
    (upload,) = multipart.uploads(context).iterdir()
    answer = multipart.upload_part(
        context, "kept", "big", request(body=b"part", query=f"uploadId={upload.name}&partNumber=1")
    )
    (upload / "2-half").write_bytes(b"a part whose note was not written any more")
    (upload.parent / ("0" * 32)).mkdir()
    (upload.parent / ("0" * 32) / "1").write_bytes(b"no note at all")
    earlier = tree.own_incoming(context).parent / "an-earlier-server"
    earlier.mkdir()
    (earlier / "half").write_bytes(b"half a body")
    (earlier.parent / "as-earlier-versions").write_bytes(b"half a body")
    running = tree.incoming(context)
    running.write_bytes(b"a request that is running")
    sweep.sweep(context)
    assert list(tree.own_incoming(context).parent.rglob("*")) == [running.parent, running]
    assert len(list(upload.iterdir())) == 3 and list(upload.parent.iterdir()) == [upload]
    copied = upload.with_name("copy")
    shutil.copytree(upload, copied)
    named = f"<Part><PartNumber>1</PartNumber><ETag>{answer.headers['ETag']}</ETag></Part>"
    completed = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    multipart.complete(context, "kept", "big", request("POST", completed, f"uploadId={upload.name}"))
    copied.rename(upload)  # as if the server had been killed between the object and the end of the upload
    sweep.sweep(context)
    assert list(upload.parent.iterdir()) == [] and objects.read_bytes(context, "s3://kept/big") == b"part"


@pytest.fixture
def own_state(tmp_path: Path) -> Iterator[Path]:
    """The state directory of a server that may be killed."""
    yield tmp_path
    server_lifecycle.stop(tmp_path)


@pytest.mark.parametrize("operation", ["put_object", "upload_part"])
def test_a_kill_in_the_middle_of_a_body_leaves_nothing_after_the_next_start(own_state: Path, operation: str):
    config = Config(retries={"max_attempts": 0})

    def connected(url: str):
        return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)

    running = server_lifecycle.ensure(own_state)
    s3 = connected(running.url)
    s3.create_bucket(Bucket="kept")
    upload = asked = {"Bucket": "kept", "Key": "big"}
    if operation == "upload_part":
        upload = asked | {"UploadId": s3.create_multipart_upload(**asked)["UploadId"]}
        s3.upload_part(**upload, PartNumber=1, Body=b"whole")
        asked = upload | {"PartNumber": 2}

    def send() -> None:
        while True:
            try:
                getattr(s3, operation)(**asked, Body=bytes(64 * MIB))
            except (ClientError, BotoCoreError):
                return

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: sizes(own_state / "s3" / ".incoming") > MIB)
    os.kill(running.pid, signal.SIGKILL)
    sender.join()
    s3 = connected(server_lifecycle.ensure(own_state).url)
    until(lambda: sizes(own_state / "s3" / ".incoming") == 0)
    if operation == "upload_part":
        kept = sum(part["Size"] for part in s3.list_parts(**upload)["Parts"])
        until(lambda: sizes(own_state / "s3" / ".uploads", but=".json") == kept)
        s3.abort_multipart_upload(**upload)
        assert sizes(own_state / "s3" / ".uploads") == 0


def sizes(directory: Path, but: str = "no such ending") -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() and path.suffix != but else 0
        except FileNotFoundError:
            continue
    return total


def until(holds) -> None:
    deadline = time.monotonic() + HANG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)
