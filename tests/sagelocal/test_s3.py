"""S3 as boto3, s3transfer and raw HTTP clients use it."""

import hashlib
import io
import os
import socket
import urllib.request
import uuid
from pathlib import Path

import boto3
import pytest
import requests
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.signing import signed
from tests.waiting import HANG

MIB = 1 << 20


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def refused(code: str, status: int, call, **request) -> None:
    with pytest.raises(ClientError) as caught:
        call(**request)
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_an_object_comes_back_with_all_that_was_said_about_it(s3, bucket: str):
    put = s3.put_object(
        **{"Bucket": bucket, "Key": "photos/a dog.jpg", "Body": b"jpeg", "ContentType": "image/jpeg"},
        **{"Metadata": {"breed": "beagle"}, "CacheControl": "max-age=5", "Tagging": "split=train&n=1"},
    )
    got = s3.get_object(Bucket=bucket, Key="photos/a dog.jpg", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"jpeg"
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(b"jpeg").hexdigest()}"'
    assert (got["ContentType"], got["Metadata"], got["CacheControl"]) == (
        "image/jpeg",
        {"breed": "beagle"},
        "max-age=5",
    )
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"]
    head = s3.head_object(Bucket=bucket, Key="photos/a dog.jpg")
    assert (head["ContentLength"], head["LastModified"]) == (4, got["LastModified"])
    tags = s3.get_object_tagging(Bucket=bucket, Key="photos/a dog.jpg")["TagSet"]
    assert tags == [{"Key": "split", "Value": "train"}, {"Key": "n", "Value": "1"}]


def test_a_client_that_waits_for_continue_before_its_body_is_told_to(server, bucket: str):
    """botocore would wait a second for each put."""
    host = server.url.partition("//")[2]
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=HANG) as connection:
        sent = {"Host": host, "Expect": "100-continue", "Content-Length": "4"}
        sent |= signed("PUT", f"{server.url}/{bucket}/k", "s3", b"data")
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        connection.sendall(f"PUT /{bucket}/k HTTP/1.1\r\n{head}\r\n".encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"data")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_body_that_differs_from_its_checksum_is_refused_and_leaves_nothing(s3, bucket: str, algorithm: str):
    wrong = {"CRC32": "AAAAAA==", "SHA1": "A" * 27 + "=", "SHA256": "A" * 43 + "="}[algorithm]
    refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"data", **{f"Checksum{algorithm}": wrong})
    refused("404", 404, s3.head_object, Bucket=bucket, Key="k")


def test_a_stream_with_a_trailing_checksum_is_stored_without_its_framing(s3, bucket: str):
    with open(os.devnull, "rb"):
        s3.upload_fileobj(io.BytesIO(b"streamed" * 1000), bucket, "stream")
    assert s3.get_object(Bucket=bucket, Key="stream")["Body"].read() == b"streamed" * 1000
    assert "ContentEncoding" not in s3.head_object(Bucket=bucket, Key="stream")


@pytest.mark.parametrize(
    ("asked", "expected", "shown"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-500", b"56789", "bytes 5-9/10"),
        ("bytes=-500", b"0123456789", "bytes 0-9/10"),
    ],
)
def test_a_range_gives_that_part(s3, bucket: str, asked: str, expected: bytes, shown: str):
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="digits", Range=asked)
    assert (got["Body"].read(), got["ContentRange"]) == (expected, shown)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_outside_the_object_is_refused(s3, bucket: str):
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="digits", Range="bytes=10-")


def test_conditions_protect_against_overwriting_and_against_rereading(s3, bucket: str):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"other"')
    refused("NoSuchKey", 404, s3.put_object, Bucket=bucket, Key="new", Body=b"2", IfMatch=etag)
    refused("304", 304, s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    refused("PreconditionFailed", 412, s3.get_object, Bucket=bucket, Key="k", IfMatch='"other"')
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)["ETag"] != etag


def test_a_file_beyond_the_multipart_threshold_goes_up_and_down_in_parts(s3, bucket: str, tmp_path: Path):
    content = os.urandom(17 * MIB + 123)
    (tmp_path / "up").write_bytes(content)
    s3.upload_file(str(tmp_path / "up"), bucket, "big", ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-3"') and head["Metadata"] == {"a": "b"}
    s3.download_file(bucket, "big", str(tmp_path / "down"), Config=TransferConfig(multipart_threshold=MIB))
    assert (tmp_path / "down").read_bytes() == content
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=TransferConfig(multipart_threshold=MIB))
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == content
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_uploads_under_way_are_listed_in_pages_by_key_and_beginning(s3, bucket: str):
    keys = ["b", "a", "b", "other", "a&é", "b", "a"]
    ids = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys]
    begun = sorted(zip(keys, range(len(keys)), ids, strict=True))
    asked = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    found = [[(upload["Key"], upload["UploadId"]) for upload in page["Uploads"]] for page in asked]
    assert [len(page) for page in found] == [2, 2, 2, 1]
    assert sum(found, []) == [(key, upload_id) for key, _, upload_id in begun]
    s3.abort_multipart_upload(Bucket=bucket, Key="b", UploadId=ids[2])
    left = s3.list_multipart_uploads(Bucket=bucket, Prefix="b", KeyMarker="b", UploadIdMarker=ids[0])["Uploads"]
    assert [upload["UploadId"] for upload in left] == [ids[5]]
    after = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="b", EncodingType="url")["Uploads"]
    assert [upload["Key"] for upload in after] == ["other"]


