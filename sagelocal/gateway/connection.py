"""One client's connection: HTTP/1.1 that stays open between requests, and waits for nobody for ever.

werkzeug's own handler closes after each answer, because it does not know whether a body was read to its end.
Here the body knows its length, so what an operation left unread is read, or the connection closes when that is much.
"""

import contextlib
import io
import socket
import sys
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from werkzeug.serving import WSGIRequestHandler

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.gateway import framing

if TYPE_CHECKING:
    from sagelocal.gateway.listener import Server

IDLE_SECONDS = 60.0  # between two requests
HEAD_SECONDS = 10.0  # from a request's first byte to the end of its headers
BODY_SECONDS = 20.0  # without a byte of the body; each second of waiting is earned back by SLOWEST bytes
SLOWEST = 1000
SEND_SECONDS = 60.0  # without the client taking a byte of the answer
LINGER_SECONDS = 10.0  # for reading what a client still sends after an answer that closes the connection
WORTH_DRAINING = 1 << 20  # bytes; with more the answer goes first, and the connection closes
BLOCK = 1 << 18


class Incoming(io.RawIOBase):
    """What a client sends. Waiting for it uses up the time that was allowed; `rate`: bytes that earn a second."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self.allow(IDLE_SECONDS)

    def allow(self, seconds: float, rate: float = float("inf")) -> None:
        self._most = self._left = seconds
        self._rate = rate

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise TimeoutError
        began = time.monotonic()
        self._connection.settimeout(self._left)
        count = self._connection.recv_into(buffer)
        self._left = min(self._most, self._left - (time.monotonic() - began) + count / self._rate)
        return count


class Body(io.RawIOBase):
    """A request's body. "100 Continue" is sent when somebody wants to read it, not before."""

    def __init__(self, handler: "Handler", head: framing.Head):
        self._handler = handler
        self._expects_continue = head.expects_continue
        self._broken = False
        sized = head.length is not None
        self._source = framing.Sized(handler.rfile, head.length or 0) if sized else framing.Chunked(handler.rfile)
        handler.incoming.allow(BODY_SECONDS, SLOWEST)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises AwsError where the body breaks off, comes too slowly or is malformed."""
        if self._source.ended or self._broken:
            return 0
        if self._expects_continue:
            self._expects_continue = False
            self._handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._handler.wfile.flush()
        try:
            return self._source.readinto(memoryview(buffer))
        except AwsError:
            self._broken = True
            raise
        except ConnectionError:
            self._broken = True
            raise framing.BrokenBody("The client broke off in the middle of its request.") from None
        except TimeoutError:
            self._broken = True
            message = "Your socket connection to the server was not read from or written to within the timeout period."
            raise AwsError("RequestTimeout", message, 400) from None

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(BLOCK) or b"", b""))

    def drain(self) -> bool:
        """Read what is left. False when the connection cannot be used again: too much left, or it broke off."""
        if not self._source.ended and (self._expects_continue or self._source.left > WORTH_DRAINING):
            return False
        drained = 0
        try:
            while not (self._source.ended or self._broken) and drained <= WORTH_DRAINING:
                drained += len(self.read(BLOCK) or b"")
        except AwsError:
            return False
        return self._source.ended


class Handler(WSGIRequestHandler):
    """Nagle off and headers sent with the body: otherwise keep-alive clients wait 40 ms for each answer."""

    server: "Server"
    rfile: io.BufferedReader
    disable_nagle_algorithm = True
    wbufsize = -1
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Quiet: the jobs' logs are what people read."""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self.incoming, 1 << 16)

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.incoming.allow(IDLE_SECONDS)
        if not self.rfile.peek(1):
            return
        self.server.connections.begins(self.connection)
        self.incoming.allow(HEAD_SECONDS)
        try:
            head = framing.read_head(self.rfile)
        except framing.BadRequest as problem:
            return self._refuse(problem.status, problem.reason)
        except TimeoutError:
            return self._refuse(408, "The request's headers did not come in time.")
        if self.server.connections.works(self.connection):
            self._answer(head)
            self.server.connections.waits(self.connection)

    def _answer(self, head: framing.Head) -> None:
        self.command, self.request_version = head.method, head.version
        self.close_connection = not head.keeps_open
        body = Body(self, head)
        self.environ = environ = self._environ(head, body)
        status, headers = "", []

        def start_response(given_status: str, given_headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            nonlocal status, headers
            status, headers = given_status, given_headers

        chunks = self.server.app(environ, start_response)
        try:
            reusable = self._send(status, headers, chunks, body)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        self.wfile.flush()
        if not reusable:
            self._linger()

    def _environ(self, head: framing.Head, body: Body) -> Json:
        path, _, query = head.target.partition("?")
        environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BufferedReader(body, 1 << 16),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": head.target,
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_PORT": self.client_address[1],
            "SERVER_NAME": self.server.host,
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": head.version,
        }
        for name, value in head.by_name.items():
            if "_" not in name:  # it would look like one with a hyphen
                name = name.upper().replace("-", "_")
                environ[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value
        return environ

    def _send(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes], body: Body) -> bool:
        """Whether the body was read to its end, so that the connection may be used again."""
        code, _, reason = status.partition(" ")
        reusable = body.drain()
        self.close_connection |= not reusable
        self.connection.settimeout(SEND_SECONDS)
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        has_body = self.command != "HEAD" and int(code) >= 200 and code not in ("204", "304")
        sized = any(name.lower() == "content-length" for name, _ in headers)
        in_chunks = has_body and not sized and self.request_version != "HTTP/1.0"
        if in_chunks:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        for data in chunks if has_body else ():
            if data:
                self.wfile.writelines((b"%x\r\n" % len(data), data, b"\r\n") if in_chunks else (data,))
        if in_chunks:
            self.wfile.write(b"0\r\n\r\n")
        return reusable

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no request; nobody knows whose protocol it would have been in."""
        self.request_version = "HTTP/1.1"
        text = f"{reason}\n".encode()
        self.connection.settimeout(SEND_SECONDS)
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()
        self._linger()

    def _linger(self) -> None:
        """Read on for a while: who closes with bytes unread resets the connection, and the answer may be lost."""
        self.server.connections.waits(self.connection)
        unwanted, end = bytearray(BLOCK), time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv_into(unwanted):
                    return
