"""HTTP/1.1 as RFC 9112 has it, read strictly: what two programs could understand in two ways is refused.

https://www.rfc-editor.org/rfc/rfc9112
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from sagelocal.core.errors import AwsError

MAX_TARGET = 16 << 10  # bytes of the first line; a presigned URL with a session token has 3,000
MAX_HEAD = 64 << 10  # bytes of all headers together
MAX_HEADERS = 256
MAX_CHUNK_LINE = 1024

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_PRINTABLE = bytes(range(0x21, 0x7F))
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)


class BadRequest(Exception):
    """What came is no request, or more than one can be; the connection cannot be used again."""

    def __init__(self, reason: str, status: int = 400):
        super().__init__(reason)
        self.reason, self.status = reason, status


class BrokenBody(AwsError):
    def __init__(self, reason: str, code: str = "IncompleteBody"):
        super().__init__(code, reason, 400)


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a request. `length`: bytes of its body, None where that comes in chunks."""

    method: str
    target: str  # a path with its query, as it was written; what is no ASCII is percent-encoded
    version: str
    headers: list[tuple[str, str]]
    length: int | None

    @cached_property
    def by_name(self) -> dict[str, str]:
        """Names in lower case; the values of equal names joined."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            name = name.lower()
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        return joined

    @property
    def keeps_open(self) -> bool:
        options = {option.strip() for option in self.by_name.get("connection", "").lower().split(",")}
        return self.version == "HTTP/1.1" and "close" not in options

    @property
    def expects_continue(self) -> bool:
        return self.version == "HTTP/1.1" and self.by_name.get("expect", "").lower() == "100-continue"


def read_head(source: io.BufferedReader) -> Head:
    """The next request's head. Raises BadRequest."""
    line = _line(source, MAX_TARGET, 414) or _line(source, MAX_TARGET, 414)  # one empty line before it is allowed
    written = _REQUEST_LINE.fullmatch(line)
    if written is None:
        raise BadRequest("The first line is no method, target and HTTP version.")
    method, target = written[1].decode("ascii"), quote(written[2], safe=_PRINTABLE)
    if written[3] != b"1":
        raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.", 505)
    version = "HTTP/1.0" if written[4] == b"0" else "HTTP/1.1"
    headers = list(_headers(source))
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute:  # then its authority stands for the Host header
        target = absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
        headers = [header for header in headers if header[0].lower() != "host"] + [("Host", absolute[1])]
    elif not target.startswith("/") and (method, target) != ("OPTIONS", "*"):
        raise BadRequest("The target is no path.")
    hosts = sum(name.lower() == "host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "HTTP/1.1"):
        raise BadRequest("A request has one Host header.")
    return Head(method, target, version, headers, _body_length(headers, version))


def _headers(source: io.BufferedReader) -> Iterator[tuple[str, str]]:
    left = MAX_HEAD
    for _ in range(MAX_HEADERS + 1):
        line = _line(source, left, 431)
        if not line:
            return
        left -= len(line) + 2
        written = _HEADER.fullmatch(line)
        if written is None:
            raise BadRequest("A header is malformed.")
        yield written[1].decode("ascii"), written[2].decode("latin-1")
    raise BadRequest(f"A request has at most {MAX_HEADERS} headers.", 431)


def _body_length(headers: list[tuple[str, str]], version: str) -> int | None:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    codings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    if codings:
        if lengths or version == "HTTP/1.0" or [coding.lower() for coding in codings] != ["chunked"]:
            raise BadRequest("A body has a Content-Length, or the one transfer coding chunked.")
        return None
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length) for length in lengths):
        raise BadRequest("A request has at most one Content-Length, a number.")
    return int(lengths[0]) if lengths else 0


def _line(source: io.BufferedReader, most: int, too_long: int) -> bytes:
    """The next line without its end."""
    line = source.readline(max(most, 0) + 2)
    if line.endswith(b"\r\n"):
        return line[:-2]
    if len(line) >= most + 2:
        raise BadRequest(f"The request's {'first line' if too_long == 414 else 'headers'} are too long.", too_long)
    raise BadRequest("A line does not end with CR LF.")


class Sized:
    """A body whose length was said."""

    def __init__(self, source: io.BufferedReader, length: int):
        self._source, self.left = source, length

    @property
    def ended(self) -> bool:
        return self.left == 0

    def readinto(self, buffer: memoryview) -> int:
        count = self._source.readinto1(buffer[: self.left])
        if count == 0:
            raise BrokenBody(f"The request ended {self.left} bytes before its Content-Length.")
        self.left -= count
        return count


class Chunked:
    """A body in chunks, each with its length. Trailers are read and forgotten."""

    def __init__(self, source: io.BufferedReader):
        self._source, self._in_chunk, self.ended = source, 0, False

    @property
    def left(self) -> int:
        """Bytes that are known to come."""
        return self._in_chunk

    def readinto(self, buffer: memoryview) -> int:
        if not self._in_chunk:
            self._begin_chunk()
        if self.ended:
            return 0
        count = self._source.readinto1(buffer[: self._in_chunk])
        if count == 0:
            raise BrokenBody("The request ended in the middle of a chunk.")
        self._in_chunk -= count
        if not self._in_chunk and self._source.read(2) != b"\r\n":
            raise BrokenBody("A chunk has another length than it says.", "BadRequest")
        return count

    def _begin_chunk(self) -> None:
        try:
            written = _CHUNK_LINE.fullmatch(_line(self._source, MAX_CHUNK_LINE, 400))
            if written is None:
                raise BrokenBody("A chunk does not begin with its length.", "BadRequest")
            self._in_chunk = int(written[1], 16)
            if not self._in_chunk:
                list(_headers(self._source))
                self.ended = True
        except BadRequest as problem:
            raise BrokenBody(problem.reason, "BadRequest") from None
