"""Request bodies on their way to disk: plain or aws-chunked, measured and checked as they pass, never whole in memory.

Source of the framing: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html. Checksums are
checked, but for CRC32C and CRC64NVME, which Python has no fast way to compute: those are kept and given back as the
client sent them.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from werkzeug.wrappers import Request

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.sigv4 import CHUNKS, ChunkSignatures
from sagelocal.services.s3 import tree

BLOCK = 1 << 18
MAX_OBJECT = 5 << 40  # bytes; S3's own limit
LONGEST_LINE = 1024  # bytes, of a chunk's head or of a trailer
CHECKSUM = "x-amz-checksum-"


class Crc32:
    """zlib.crc32 with hashlib's two methods."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


VERIFIED: dict[str, Callable[[], Any]] = {"crc32": Crc32, "sha1": hashlib.sha1, "sha256": hashlib.sha256}
KNOWN = (*VERIFIED, "crc32c", "crc64nvme")


@dataclass
class Received:
    """A body that lies complete in a temporary file."""

    path: Path
    size: int = 0
    md5: str = ""
    checksums: dict[str, str] = field(default_factory=dict)  # algorithm -> base64


def receive(context: Context, request: Request) -> Received:
    """Write a request's body to a temporary file. Raises BadDigest, IncompleteBody; then the file is gone."""
    temporary = tree.incoming(context)
    try:
        return _receive(request, temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _receive(request: Request, temporary: Path) -> Received:
    trailers: dict[str, str] = {}
    chunked = request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    chunked = chunked or "aws-chunked" in request.headers.get("Content-Encoding", "")
    signatures = request.environ.get(CHUNKS)
    source = _chunks(request.stream, trailers, signatures) if chunked else iter(lambda: request.stream.read(BLOCK), b"")
    trailer = request.headers.get("x-amz-trailer", "").lower()
    wanted = {a for a in KNOWN if CHECKSUM + a == trailer or CHECKSUM + a in request.headers}
    asked = request.headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    sums: Json = {a: VERIFIED[a]() for a in wanted | {asked} if a in VERIFIED}
    md5 = hashlib.md5(usedforsecurity=False)
    size, expected = 0, request.headers.get("x-amz-decoded-content-length" if chunked else "Content-Length")
    with temporary.open("wb") as file:
        for block in source:
            file.write(block)
            md5.update(block)
            for running in sums.values():
                running.update(block)
            size += len(block)
            if expected and size > int(expected):
                break
    if expected is not None and expected != str(size):
        message = f"You did not provide the number of bytes specified by the Content-Length HTTP header: {expected}."
        raise AwsError("IncompleteBody", f"{message} Received: {size}.", 400)
    if "Content-MD5" in request.headers and request.headers["Content-MD5"] != _base64(md5.digest()):
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.", 400)
    checksums = {a: _base64(running.digest()) for a, running in sums.items()}
    for algorithm in wanted:
        stated = trailers.get(CHECKSUM + algorithm) or request.headers.get(CHECKSUM + algorithm, "")
        if stated and checksums.setdefault(algorithm, stated) != stated:
            raise AwsError("BadDigest", f"The {algorithm.upper()} you specified did not match what we received.", 400)
    return Received(temporary, size, md5.hexdigest(), checksums)


def _chunks(stream: BinaryIO | Any, trailers: dict[str, str], signatures: ChunkSignatures | None) -> Iterator[bytes]:
    """The data of an aws-chunked body; what follows the last chunk goes to `trailers`. Raises IncompleteBody, and
    SignatureDoesNotMatch where the chunks are signed."""
    left = -1
    while left:
        left, claimed = _chunk_head(stream)
        digest = hashlib.sha256()
        remaining = left
        while remaining:
            block = stream.read(min(remaining, BLOCK))
            if not block:
                raise _cut_off()
            remaining -= len(block)
            if signatures:
                digest.update(block)
            yield block
        if signatures:
            signatures.check_chunk(claimed, digest.hexdigest())
        if left:
            stream.readline(16)
    while line := stream.readline(LONGEST_LINE).strip():
        name, _, value = line.decode("latin-1").partition(":")
        trailers[name.strip().lower()] = value.strip()
    if signatures and signatures.trailer:
        signatures.check_trailer(trailers.pop("x-amz-trailer-signature", ""), trailers)


def _chunk_head(stream: BinaryIO | Any) -> tuple[int, str]:
    """(size, signature) of the chunk that comes next; the signature is empty where there is none."""
    size, _, extension = stream.readline(LONGEST_LINE).partition(b";")
    if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size.strip()):
        raise _cut_off()
    return int(size, 16), extension.strip().removeprefix(b"chunk-signature=").decode("latin-1")


def _cut_off() -> AwsError:
    return AwsError("IncompleteBody", "The aws-chunked body ends in the middle of a chunk.", 400)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