def test_a_multipart_upload_is_refused_part_by_part(s3, bucket: str):
    upload = {"Bucket": bucket, "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    etags = [s3.upload_part(**upload, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)]
    assert [part["Size"] for part in s3.list_parts(**upload)["Parts"]] == [5, 5]
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]

    def completed(chosen: list[dict]) -> dict:
        return {**upload, "MultipartUpload": {"Parts": chosen}}

    refused("EntityTooSmall", 400, s3.complete_multipart_upload, **completed(parts))
    refused("InvalidPartOrder", 400, s3.complete_multipart_upload, **completed(parts[::-1]))
    refused("InvalidPart", 400, s3.complete_multipart_upload, **completed([{"PartNumber": 1, "ETag": "no"}]))
    s3.abort_multipart_upload(**upload)
    refused("NoSuchUpload", 404, s3.upload_part, **upload, PartNumber=1, Body=b"late")
    refused("404", 404, s3.head_object, Bucket=bucket, Key="k")


def test_pages_of_a_listing_hold_every_key_and_prefix_once(s3, bucket: str):
    keys = sorted([f"a/{n}" for n in range(5)] + [f"b{n}/x/y" for n in range(4)] + ["c", "d+e é", "a"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [item["Key"] for page in pages for item in page["Contents"]] == keys
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
        found = [
            [i["Key"] for i in p.get("Contents", [])] + [i["Prefix"] for i in p.get("CommonPrefixes", [])]
            for p in pages
        ]
        assert sorted(sum(found, [])) == ["a", "a/", "b0/", "b1/", "b2/", "b3/", "c", "d+e é"]
    other = s3.list_objects_v2(Bucket=bucket, Delimiter="/x")
    assert [item["Prefix"] for item in other["CommonPrefixes"]] == ["b0/x", "b1/x", "b2/x", "b3/x"]
    assert [i["Key"] for i in s3.list_objects_v2(Bucket=bucket, StartAfter="b3/x/y")["Contents"]] == ["c", "d+e é"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="a/", MaxKeys=2)["IsTruncated"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="zzz")["KeyCount"] == 0


def test_a_copy_keeps_or_replaces_the_metadata(s3, bucket: str):
    s3.put_object(Bucket=bucket, Key="from me", Body=b"data", Metadata={"a": "1"}, ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "from me"}
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="replaced", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket=bucket, Key="kept")["Metadata"] == {"a": "1"}
    assert s3.head_object(Bucket=bucket, Key="replaced")["Metadata"] == {"b": "2"}
    refused("InvalidRequest", 400, s3.copy_object, Bucket=bucket, Key="from me", CopySource=source)
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "none"})


def test_many_objects_are_deleted_at_once_and_a_full_bucket_is_not(s3, bucket: str):
    for key in ("a", "a/b", "a/"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)
    wanted = {"Objects": [{"Key": key} for key in ("a", "a/b", "a/", "never was")]}
    assert len(s3.delete_objects(Bucket=bucket, Delete=wanted)["Deleted"]) == 4
    s3.delete_bucket(Bucket=bucket)
    refused("404", 404, s3.head_bucket, Bucket=bucket)
    refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=bucket)
    assert bucket not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_keys_that_try_to_leave_the_bucket_stay_in_it(server, s3, bucket: str):
    for key in ("../../escaped", "/etc/passwd", "a/../../../b", "nul\x01"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/../../../etc/passwd")
    assert caught.value.code in (400, 403, 404)


def test_a_presigned_url_works_both_ways_without_credentials(s3, bucket: str):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "shared"})
    assert requests.put(url, b"by url", timeout=HANG).ok
    url = s3.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "shared", "ResponseContentType": "text/x-made-up"}
    )
    with urllib.request.urlopen(url) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"by url", "text/x-made-up")


def test_bucket_settings_are_kept_or_refused_never_ignored(s3, bucket: str):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    enabled = {"Status": "Enabled"}
    refused("NotImplemented", 501, s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=enabled)
    refused("NotImplemented", 501, s3.get_bucket_request_payment, Bucket=bucket)


def test_an_older_client_with_signed_payloads_and_v1_listing_works(server, bucket: str):
    config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    older = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=config)
    older.put_object(Bucket=bucket, Key="old", Body=b"plain")
    assert older.get_object(Bucket=bucket, Key="old")["Body"].read() == b"plain"
    resource = boto3.resource("s3", endpoint_url=server.url, region_name="us-east-1")
    assert [item.key for item in resource.Bucket(bucket).objects.all()] == ["old"]


def test_a_refused_upload_leaves_the_connection_usable(server, bucket: str):
    """The body of a request that is refused before it is read must not become the next request."""
    import http.client

    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=HANG)
    for size in (1000, 100_000, 3 * MIB):
        body = b"GET / HTTP/1.1\r\n\r\n" + b"x" * size
        missing, listing = f"{server.url}/no-such-bucket/key", f"{server.url}/{bucket}?list-type=2"
        connection.request("PUT", "/no-such-bucket/key", body, signed("PUT", missing, "s3", body))
        assert b"NoSuchBucket" in connection.getresponse().read()
        connection.request("GET", f"/{bucket}?list-type=2", headers=signed("GET", listing, "s3"))
        assert b"<ListBucketResult" in connection.getresponse().read()
    connection.close()
