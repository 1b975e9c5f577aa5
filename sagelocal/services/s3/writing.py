"""PutObject, CopyObject, DeleteObject(s) and an object's tags."""

import time
from contextlib import suppress
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call
from sagelocal.services.s3 import bodies, metadata, notifications, reading, sources, tree, xml
from sagelocal.services.s3.documents import ObjectRecord
from sagelocal.services.s3.permissions import object_arn

MAX_TO_DELETE = 1000


def put(context: Context, bucket: str, key: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    received = bodies.receive(context, request)
    record = record_from_headers(request)
    record["etag"], record["checksums"] = received.md5, received.checksums
    with tree.changing(context):
        try:
            check_conditions(context, bucket, key, request)
            path = tree.commit(context, bucket, key, received.path, record)
        except BaseException:
            received.path.unlink(missing_ok=True)
            raise
        notifications.object_created(context, bucket, key, path, received.md5, "PutObject")
    return Response(headers={"ETag": f'"{received.md5}"', **reading.checksum_headers(record)})


def copy(context: Context, bucket: str, key: str, request: Request) -> Response:
    """A copy shares the source's file: contents never change, so a hard link is a copy."""
    from_bucket, from_key = sources.named(request)
    replace = request.headers.get("x-amz-metadata-directive", "COPY") == "REPLACE"
    if (from_bucket, from_key) == (bucket, key) and not replace:
        message = "This copy request is illegal because it is trying to copy an object to itself without changing it."
        raise AwsError("InvalidRequest", message, 400)
    with tree.changing(context):
        source = tree.find(context, from_bucket, from_key)
        original = metadata.load(context, from_bucket, from_key, source)
        sources.check(request, original)
        check_conditions(context, bucket, key, request)
        record = record_from_headers(request) if replace else original.copy()
        record["modified"] = time.time()
        record["etag"], record["checksums"] = original["etag"], original["checksums"]
        if request.headers.get("x-amz-tagging-directive", "COPY") == "COPY":
            record["tags"] = original["tags"]
        with tree.unfinished(context) as temporary:
            tree.link(source, temporary)
            path = tree.commit(context, bucket, key, temporary, record)
        notifications.object_created(context, bucket, key, path, record["etag"], "CopyObject")
    content = {"LastModified": xml.time_text(record["modified"]), "ETag": f'"{record["etag"]}"'}
    return xml.answer("CopyObjectResult", content)


def delete(context: Context, bucket: str, key: str, request: Request) -> Response:
    remove(context, bucket, key, "DeleteObject")
    return Response(status=204)


def delete_many(context: Context, bucket: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    wanted = xml.parse(request.get_data())
    keys = [element.text or "" for element in wanted.iterfind("Object/Key")]
    if not 0 < len(keys) <= MAX_TO_DELETE:
        raise AwsError("MalformedXML", f"A delete request names 1 to {MAX_TO_DELETE} keys, this one {len(keys)}.", 400)
    deleted, errors = [], []
    for key in keys:
        try:
            enforcement.authorize(context, "s3", [Call("s3:DeleteObject", object_arn(bucket, key))])
            remove(context, bucket, key, "DeleteObjects")
            deleted.append({"Key": key})
        except AwsError as problem:
            errors.append({"Key": key, "Code": problem.code, "Message": problem.message})
    quiet = wanted.findtext("Quiet") == "true"
    return xml.answer("DeleteResult", {"Deleted": [] if quiet else deleted, "Error": errors})


def remove(context: Context, bucket: str, key: str, reason: str) -> None:
    """Delete an object; as in S3 it is no error when there is none. reason: the operation."""
    if tree.remove(context, bucket, key):
        notifications.object_deleted(context, bucket, key, reason, context.account)


def get_tags(context: Context, bucket: str, key: str, request: Request) -> Response:
    record = metadata.load(context, bucket, key, tree.find(context, bucket, key))
    tags = [{"Key": name, "Value": value} for name, value in record["tags"].items()]
    return xml.answer("Tagging", {"TagSet": {"Tag": tags}})


def put_tags(context: Context, bucket: str, key: str, request: Request) -> Response:
    wanted = xml.parse(request.get_data())
    tags = {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in wanted.iterfind("TagSet/Tag")}
    return _set_tags(context, bucket, key, tags, 200)


def delete_tags(context: Context, bucket: str, key: str, request: Request) -> Response:
    return _set_tags(context, bucket, key, {}, 204)


def _set_tags(context: Context, bucket: str, key: str, tags: dict[str, str], status: int) -> Response:
    with tree.changing(context):
        path = tree.find(context, bucket, key)
        record = metadata.load(context, bucket, key, path)
        metadata.save(context, bucket, key, path, {**record, "tags": tags})
    return Response(status=status)


def record_from_headers(request: Request) -> ObjectRecord:
    """What a client says about the object it puts: content type, kept headers, user metadata, tags."""
    record = metadata.new_record(request.headers.get("Content-Type"))
    for name in metadata.KEPT_HEADERS:
        if name in request.headers:
            record["headers"][name] = request.headers[name]
    encodings = [part.strip() for part in record["headers"].get("Content-Encoding", "").split(",")]
    if "aws-chunked" in encodings:
        encodings.remove("aws-chunked")
        record["headers"]["Content-Encoding"] = ",".join(encodings)
    if not record["headers"].get("Content-Encoding", "-"):
        del record["headers"]["Content-Encoding"]
    for name, value in request.headers.items():
        if name.lower().startswith("x-amz-meta-"):
            record["user"][name.lower().removeprefix("x-amz-meta-")] = value
    record["tags"] = dict(parse_qsl(request.headers.get("x-amz-tagging", ""), keep_blank_values=True))
    return record


def check_conditions(context: Context, bucket: str, key: str, request: Request) -> None:
    """If-Match and If-None-Match of a write, against the object that is there. Raises PreconditionFailed, NoSuchKey."""
    if "If-None-Match" in request.headers:
        with suppress(tree.NoSuchKey):
            tree.find(context, bucket, key)
            raise reading.precondition_failed("If-None-Match")
    if "If-Match" in request.headers:
        record = metadata.load(context, bucket, key, tree.find(context, bucket, key))
        if not reading.etag_in(request.headers["If-Match"], record["etag"]):
            raise reading.precondition_failed("If-Match")
