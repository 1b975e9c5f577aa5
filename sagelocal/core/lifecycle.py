"""One server per state directory: found when it runs, started when it does not, stopped on request.

The server holds a lock on `server.lock` for as long as it lives and writes `server.json` once it listens, so two
commands that start at the same time end up with the same server.
"""

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sagelocal import VERSION

START_SECONDS = 30.0


class CannotStart(Exception):
    """The server did not come up; the message is what it said last."""


class PortBusy(CannotStart):
    """The port asked for is taken by another program."""


@dataclass(frozen=True)
class Running:
    """A server that answers: its address and its process."""

    url: str
    pid: int


def ensure(state_dir: Path, *, port: int = 0) -> Running:
    """The server of a state directory, started if need be (port 0: any free one). Raises CannotStart."""
    running = find(state_dir)
    if running:
        return running
    state_dir.mkdir(parents=True, exist_ok=True)
    log_path = state_dir / "server.log"
    with log_path.open("ab") as log:
        start_of_log = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "sagelocal", "--state-dir", str(state_dir), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(state_dir)
        if running:
            return running
        code = process.poll()
        if code not in (None, 0):  # 0: another server holds the lock and is about to listen
            said = log_path.read_bytes()[start_of_log:].decode(errors="replace").strip()
            last = said.splitlines()[-1] if said else f"it exited with code {code}"
            raise (PortBusy if "is busy" in last else CannotStart)(last)
        time.sleep(0.02)
    raise CannotStart(f"The embedded SageMaker did not answer within {START_SECONDS:.0f} s. Its log: {log_path}")


def find(state_dir: Path) -> Running | None:
    """The server of a state directory if one answers."""
    try:
        noted = json.loads((state_dir / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return Running(noted["url"], noted["pid"]) if _answers(noted["url"]) and _locked(state_dir) else None


def stop(state_dir: Path, *, timeout: float = 20.0) -> bool:
    """Stop the server of a state directory and wait until it is gone. False when none was running."""
    running = find(state_dir)
    if not running:
        return False
    with suppress(OSError, http.client.HTTPException):  # it may be gone before its answer is out
        _request(running.url, "POST", "/_sagelocal/stop")
    deadline = time.monotonic() + timeout
    while _locked(state_dir):
        if time.monotonic() > deadline:
            os.kill(running.pid, signal.SIGKILL)
            deadline += timeout
        time.sleep(0.02)
    return True


def hold_lock(state_dir: Path) -> int | None:
    """Take the state directory for this process; the file descriptor, or None when another server has it."""
    descriptor = os.open(state_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def announce(state_dir: Path, url: str) -> None:
    """Tell other processes where the server listens."""
    temporary = state_dir / "server.json.new"
    temporary.write_text(json.dumps({"url": url, "pid": os.getpid(), "version": VERSION}) + "\n")
    temporary.replace(state_dir / "server.json")


def _locked(state_dir: Path) -> bool:
    descriptor = hold_lock(state_dir)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _answers(url: str) -> bool:
    try:
        return "version" in json.loads(_request(url, "GET", "/_sagelocal/health"))
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _request(url: str, method: str, path: str) -> bytes:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    finally:
        connection.close()
