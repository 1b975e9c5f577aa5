"""Objects by their s3:// URI, for everything inside the server: jobs, endpoints, functions and executions
read and write S3 here, without a socket. The files are those that the S3 service serves (see s3/tree.py).

Raises everywhere: tree.NoSuchBucket, tree.NoSuchKey, and ValidationException for what is no s3:// URI.
"""

import shutil
from pathlib import Path
from typing import BinaryIO

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.services.s3 import pages, tree
from sagelocal.services.s3.spelling import KeyTooLong as KeyTooLong
from sagelocal.services.s3.tree import NoSuchBucket as NoSuchBucket
from sagelocal.services.s3.tree import NoSuchKey as NoSuchKey


def parse_uri(uri: str) -> tuple[str, str]:
    """ "s3://bucket/a/key" -> ("bucket", "a/key"); the key may be empty."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValidationException(f"Not an S3 URI: {uri!r}. Write it as s3://bucket/key.")
    return bucket, key


def path(context: Context, uri: str) -> Path:
    """The file of an object, for reading only: whoever writes into it changes every hard link of it."""
    return tree.find(context, *parse_uri(uri))


def exists(context: Context, uri: str) -> bool:
    """Whether an object of exactly that key is there; False too when the bucket is not."""
    try:
        path(context, uri)
    except (NoSuchBucket, NoSuchKey):
        return False
    return True


def keys(context: Context, uri_prefix: str) -> list[str]:
    """Keys that start with the URI's key, sorted: a string prefix, as S3 has it ("data" also gives "database/x")."""
    bucket, prefix = parse_uri(uri_prefix)
    return pages.keys(context, bucket, prefix)


def read_bytes(context: Context, uri: str) -> bytes:
    return path(context, uri).read_bytes()


def link_in(context: Context, uri: str, destination: Path) -> None:
    """Put an object's content at `destination` as a hard link (a copy on another device), making its directories."""
    source = path(context, uri)
    destination.parent.mkdir(parents=True, exist_ok=True)
    tree.link(source, destination)


def store_file(context: Context, uri: str, source: Path) -> None:
    """Make a file the object's content, atomically. Hard-linked where possible: do not write into it afterwards."""
    with tree.replacing(context, *parse_uri(uri)) as temporary:
        tree.link(source, temporary)


def copy_in(context: Context, uri: str, source: BinaryIO) -> None:
    """As store_file for an open file that somebody may still write into: always a copy."""
    with tree.replacing(context, *parse_uri(uri)) as temporary, temporary.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def write_bytes(context: Context, uri: str, data: bytes) -> None:
    """Make `data` the object's content, atomically."""
    with tree.replacing(context, *parse_uri(uri)) as temporary:
        temporary.write_bytes(data)


def create_bucket(context: Context, bucket: str) -> None:
    """Make a bucket if it is not there. Raises tree.InvalidBucketName."""
    tree.create_bucket(context, bucket)
