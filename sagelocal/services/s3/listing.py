"""ListObjects, ListObjectsV2 and ListObjectVersions: pages of keys and common prefixes."""

import base64
import re
from collections.abc import Callable
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.services.s3 import pages, xml

MAX_KEYS = 1000
PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")  # what encoding-type=url leaves as it is


def list_v1(context: Context, bucket: str, request: Request) -> Response:
    marker = request.args.get("marker", "")
    content, last, _ = _listed(context, bucket, request, marker, marker)
    content["Marker"] = _encoder(request)(marker)
    told = content["IsTruncated"] and request.args.get("delimiter")
    content["NextMarker"] = _encoder(request)(last) if told else None
    return xml.answer("ListBucketResult", content)


def list_v2(context: Context, bucket: str, request: Request) -> Response:
    token = request.args.get("continuation-token")
    start_after = request.args.get("start-after", "")
    last = _from_token(token) if token is not None else ""
    content, end, count = _listed(context, bucket, request, last or start_after, last)
    content["KeyCount"] = count
    content["StartAfter"] = _encoder(request)(start_after) if start_after else None
    content["ContinuationToken"] = token
    content["NextContinuationToken"] = _to_token(end) if content["IsTruncated"] else None
    return xml.answer("ListBucketResult", content)


def list_versions(context: Context, bucket: str, request: Request) -> Response:
    """Without versioning each object has the one version "null"."""
    marker = request.args.get("key-marker", "")
    also = "<VersionId>null</VersionId><IsLatest>true</IsLatest>"
    content, last, _ = _listed(context, bucket, request, marker, marker, "Version", also)
    content["NextKeyMarker"] = _encoder(request)(last) if content["IsTruncated"] else None
    return xml.answer("ListVersionsResult", content)


def _listed(
    context: Context, bucket: str, request: Request, after: str, past: str, element: str = "Contents", also: str = ""
) -> tuple[Json, str, int]:
    """(what all three answer, the last key or prefix of this page, how many there are). Prefixes up to `past` were
    listed before. element: what an object is called; also: XML that is in each."""
    limit, encode = _max_keys(request), _encoder(request)
    prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
    asked = pages.Asked(prefix, delimiter, after, again=bool(past))
    found = pages.page(context, bucket, asked, limit + 1 if limit else 0)
    entries = found[:limit]
    objects = (_object(entry, encode(entry.key), element, also) for entry in entries if isinstance(entry, pages.Row))
    content = {
        "Name": bucket,
        "Prefix": encode(prefix),
        "Delimiter": encode(delimiter) if delimiter else None,
        "MaxKeys": limit,
        "EncodingType": request.args.get("encoding-type"),
        "IsTruncated": len(found) > limit,
        element: xml.Written("".join(objects)),
        "CommonPrefixes": [{"Prefix": encode(entry)} for entry in entries if isinstance(entry, str)],
    }
    last = entries[-1] if entries else ""
    return content, last if isinstance(last, str) else last.key, len(entries)


def _object(row: pages.Row, shown: str, element: str, also: str) -> str:
    """The element of an object. There are up to a thousand in a page, so it is written without detours."""
    algorithms = "".join(f"<ChecksumAlgorithm>{name.upper()}</ChecksumAlgorithm>" for name in row.checksums)
    return (
        f"<{element}><Key>{xml.text(shown)}</Key><LastModified>{xml.time_text(row.modified)}</LastModified>"
        f'<ETag>"{row.etag}"</ETag>{algorithms}<Size>{row.size}</Size><StorageClass>STANDARD</StorageClass>'
        f"{also}</{element}>"
    )


def _encoder(request: Request) -> Callable[[str], str]:
    if request.args.get("encoding-type") == "url":
        return lambda text: text if PLAIN.fullmatch(text) else quote(text, safe="/")
    return lambda text: text


def _max_keys(request: Request) -> int:
    text = request.args.get("max-keys", str(MAX_KEYS))
    if not is_whole(text):
        raise AwsError("InvalidArgument", f"Provided max-keys not an integer or within integer range: {text}", 400)
    return min(int(text), MAX_KEYS)


def _to_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect", 400) from None
