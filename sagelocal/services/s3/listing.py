"""ListObjects, ListObjectsV2 and ListObjectVersions: pages of keys and common prefixes."""

import base64
from collections.abc import Callable
from functools import partial
from string import ascii_letters, digits
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.s3 import pages, xml

MOST = 1000
PLAIN = f"{ascii_letters}{digits}_.~/-".encode()  # what encoding-type=url leaves as it is

OBJECT = (
    '<{element}><Key>%b</Key><LastModified>%b</LastModified><ETag>"%b"</ETag>%b<Size>%d</Size>'
    "<StorageClass>STANDARD</StorageClass>{also}</{element}>"
)
PREFIX = b"<CommonPrefixes><Prefix>%b</Prefix></CommonPrefixes>"

# Keys as encoding-type=url wants them: as `quote` does, but a page at once.
quoted = xml.replacing({byte: b"%%%02X" % byte for byte in (ord("%"), *range(255)) if byte not in PLAIN})


def list_v1(context: Context, bucket: str, request: Request) -> Response:
    marker = request.args.get("marker", "")
    content, last, _ = _listed(context, bucket, request, marker, marker)
    content["Marker"] = encoder(request)(marker)
    told = content["IsTruncated"] and request.args.get("delimiter")
    content["NextMarker"] = encoder(request)(last) if told else None
    return xml.answer("ListBucketResult", content)


def list_v2(context: Context, bucket: str, request: Request) -> Response:
    token = request.args.get("continuation-token")
    start_after = request.args.get("start-after", "")
    last = _from_token(token) if token is not None else ""
    content, end, count = _listed(context, bucket, request, last or start_after, last)
    content["KeyCount"] = count
    content["StartAfter"] = encoder(request)(start_after) if start_after else None
    content["ContinuationToken"] = token
    content["NextContinuationToken"] = _to_token(end) if content["IsTruncated"] else None
    return xml.answer("ListBucketResult", content)


def list_versions(context: Context, bucket: str, request: Request) -> Response:
    """Without versioning each object has the one version "null"."""
    marker = request.args.get("key-marker", "")
    also = "<VersionId>null</VersionId><IsLatest>true</IsLatest>"
    content, last, _ = _listed(context, bucket, request, marker, marker, "Version", also)
    content["NextKeyMarker"] = encoder(request)(last) if content["IsTruncated"] else None
    return xml.answer("ListVersionsResult", content)


def _listed(
    context: Context, bucket: str, request: Request, after: str, past: str, element: str = "Contents", also: str = ""
) -> tuple[Json, str, int]:
    """(what all three answer, the last key or prefix of this page, how many there are). Prefixes up to `past` were
    listed before. element: what an object is called; also: XML that is in each."""
    most, encode = limit(request, "max-keys"), encoder(request)
    prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
    asked = pages.Asked(prefix, delimiter, after, again=bool(past))
    found = pages.page(context, bucket, asked, most + 1 if most else 0)
    entries = found[:most]
    written = quoted if _is_quoted(request) else xml.escaped
    objects = [entry for entry in entries if entry[1] is not None]
    prefixes = written([entry[0] for entry in entries if entry[1] is None])
    content = {
        "Name": bucket,
        "Prefix": encode(prefix),
        "Delimiter": encode(delimiter) if delimiter else None,
        "MaxKeys": most,
        "EncodingType": request.args.get("encoding-type"),
        "IsTruncated": len(found) > most,
        element: _objects(objects, written([entry[0] for entry in objects]), element, also),
        "CommonPrefixes": xml.Written(b"".join([PREFIX % text for text in prefixes])),
    }
    return content, entries[-1][0].decode() if entries else "", len(entries)


def _objects(objects: list[pages.Entry], names: list[bytes], element: str, also: str) -> xml.Written:
    """The elements of objects. There are up to a thousand in a page, so they are written without detours."""
    algorithms = {checksums: _algorithms(checksums) for checksums in {entry[-1] for entry in objects}}
    form = OBJECT.format(element=element, also=also).encode()
    return xml.Written(
        b"".join(
            [
                form
                % (name, xml.time_text(modified or 0.0).encode(), (etag or "").encode(), algorithms[checksums], size)
                for name, (_, size, modified, etag, checksums) in zip(names, objects, strict=True)
            ]
        )
    )


def _algorithms(checksums: str | None) -> bytes:
    names = checksums.upper().split() if checksums else []
    return "".join(f"<ChecksumAlgorithm>{name}</ChecksumAlgorithm>" for name in names).encode()


def encoder(request: Request) -> Callable[[str], str]:
    """How keys are shown in an answer."""
    return partial(quote, safe="/") if _is_quoted(request) else str


def _is_quoted(request: Request) -> bool:
    return request.args.get("encoding-type") == "url"


def limit(request: Request, name: str) -> int:
    """How many are asked for by the parameter of that name, a thousand at most. Raises InvalidArgument."""
    text = request.args.get(name, str(MOST))
    if not text.isdecimal() or len(text) > len(str(2**31)):
        raise AwsError("InvalidArgument", f"Provided {name} not an integer or within integer range: {text}", 400)
    return min(int(text), MOST)


def _to_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect", 400) from None
