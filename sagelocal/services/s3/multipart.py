"""Multipart uploads: parts as files of their own under `s3/.uploads/<upload id>/`, joined when the upload completes.

An upload appears and goes as a whole, and a part is there when its note `<number>.json` is, which names its file.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.s3 import bodies, listing, metadata, notifications, reading, sources, tree, writing, xml

MIN_PART_BYTES = 5 << 20  # of every part but the last
MAX_PARTS = 10_000
NOTE = "upload.json"


def create(context: Context, bucket: str, key: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    upload_id = f"{time.time_ns():016x}{secrets.token_hex(8)}"  # those of a key are listed as they began
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").lower()
    kind = request.headers.get("x-amz-checksum-type") or ("FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE")
    upload = {"bucket": bucket, "key": key, "started": time.time(), "algorithm": algorithm, "checksum_type": kind}
    upload["record"] = writing.record_from_headers(request)
    prepared = tree.incoming(context)
    prepared.mkdir()
    (prepared / NOTE).write_text(json.dumps(upload))
    uploads(context).mkdir(exist_ok=True)
    prepared.rename(uploads(context) / upload_id)
    answer = xml.answer("InitiateMultipartUploadResult", {"Bucket": bucket, "Key": key, "UploadId": upload_id})
    if algorithm:
        answer.headers["x-amz-checksum-algorithm"] = algorithm.upper()
        answer.headers["x-amz-checksum-type"] = kind
    return answer


def upload_part(context: Context, bucket: str, key: str, request: Request) -> Response:
    directory, _ = _upload(context, bucket, key, request)
    number = _part_number(request)
    received = bodies.receive(context, request)
    part = {"etag": received.md5, "size": received.size, "checksums": received.checksums, "modified": time.time()}
    _keep_part(context, directory, number, received.path, part)
    return Response(headers={"ETag": f'"{received.md5}"', **reading.checksum_headers(part)})


def copy_part(context: Context, bucket: str, key: str, request: Request) -> Response:
    directory, _ = _upload(context, bucket, key, request)
    number = _part_number(request)
    from_bucket, from_key = sources.named(request)
    source = tree.find(context, from_bucket, from_key)
    sources.check(request, metadata.load(context, from_bucket, from_key, source))
    size = source.stat().st_size
    header = request.headers.get("x-amz-copy-source-range", "")
    first, length = reading.byte_range(header, size) or (0, size)
    digest = hashlib.md5(usedforsecurity=False)
    now = time.time()
    with tree.unfinished(context) as temporary:
        with source.open("rb") as file, temporary.open("wb") as target:
            file.seek(first)
            while length and (block := file.read(min(length, bodies.BLOCK))):
                target.write(block)
                digest.update(block)
                length -= len(block)
        part = {"etag": digest.hexdigest(), "size": temporary.stat().st_size, "checksums": {}, "modified": now}
        _keep_part(context, directory, number, temporary, part)
    content = {"LastModified": xml.time_text(now), "ETag": f'"{digest.hexdigest()}"'}
    return xml.answer("CopyPartResult", content)


def complete(context: Context, bucket: str, key: str, request: Request) -> Response:
    directory, upload = _upload(context, bucket, key, request)
    parts = _wanted_parts(directory, xml.parse(request.get_data()))
    record = upload["record"]
    digests = b"".join(bytes.fromhex(part["etag"]) for part in parts)
    record["etag"] = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    record["modified"] = time.time()
    record["upload"] = directory.name
    with tree.unfinished(context) as temporary:
        _join([directory / part["file"] for part in parts], temporary)
        record["checksums"] = _checksums(upload, parts, temporary, request)
        with tree.changing(context):
            writing.check_conditions(context, bucket, key, request)
            path = tree.commit(context, bucket, key, temporary, record)
            notifications.object_created(context, bucket, key, path, record["etag"], "CompleteMultipartUpload")
    tree.discard(context, directory)
    location = f"{context.url}/{bucket}/{key}"
    content = {"Location": location, "Bucket": bucket, "Key": key, "ETag": f'"{record["etag"]}"'}
    content |= {f"Checksum{algorithm.upper()}": value for algorithm, value in record["checksums"].items()}
    return xml.answer("CompleteMultipartUploadResult", content)


def abort(context: Context, bucket: str, key: str, request: Request) -> Response:
    directory, _ = _upload(context, bucket, key, request)
    tree.discard(context, directory)
    return Response(status=204)


def list_parts(context: Context, bucket: str, key: str, request: Request) -> Response:
    directory, _ = _upload(context, bucket, key, request)
    after = int(request.args.get("part-number-marker", 0))
    limit = min(int(request.args.get("max-parts", 1000)), 1000)
    found = [(number, part) for number, part in sorted(_parts(directory).items()) if number > after]
    shown = [
        {
            "PartNumber": number,
            "LastModified": xml.time_text(part["modified"]),
            "ETag": f'"{part["etag"]}"',
            "Size": part["size"],
            **{f"Checksum{algorithm.upper()}": value for algorithm, value in part["checksums"].items()},
        }
        for number, part in found[:limit]
    ]
    content = {"Bucket": bucket, "Key": key, "UploadId": request.args["uploadId"], "MaxParts": limit}
    content |= {"PartNumberMarker": after, "IsTruncated": len(found) > limit, "Part": shown}
    content["NextPartNumberMarker"] = shown[-1]["PartNumber"] if shown else None
    return xml.answer("ListPartsResult", content)


def list_uploads(context: Context, bucket: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    prefix, limit, encode = (
        request.args.get("prefix", ""),
        listing.limit(request, "max-uploads"),
        listing.encoder(request),
    )
    key_marker, id_marker = request.args.get("key-marker", ""), request.args.get("upload-id-marker", "")
    after = (key_marker, id_marker or "g")  # no id sorts behind a "g"
    found = sorted(
        (key, upload_id, started)
        for upload_id, (where, key, started) in _all_begun(context)
        if where == bucket and key.startswith(prefix) and (key, upload_id) > after
    )
    shown = found[:limit]
    content = {"Bucket": bucket, "KeyMarker": encode(key_marker), "UploadIdMarker": id_marker, "MaxUploads": limit}
    content |= {"Prefix": encode(prefix), "EncodingType": request.args.get("encoding-type")}
    content["IsTruncated"] = bool(shown) and len(found) > limit
    if content["IsTruncated"]:
        content |= {"NextKeyMarker": encode(shown[-1][0]), "NextUploadIdMarker": shown[-1][1]}
    content["Upload"] = [
        {"Key": encode(key), "UploadId": upload_id, "Initiated": xml.time_text(started)}
        for key, upload_id, started in shown
    ]
    return xml.answer("ListMultipartUploadsResult", content)


def _all_begun(context: Context) -> Iterator[tuple[str, tuple[str, str, float]]]:
    """The ids of all uploads, and where each is going since when."""
    directory = uploads(context)
    for upload_id in os.listdir(directory) if directory.is_dir() else ():
        with suppress(FileNotFoundError):  # completed or aborted meanwhile
            yield upload_id, _begun(f"{directory}/{upload_id}/{NOTE}")


@lru_cache(100_000)
def _begun(note: str) -> tuple[str, str, float]:
    """(bucket, key, seconds since 1970) of an upload, whose note never changes."""
    upload = json.loads(Path(note).read_text())
    return upload["bucket"], upload["key"], upload["started"]


def uploads(context: Context) -> Path:
    return context.state_dir / "s3" / ".uploads"


def _upload(context: Context, bucket: str, key: str, request: Request) -> tuple[Path, Json]:
    """The directory and the note of the upload that a request names. Raises NoSuchUpload."""
    tree.existing_bucket(context, bucket)
    upload_id = request.args["uploadId"]
    directory = uploads(context) / upload_id
    if re.fullmatch(r"[0-9a-f]{32}", upload_id) and (directory / NOTE).is_file():
        upload = json.loads((directory / NOTE).read_text())
        if (upload["bucket"], upload["key"]) == (bucket, key):
            return directory, upload
    message = "The specified upload does not exist. It may have been completed or aborted already."
    raise AwsError("NoSuchUpload", message, 404)


def _part_number(request: Request) -> int:
    text = request.args.get("partNumber", "")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PARTS:
        raise AwsError("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}: {text!r}", 400)
    return int(text)


def _keep_part(context: Context, directory: Path, number: int, temporary: Path, part: Json) -> None:
    part["file"] = f"{number}-{uuid.uuid4().hex}"
    with tree.changing(context), tree.unfinished(context) as note:
        place = directory / f"{number}.json"
        try:
            replaced = _part(place) if place.exists() else None
            temporary.replace(directory / part["file"])
            note.write_text(json.dumps(part))
            note.replace(place)
        except FileNotFoundError:
            temporary.unlink(missing_ok=True)
            raise AwsError("NoSuchUpload", "The upload was completed or aborted meanwhile.", 404) from None
        if replaced:
            (directory / replaced["file"]).unlink(missing_ok=True)


def _parts(directory: Path) -> dict[int, Json]:
    notes = (path for path in directory.glob("*.json") if path.stem.isdecimal())
    return {int(path.stem): _part(path) for path in notes}


def _part(note: Path) -> Json:
    part: Json = json.loads(note.read_text())
    return {"file": note.stem} | part


def _wanted_parts(directory: Path, wanted: ElementTree.Element) -> list[Json]:
    """The parts that the client names, in its order. Raises InvalidPart, InvalidPartOrder, EntityTooSmall."""
    there = _parts(directory)
    named = [(int(e.findtext("PartNumber", "0")), e.findtext("ETag", "").strip('"')) for e in wanted.iterfind("Part")]
    if not named:
        raise AwsError("MalformedXML", "A multipart upload is completed with at least one part.", 400)
    if any(earlier >= later for (earlier, _), (later, _) in pairwise(named)):
        raise AwsError("InvalidPartOrder", "The list of parts was not in ascending order.", 400)
    for number, etag in named:
        if number not in there or there[number]["etag"] != etag:
            raise AwsError("InvalidPart", f"Part {number} could not be found, or its ETag is not {etag!r}.", 400)
    parts = [there[number] for number, _ in named]
    for (number, _), part in zip(named[:-1], parts[:-1], strict=True):
        if part["size"] < MIN_PART_BYTES:
            message = f"Your proposed upload is smaller than the minimum allowed size: part {number} has {part['size']}"
            raise AwsError("EntityTooSmall", f"{message} bytes, {MIN_PART_BYTES} are needed.", 400)
    return parts


def _join(paths: list[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for path in paths:
            with path.open("rb") as part:
                shutil.copyfileobj(part, joined, 1 << 20)


def _checksums(upload: Json, parts: list[Json], joined: Path, request: Request) -> dict[str, str]:
    """The object's checksum: of the parts' checksums (COMPOSITE, ends in -<parts>) or of its bytes (FULL_OBJECT)."""
    algorithm = upload["algorithm"]
    if not algorithm:
        return {}
    if upload["checksum_type"] == "FULL_OBJECT":
        stated = request.headers.get(f"x-amz-checksum-{algorithm}")
        if algorithm not in bodies.VERIFIED:
            return {algorithm: stated} if stated else {}
        running = bodies.VERIFIED[algorithm]()
        with joined.open("rb") as file:
            while block := file.read(bodies.BLOCK):
                running.update(block)
        computed = base64.b64encode(running.digest()).decode()
        if stated and stated != computed:
            raise AwsError("BadDigest", f"The {algorithm.upper()} you specified did not match the joined parts.", 400)
        return {algorithm: computed}
    values = [part["checksums"].get(algorithm) for part in parts]
    if algorithm not in bodies.VERIFIED or None in values:
        return {}
    running = bodies.VERIFIED[algorithm]()
    for value in values:
        running.update(base64.b64decode(value or ""))
    return {algorithm: f"{base64.b64encode(running.digest()).decode()}-{len(parts)}"}
