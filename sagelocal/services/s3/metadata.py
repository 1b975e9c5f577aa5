"""What a file cannot say of itself: ETag, content type, user metadata, checksums, tags.

A record holds for the very file it was written for (its inode, time and size). Jobs put files into the tree without
one, so a file without a record, or with another file's, gets the plain answers and the MD5 of its content, computed
once.
"""

import hashlib
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.services.s3.documents import OBJECT_RECORD, ObjectRecord

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


def save(context: Context, bucket: str, key: str, path: Path, record: ObjectRecord) -> None:
    stamped: ObjectRecord = {**record, "stamp": _stamp(path)}
    context.store.put(OBJECT_RECORD, f"{bucket}/{key}", stamped)


def load(context: Context, bucket: str, key: str, path: Path) -> ObjectRecord:
    """The record of an object; the ETag is always there."""
    record = context.store.get(OBJECT_RECORD, f"{bucket}/{key}")
    if record is None or record.get("stamp") != _stamp(path):
        record = new_record(etag=_md5(path))
        record["modified"] = path.stat().st_mtime
        with suppress(sqlite3.Error):  # a full disk keeps no record; it is made again at the next look
            save(context, bucket, key, path, record)
    return record


def forget(context: Context, bucket: str, key: str) -> None:
    context.store.delete(OBJECT_RECORD, f"{bucket}/{key}")


def _stamp(path: Path) -> str:
    status = os.stat(path)
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
