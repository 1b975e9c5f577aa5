"""The side of a fork server that forks: the keeper (keeper.py) and the warm worker (worker.py) are two.

The server sends one byte and descriptors over a socket: a file with the request, the job's output, a pipe for reports,
the job's input, and for the warm worker a pidfd of the sandbox that the job enters. A fork server never reads a
request: only the child does, so that no job finds another one's credentials in the memory that it was forked with.

It has a single thread. When the server goes, it ends, and with it all that it started.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FORK, PLAIN_FORK, PING, PONG = b"F", b"P", b"?", b"!"
READY = b"R"
MOST_DESCRIPTORS = 5
LOOKS, LOOK_SECONDS = 3, 0.005

Fork = Callable[[bytes, list[int]], int]


@dataclass(frozen=True)
class Order:
    """What a forked child is to become. `report` takes lines: its process id, then what became of it."""

    request: dict[str, Any]
    output: int
    report: int
    stdin: int

    @staticmethod
    def read(descriptors: list[int]) -> "Order":
        with os.fdopen(descriptors[0], "rb") as file:
            file.seek(0)
            request = json.load(file)
        return Order(request, *descriptors[1:4])

    def tell(self, line: object) -> None:
        """Report a line. Nobody may be there any more to read it."""
        with contextlib.suppress(OSError):
            os.write(self.report, f"{line}\n".encode())

    def take_streams(self) -> None:
        """Make the order's descriptors this process's own input and outputs."""
        for descriptor, number in ((self.stdin, 0), (self.output, 1), (self.output, 2)):
            os.dup2(descriptor, number)


def serve(control: socket.socket, fork: Fork, sweeps: bool) -> list[int]:
    """Fork on request and report ends. Returns in a forked child, with its descriptors; never in the fork server.

    `fork` forks for a kind of request, as os.fork does. `sweeps`: what a child left running is to be ended here, since
    no namespace of its own does that.
    """
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    reports: dict[int, int] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                continue
            kind, descriptors = _receive(control)
            if not kind:
                if sweeps:
                    for pid in reports:
                        _kill_group(pid)
                    _end(set())
                os._exit(0)
            if kind == PING:
                control.sendall(PONG)
                continue
            try:
                pid = fork(kind, descriptors)
            except OSError as problem:
                os.write(descriptors[1], f"The process could not be started: {problem}\n".encode())
                _close(descriptors)
                continue
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                control.close()
                _close([wake_read, wake_write, *reports.values()])
                return descriptors
            reports[pid] = os.dup(descriptors[2])
            _close(descriptors)
        _report_ends(reports, sweeps)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        kind, descriptors, _, _ = socket.recv_fds(control, 1, MOST_DESCRIPTORS)
    except ConnectionError:
        return b"", []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return kind, descriptors


def _report_ends(reports: dict[int, int], sweeps: bool) -> None:
    while ended := _next_ended(sweeps):
        pid, code = ended
        report = reports.pop(pid, None)
        if sweeps:
            _end(set(reports))
        if report is not None:
            with contextlib.suppress(OSError):
                os.write(report, f"{code}\n".encode())
            os.close(report)


def _next_ended(sweeps: bool) -> tuple[int, int] | None:
    """The process id and exit code of a child that has ended; its process group is gone too, if `sweeps`."""
    try:
        if sweeps and hasattr(os, "waitid"):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                _kill_group(ended.si_pid)  # its number stays taken until it is waited for, so nobody else is met
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    if pid and sweeps and not hasattr(os, "waitid"):
        _kill_group(pid)
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError for a group of zombies
        os.killpg(pid, signal.SIGKILL)


def _end(spared: set[int]) -> None:
    """Kill this process's children, adopted ones too, and theirs, until only the `spared` are left (Linux only)."""
    looks = 0
    while looks < LOOKS:  # the kernel's list may leave out a child that is being adopted
        others = [pid for pid in _children(os.getpid()) if pid not in spared]
        looks = 0 if others else looks + 1
        if not others:
            time.sleep(LOOK_SECONDS)
            looks = looks if spared or not _has_children() else 0
        for pid in others:
            _kill_tree(pid)
        for pid in others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)  # so that it starts no more while its children are looked for
        for child in _children(pid):
            _kill_tree(child)
        os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
