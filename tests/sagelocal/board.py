"""A notice board on loopback, for functions and jobs: in their sandboxes they share no files with the tests."""

import json
import socketserver
import threading

import psutil

# A part of what runs in a sandbox. tell(port, text) -> how many notices there are now, once there are `wait_for`.
TELL = """
import json, os, socket, time
def tell(port, text="", wait_for=0):
    with socket.create_connection(("127.0.0.1", port)) as board:
        board.sendall(json.dumps([text, wait_for]).encode() + b"\\n")
        return int(board.makefile().readline())
"""


class Board:
    """Keeps what is told: `notices`. `release` ends every wait."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._changed = threading.Condition()
        self._released = False
        board = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(f"{board._add(*json.loads(self.rfile.readline()))}\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def release(self) -> None:
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def _add(self, text: str, wait_for: int) -> int:
        with self._changed:
            self.notices.append(text)
            number = len(self.notices)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._released or len(self.notices) >= wait_for)
            return number


def listening_on(port: int) -> int:
    """The process id, as this machine counts, of what listens on a port of loopback."""
    found = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port and each.pid]
    return found[0]


def with_variable(name: str, value: str) -> int:
    """The process id, as this machine counts, of the process whose environment has a variable of that value."""

    def has(process: psutil.Process) -> bool:
        try:
            return process.environ().get(name) == value
        except psutil.Error:
            return False

    return next(process.pid for process in psutil.process_iter() if has(process))
