"""Objects whose key is made from their content.

One that is there is used again only where its SHA-256 is that of ours: whoever may write the bucket could have put
another one there. S3 computes that hash itself, of the bytes that it stores.
"""

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from pipeline.errors import UserError

PART = 8 << 20
MAX_PARTS = 10_000  # source: Amazon S3 user guide, multipart upload limits
AT_A_TIME = 8


def put(s3: Any, bucket: str, key: str, content: bytes) -> None:
    """Store `content` unless it is there."""
    checksum = sha256(content)
    if _stored(s3, bucket, key) != checksum:
        s3.put_object(Bucket=bucket, Key=key, Body=content, ChecksumSHA256=checksum)


def put_all(s3: Any, bucket: str, prefix: str, contents: Mapping[str, bytes]) -> None:
    """Store all of a prefix (name → content) unless it is there. Raises UserError where the prefix holds more."""
    check_alone(s3, bucket, prefix, contents)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda name: put(s3, bucket, prefix + name, contents[name]), contents))


def put_file(s3: Any, bucket: str, key: str, path: Path, sent: Callable[[int], object] | None = None) -> None:
    """Store a file of any size unless it is there. `sent`: called with each number of bytes. Raises UserError."""
    size = path.stat().st_size
    part = PART
    while size > part * MAX_PARTS:
        part *= 2
    checksum = _checksum(path, size, part)
    if _stored(s3, bucket, key) == checksum:
        return
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=part)
    s3.upload_file(str(path), bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Callback=sent, Config=config)
    if _stored(s3, bucket, key) != checksum:
        raise UserError(f"s3://{bucket}/{key} is not what {path} was.", "Let nobody write either, and upload it again.")


def check_alone(s3: Any, bucket: str, prefix: str, names: Collection[str]) -> None:
    """Raise UserError where a prefix holds other objects than `names`: a job would be given those too."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if entry["Key"].removeprefix(prefix) not in names:
                what = f"s3://{bucket}/{entry['Key']} is not ours, and jobs would be given it."
                raise UserError(what, "Find out who put it there, and delete it.")


def exists(s3: Any, bucket: str, key: str) -> bool:
    """Whether there is an object of that key, whatever is in it."""
    return _head(s3, bucket, key) is not None


def sha256(content: bytes) -> str:
    """As S3 and Lambda write it."""
    return _base64(hashlib.sha256(content).digest())


def _stored(s3: Any, bucket: str, key: str) -> str | None:
    """The object's SHA-256 as S3 gives it; None where there is no object, or no such hash of it."""
    checksum: str | None = (_head(s3, bucket, key) or {}).get("ChecksumSHA256")
    return checksum


def _head(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return found


def _checksum(path: Path, size: int, part: int) -> str:
    """As S3 computes it: of an object of several parts the hash of the parts' hashes, and how many there are."""
    with path.open("rb") as file:
        if size < PART:
            return _base64(hashlib.file_digest(file, "sha256").digest())
        sums = [hashlib.sha256(block).digest() for block in iter(lambda: file.read(part), b"")]
    return f"{_base64(hashlib.sha256(b''.join(sums)).digest())}-{len(sums)}"


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
