"""GetObject and HeadObject: conditions, ranges, and files that stream."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from werkzeug.http import http_date, parse_date
from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import metadata, tree
from sagelocal.services.s3.documents import ObjectRecord

BLOCK = 1 << 18


def get(context: Context, bucket: str, key: str, request: Request) -> Response:
    """The object, or the part of it that Range asks for; for HEAD the headers alone."""
    with tree.changing(context):
        path = tree.find(context, bucket, key)
        record = metadata.load(context, bucket, key, path)
        file = path.open("rb")
    try:
        size = file.seek(0, os.SEEK_END)
        if not_modified(request, record):
            file.close()
            return Response(status=304, headers=_headers(record, request))
        wanted = byte_range(request.headers.get("Range", ""), size)
        headers = _headers(record, request)
        if wanted is None:
            first, length = 0, size
            if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
                headers |= checksum_headers(record)
        else:
            first, length = wanted
            headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
    except BaseException:
        file.close()
        raise
    headers["Content-Length"] = str(length)
    if request.method == "HEAD":
        file.close()
        body: Iterator[bytes] = iter(())
    else:
        body = _blocks(file, first, length)
    answer = Response(body, 200 if wanted is None else 206, headers, direct_passthrough=True)
    answer.automatically_set_content_length = False
    return answer


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(first byte, length) of a Range header, None for the whole object. Raises InvalidRange.

    As S3: several ranges, or what is no byte range at all, give the whole object.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header)
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first >= size or last < first:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", 416)
    return first, last - first + 1


def not_modified(request: Request, record: ObjectRecord) -> bool:
    """Whether the answer is 304. Raises PreconditionFailed. Order of the four headers: RFC 9110 section 13.2.2."""
    asked = request.headers
    modified = int(record["modified"])
    if "If-Match" in asked:
        if not etag_in(asked["If-Match"], record["etag"]):
            raise precondition_failed("If-Match")
    elif (since := parse_date(asked.get("If-Unmodified-Since"))) and modified > since.timestamp():
        raise precondition_failed("If-Unmodified-Since")
    if "If-None-Match" in asked:
        return etag_in(asked["If-None-Match"], record["etag"])
    since = parse_date(asked.get("If-Modified-Since"))
    return since is not None and modified <= since.timestamp()


def etag_in(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in [part.strip().strip('"') for part in header.split(",")]


def precondition_failed(condition: str) -> AwsError:
    return AwsError(
        "PreconditionFailed", f"At least one of the pre-conditions you specified did not hold: {condition}", 412
    )


def checksum_headers(record: Mapping[str, Any]) -> dict[str, str]:
    headers = {f"x-amz-checksum-{algorithm}": value for algorithm, value in record["checksums"].items()}
    if headers:
        composite = any("-" in value for value in headers.values())
        headers["x-amz-checksum-type"] = "COMPOSITE" if composite else "FULL_OBJECT"
    return headers


def _headers(record: ObjectRecord, request: Request) -> dict[str, str]:
    headers = {
        "ETag": f'"{record["etag"]}"',
        "Last-Modified": http_date(record["modified"]),
        "Accept-Ranges": "bytes",
        "Content-Type": record["content_type"],
        **record["headers"],
        **{f"x-amz-meta-{name}": value for name, value in record["user"].items()},
    }
    if record["tags"]:
        headers["x-amz-tagging-count"] = str(len(record["tags"]))
    for name in ("Content-Type", *metadata.KEPT_HEADERS):
        override = request.args.get(f"response-{name.lower()}")
        if override and "\n" not in override and "\r" not in override:
            headers[name] = override
    return headers


def _blocks(file: BinaryIO, first: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while length:
            block = file.read(min(length, BLOCK))
            if not block:
                return
            length -= len(block)
            yield block
