"""The socket that clients connect to: how many of them at once, and who goes when there are too many."""

import contextlib
import errno
import resource
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from werkzeug.serving import ThreadedWSGIServer

from sagelocal.gateway.connection import Handler
from sagelocal.gateway.server import Application

MOST_CONNECTIONS = 512
OTHER_FILES = 24  # that the server has open without any client
FILES_EACH = 2  # a connection, and what its request works with
GRACE_SECONDS = 1.0  # for a request that has begun to come
PAUSE_SECONDS = 0.05  # until a file may have been closed
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server(ThreadedWSGIServer):
    """An application on a port of this machine; 0: any free one. Exits where the port is taken."""

    def __init__(self, port: int, application: Application):
        self.connections = Connections(most_connections())
        super().__init__("127.0.0.1", port, application, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as problem:
            if problem.errno in (errno.EMFILE, errno.ENFILE):
                self.connections.make_room()
                time.sleep(PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request):
            super().process_request(request, client_address)
        else:
            request.setblocking(False)
            with contextlib.suppress(OSError):
                request.send(BUSY)
                request.recv(1 << 16)  # a request that is there already and stays unread would reset the connection
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.connections.gone(request)
        super().shutdown_request(request)


@dataclass
class Waiting:
    """Since when a connection has had nothing to do, and from when on it may be closed for another one."""

    since: float
    closable: float


class Connections:
    """The open connections. One that waits gives way to a new one: the one that has waited longest."""

    def __init__(self, most: int):
        self.most = most
        self._open: dict[socket.socket, Waiting | None] = {}  # None: at work
        self._lock = threading.Lock()

    def admit(self, connection: socket.socket) -> bool:
        """Take in a new connection. False where there are too many, and all of them are at work."""
        with self._lock:
            if len(self._open) >= self.most and not self._close_one():
                return False
            now = time.monotonic()
            self._open[connection] = Waiting(now, now + GRACE_SECONDS)
            return True

    def begins(self, connection: socket.socket) -> None:
        """A request begins to come."""
        with self._lock:
            if waiting := self._open.get(connection):
                waiting.closable = time.monotonic() + GRACE_SECONDS

    def works(self, connection: socket.socket) -> bool:
        """A request is there. False where the connection was closed meanwhile."""
        with self._lock:
            if connection in self._open:
                self._open[connection] = None
            return connection in self._open

    def waits(self, connection: socket.socket) -> None:
        with self._lock:
            if connection in self._open:
                now = time.monotonic()
                self._open[connection] = Waiting(now, now)

    def gone(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)

    def make_room(self) -> bool:
        """Close the connection that has waited longest. False where none may be closed."""
        with self._lock:
            return self._close_one()

    def _close_one(self) -> bool:
        now = time.monotonic()
        closable = [(state.since, one) for one, state in self._open.items() if state and state.closable <= now]
        if not closable:
            return False
        _, longest = min(closable, key=lambda each: each[0])
        del self._open[longest]
        with contextlib.suppress(OSError):
            longest.shutdown(socket.SHUT_RDWR)  # its thread wakes up and closes it
        return True


def most_connections() -> int:
    """As many as the limit on open files has room for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST_CONNECTIONS, (files - OTHER_FILES) // FILES_EACH))
