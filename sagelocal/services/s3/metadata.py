"""What a file cannot say of itself: ETag, content type, user metadata, checksums, tags.

A record holds for the very file it was written for (its inode, time and size). Jobs put files into the tree without
one, so a file without a record, or with another file's, gets the plain answers and the MD5 of its content, which the
index of keys remembers.
"""

import hashlib
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.stamp import file_stamp
from sagelocal.services.s3 import rows
from sagelocal.services.s3.documents import OBJECT_RECORD, ObjectRecord
from sagelocal.services.s3.index import changing
from sagelocal.services.s3.rows import Described

DEFAULT_CONTENT_TYPE = "binary/octet-stream"  # S3's own default

KEPT_HEADERS = ("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires")


def new_record(content_type: str | None = None, etag: str = "") -> ObjectRecord:
    """A record with nothing special in it. etag: without quotes."""
    return {
        "etag": etag,
        "content_type": content_type or DEFAULT_CONTENT_TYPE,
        "headers": {},
        "user": {},
        "checksums": {},
        "tags": {},
        "modified": time.time(),
    }


def save(context: Context, bucket: str, key: str, path: Path, record: ObjectRecord) -> Described:
    """Keep the record of a file; the answer is what a listing says of it."""
    status = os.stat(path)
    stamped: ObjectRecord = {**record, "stamp": file_stamp(status)}
    context.store.put(OBJECT_RECORD, f"{bucket}/{key}", stamped)
    return _described(record, status)


def load(context: Context, bucket: str, key: str, path: Path) -> ObjectRecord:
    """The record of an object; the ETag is always there."""
    status = os.stat(path)
    record, known = _load(context, bucket, key, path, status)
    if not known:
        _complete(context, bucket, {key: _described(record, status)}, {key: path})
    return record


def describe(context: Context, bucket: str, paths: dict[str, Path]) -> dict[str, Described]:
    """What a listing says of objects, by their keys; the index knows it from now on. Left out: what is gone."""
    found = {}
    for key, path in paths.items():
        with suppress(FileNotFoundError):
            status = os.stat(path)
            found[key] = _described(_load(context, bucket, key, path, status)[0], status)
    _complete(context, bucket, found, paths)
    return found


def _load(context: Context, bucket: str, key: str, path: Path, status: os.stat_result) -> tuple[ObjectRecord, bool]:
    """The record of a file, and whether it or its ETag was known."""
    stamp = file_stamp(status)
    record = context.store.get(OBJECT_RECORD, f"{bucket}/{key}")
    if record is not None and record.get("stamp") == stamp:
        return record, True
    known = rows.etag(context, bucket, key, stamp)
    record = new_record(etag=known or _md5(path))
    record["modified"] = status.st_mtime
    return record, known is not None


def _complete(context: Context, bucket: str, found: dict[str, Described], paths: dict[str, Path]) -> None:
    """Complete the rows of objects, but of those that are another file by now."""
    with changing(context), suppress(sqlite3.Error):  # a full disk keeps no row; it is made again at the next look
        same = [(key, row) for key, row in found.items() if _stamp(paths[key]) == row.stamp]
        rows.describe(context, bucket, same)


def _stamp(path: Path) -> str:
    try:
        return file_stamp(os.stat(path))
    except FileNotFoundError:
        return ""


def undescribed(path: Path) -> Described:
    """What a listing says of a file that was not read yet."""
    status = os.stat(path)
    return Described(file_stamp(status), status.st_size)


def forget(context: Context, bucket: str, key: str) -> None:
    context.store.delete(OBJECT_RECORD, f"{bucket}/{key}")


def _described(record: ObjectRecord, status: os.stat_result) -> Described:
    checksums = list(record["checksums"])
    return Described(file_stamp(status), status.st_size, record["modified"], record["etag"], checksums)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
