"""A Lambda function's code: a zip, checked and unpacked under its own hash, never changed afterwards."""

import base64
import hashlib
import io
import lzma
import shutil
import stat
import struct
import uuid
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.awslambda.errors import invalid
from sagelocal.services.s3 import objects

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1024  # of a file and of its path: file systems take no more, AWS's neither
MAX_UNPACKED_BYTES = 250 << 20  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html


BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError, struct.error)


@dataclass(frozen=True)
class Code:
    """Unpacked code: where, how large the zip was, and its SHA-256 in base64."""

    directory: Path
    size: int
    sha256: str


def unpack(context: Context, name: str, source: Json) -> Code:
    """The code that a request brings as ZipFile or S3Bucket and S3Key. Raises InvalidParameterValueException."""
    archive = _archive(context, source)
    digest = hashlib.sha256(archive)
    directory = context.state_dir / "lambda" / name / "code" / digest.hexdigest()
    if not directory.is_dir():
        temporary = directory.with_name(f"new-{uuid.uuid4().hex}")
        try:
            _extract(archive, temporary)
            temporary.rename(directory)
        except OSError:
            if not directory.is_dir():  # else the same code was unpacked by another request meanwhile
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Code(directory, len(archive), base64.b64encode(digest.digest()).decode())


def _archive(context: Context, source: Json) -> bytes:
    if "ZipFile" in source:
        return bytes(source["ZipFile"])
    if "ImageUri" in source:
        raise invalid("The embedded Lambda runs code from a zip only, not from a container image.")
    if "S3Bucket" not in source or "S3Key" not in source:
        raise invalid("Please provide a source for function code: ZipFile, or S3Bucket and S3Key.")
    try:
        return objects.read_bytes(context, f"s3://{source['S3Bucket']}/{source['S3Key']}")
    except AwsError as problem:
        message = f"Error occurred while GetObject. S3 Error Code: {problem.code}. S3 Error Message: {problem.message}"
        raise invalid(message) from None


def _extract(archive: bytes, directory: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            members = packed.infolist()
            _check(members)
            for member in members:
                target = Path(packed.extract(member, directory))
                if not member.is_dir():
                    target.chmod((member.external_attr >> 16) & 0o700 | 0o600)
    except (*BROKEN, RuntimeError) as problem:  # RuntimeError: encrypted
        raise invalid(
            f"Could not unzip uploaded file. Please check your file, then try to upload again. ({problem})"
        ) from None


def _check(members: list[zipfile.ZipInfo]) -> None:
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {MAX_UNPACKED_BYTES} bytes, it is {size}.")
    if not members:
        raise invalid("Uploaded file must be a non-empty zip.")
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
            raise invalid(f"The zip has a member that leads out of it or is a link: {member.filename!r}.")
        _check_name(member.filename, path)
        (folders if member.is_dir() else files).add(path)
        folders |= set(path.parents)
    both = sorted(map(str, files & folders))
    if both:
        raise invalid(f"The zip has a file and a folder of the same name: {both[0]!r}.")


def _check_name(written: str, path: PurePosixPath) -> None:
    try:
        sizes = [len(part.encode()) for part in path.parts]
    except UnicodeEncodeError:
        raise invalid(f"The zip has a member whose name is no text: {written!r}.") from None
    if not sizes and not written.endswith("/"):
        raise invalid(f"The zip has a member without a name: {written!r}.")
    if max(sizes, default=0) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise invalid(f"The zip has a member whose name is too long: {written[:80]!r}…")
