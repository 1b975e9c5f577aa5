"""That a request's body is the one that was signed, found out while it is read."""

import hashlib
import hmac
import io
import re
from typing import Any

from werkzeug.wrappers import Request

from sagelocal.core.errors import AwsError
from sagelocal.core.sigv4 import CHUNKS, ChunkSignatures, Scope

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_AND_TRAILER = f"{SIGNED_CHUNKS}-TRAILER"


def stated_hash(request: Request, in_query: bool) -> str:
    """What S3's canonical request has for the body. Raises AwsError where it is missing or no such thing."""
    stated = request.headers.get("X-Amz-Content-Sha256") or request.args.get("X-Amz-Content-Sha256", "")
    if not stated and in_query:
        return UNSIGNED
    if not stated:
        raise AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400)
    if stated not in (UNSIGNED, UNSIGNED_CHUNKS, SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER) and not re.fullmatch(
        "[0-9a-f]{64}", stated
    ):
        allowed = f"{UNSIGNED}, {UNSIGNED_CHUNKS}, {SIGNED_CHUNKS}, {SIGNED_CHUNKS_AND_TRAILER} or a valid sha256 value"
        raise AwsError("InvalidArgument", f"x-amz-content-sha256 must be {allowed}.", 400)
    return stated


def check_while_reading(request: Request, stated: str, secret: str, scope: Scope, moment: str, seed: str) -> None:
    """Let whoever reads the body be told when it is not what `stated` says; `seed`: the request's signature."""
    if stated in (SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER):
        with_trailer = stated == SIGNED_CHUNKS_AND_TRAILER
        request.environ[CHUNKS] = ChunkSignatures(secret, scope, moment, seed, with_trailer)
    elif not stated.startswith("STREAMING-") and stated != UNSIGNED:
        length = request.content_length
        request.environ["wsgi.input"] = io.BufferedReader(_Hashed(request.environ["wsgi.input"], length, stated))
        request.environ["wsgi.input_terminated"] = True


class _Hashed(io.RawIOBase):
    """A body that raises at its end when its SHA-256 is another: nobody gets all of it and believes it.

    `length`: None for one that is sent in chunks.
    """

    def __init__(self, source: Any, length: int | None, stated: str):
        self._source, self._length, self._stated = source, length, stated
        self._read = 0
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer) if self._length is None else min(len(buffer), self._length - self._read)
        data = self._source.read(size) if size else b""
        self._digest.update(data)
        self._read += len(data)
        if size and not data and self._length is not None:
            raise AwsError("IncompleteBody", f"The body ends after {self._read} of {self._length} bytes.", 400)
        ended = not data or self._read == self._length
        if ended and not hmac.compare_digest(self._digest.hexdigest(), self._stated):
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise AwsError("XAmzContentSHA256Mismatch", message, 400)
        buffer[: len(data)] = data
        return len(data)
