"""One client's connection: HTTP/1.1 that stays open between requests.

werkzeug's own handler closes after each answer, because it does not know whether a body was read to its end.
Here the body knows its length, so what an operation left unread is read, or the connection closes when that is much.
"""

import io
from collections.abc import Iterable
from typing import Any

from werkzeug.serving import DechunkedInput, WSGIRequestHandler

WORTH_DRAINING = 64 << 20  # bytes; beyond that a new connection is cheaper than reading on


class Body(io.RawIOBase):
    """A request's body. "100 Continue" is sent when somebody wants to read it, not before."""

    def __init__(self, handler: WSGIRequestHandler, source: Any, length: int | None, expects_continue: bool):
        self._handler = handler
        self._source = source
        self._expects_continue = expects_continue
        self.left = length  # None: chunked, the source knows where it ends
        self.ended = length == 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.ended:
            return 0
        if self._expects_continue:
            self._expects_continue = False
            self._handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._handler.wfile.flush()
        size = len(buffer) if self.left is None else min(len(buffer), self.left)
        data = self._source.read(size)
        buffer[: len(data)] = data
        if self.left is not None:
            self.left -= len(data)
        self.ended = self.left == 0 or not data
        return len(data)

    def drain(self) -> bool:
        """Read what is left. False when the connection cannot be used again: too much left, or it broke off."""
        if not self.ended and (self._expects_continue or (self.left or 0) > WORTH_DRAINING):
            return False
        drained = 0
        while not self.ended and drained <= WORTH_DRAINING:
            drained += len(self.read(65536) or b"")
        return self.ended and not self.left


class Handler(WSGIRequestHandler):
    """Nagle off and headers sent with the body: otherwise keep-alive clients wait 40 ms for each answer."""

    disable_nagle_algorithm = True
    wbufsize = -1
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Quiet: the jobs' logs are what people read."""

    def handle_expect_100(self) -> bool:
        return True

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        chunked = isinstance(environ["wsgi.input"], DechunkedInput)
        try:
            length = None if chunked else abs(int(environ.get("CONTENT_LENGTH") or 0))
        except ValueError:
            self.send_error(400, "Content-Length is not a number")
            self.close_connection = True
            return
        expects_continue = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        body = Body(self, environ["wsgi.input"], length, expects_continue)
        environ["wsgi.input"] = io.BufferedReader(body, 1 << 16)
        environ["wsgi.input_terminated"] = True
        status, headers = "", []

        def start_response(given_status: str, given_headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            nonlocal status, headers
            status, headers = given_status, given_headers

        chunks = self.server.app(environ, start_response)
        try:
            self._send(status, headers, chunks, body)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        self.wfile.flush()

    def _send(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes], body: Body) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        has_body = self.command != "HEAD" and int(code) >= 200 and code not in ("204", "304")
        sized = any(name.lower() == "content-length" for name, _ in headers)
        in_chunks = has_body and not sized and self.request_version != "HTTP/1.0"
        if in_chunks:
            self.send_header("Transfer-Encoding", "chunked")
        if not body.drain():
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        for data in chunks if has_body else ():
            if data:
                self.wfile.writelines((b"%x\r\n" % len(data), data, b"\r\n") if in_chunks else (data,))
        if in_chunks:
            self.wfile.write(b"0\r\n\r\n")
