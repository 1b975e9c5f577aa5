"""ListObjects, ListObjectsV2 and ListObjectVersions: pages of keys and common prefixes."""

import base64
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.s3 import metadata, tree, xml

MAX_KEYS = 1000


Entry = tuple[str, Path | None]  # a key and its file, or a common prefix and None


def list_v1(context: Context, bucket: str, request: Request) -> Response:
    marker = request.args.get("marker", "")
    content, entries = _listed(context, bucket, request, marker, marker)
    last = entries[-1][0] if content["IsTruncated"] and request.args.get("delimiter") else None
    content["Marker"] = _encoder(request)(marker)
    content["NextMarker"] = _encoder(request)(last) if last else None
    return xml.answer("ListBucketResult", content)


def list_v2(context: Context, bucket: str, request: Request) -> Response:
    token = request.args.get("continuation-token")
    start_after = request.args.get("start-after", "")
    last = _from_token(token) if token is not None else ""
    content, entries = _listed(context, bucket, request, last or start_after, last)
    content["KeyCount"] = len(entries)
    content["StartAfter"] = _encoder(request)(start_after) if start_after else None
    content["ContinuationToken"] = token
    content["NextContinuationToken"] = _to_token(entries[-1][0]) if content["IsTruncated"] else None
    return xml.answer("ListBucketResult", content)


def list_versions(context: Context, bucket: str, request: Request) -> Response:
    """Without versioning each object has the one version "null"."""
    marker = request.args.get("key-marker", "")
    content, entries = _listed(context, bucket, request, marker, marker)
    content["Version"] = [item | {"VersionId": "null", "IsLatest": True} for item in content.pop("Contents")]
    content["NextKeyMarker"] = _encoder(request)(entries[-1][0]) if content["IsTruncated"] else None
    return xml.answer("ListVersionsResult", content)


def _listed(context: Context, bucket: str, request: Request, after: str, past: str) -> tuple[Json, list[Entry]]:
    """(what all three answer, the entries of this page). Prefixes up to `past` were listed before."""
    limit, encode = _max_keys(request), _encoder(request)
    prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
    found = list(islice(_rolled_up(context, bucket, prefix, delimiter, after, past), limit + 1)) if limit else []
    entries = found[:limit]
    described = [_described(context, bucket, key, path, encode(key)) for key, path in entries if path]
    content = {
        "Name": bucket,
        "Prefix": encode(prefix),
        "Delimiter": encode(delimiter) if delimiter else None,
        "MaxKeys": limit,
        "EncodingType": request.args.get("encoding-type"),
        "IsTruncated": len(found) > limit,
        "Contents": [item for item in described if item],
        "CommonPrefixes": [{"Prefix": encode(name)} for name, path in entries if path is None],
    }
    return content, entries


def _rolled_up(context: Context, bucket: str, prefix: str, delimiter: str, after: str, past: str) -> Iterator[Entry]:
    seen = ""
    for key, path in tree.walk(context, bucket, prefix, after, shallow=delimiter == "/"):
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            common = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            if common != seen and not (past and common <= past and past.startswith(common)):
                yield common, None
            seen = common
        else:
            yield key, path


def _described(context: Context, bucket: str, key: str, path: Path, shown: str) -> Json | None:
    try:
        record = metadata.load(context, bucket, key, path)
        size = path.stat().st_size
    except FileNotFoundError:  # deleted while we listed
        return None
    algorithms = [name.upper() for name in record["checksums"]]
    return {
        "Key": shown,
        "LastModified": xml.time_text(record["modified"]),
        "ETag": f'"{record["etag"]}"',
        "ChecksumAlgorithm": algorithms or None,
        "Size": size,
        "StorageClass": "STANDARD",
    }


def _encoder(request: Request) -> Callable[[str], str]:
    if request.args.get("encoding-type") == "url":
        return lambda text: quote(text, safe="/")
    return lambda text: text


def _max_keys(request: Request) -> int:
    text = request.args.get("max-keys", str(MAX_KEYS))
    if not text.isdecimal():
        raise AwsError("InvalidArgument", f"Provided max-keys not an integer or within integer range: {text}", 400)
    return min(int(text), MAX_KEYS)


def _to_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect", 400) from None
