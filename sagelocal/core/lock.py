"""Whose a state directory is: the server that holds the lock on `server.lock`, in which it writes its process.

A lock ends with its holder, however that ends. So while the lock is held, the process that stands in the file is the
server's, also when the server does not answer and whatever became of the other files.
"""

import fcntl
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE = 2.0  # seconds: the lock may be another's for a moment, who only asks whether it is held
PAUSE = 0.02


@dataclass(frozen=True)
class Holder:
    """A process that took the lock. `born` tells it from a later one that was given the same number."""

    pid: int
    born: str

    def lives(self) -> bool:
        return _born(self.pid) == self.born

    def send(self, number: signal.Signals) -> None:
        """Send it a signal if it lives. Raises PermissionError for another user's process."""
        if self.lives():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def hold(state_dir: Path) -> int | None:
    """Take the state directory for this process; the file descriptor, or None when another server has it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        descriptor = os.open(_file(state_dir), os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(descriptor, fcntl.LOCK_EX) and is_ours(state_dir, descriptor):
            break
        os.close(descriptor)
        if holder(state_dir) or time.monotonic() > deadline:
            return None
        time.sleep(PAUSE)
    told = json.dumps({"pid": os.getpid(), "born": _born(os.getpid())}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, told, 0)
    return descriptor


def is_held(state_dir: Path) -> bool:
    """Whether a server has the state directory, be it that it answers or not."""
    try:
        descriptor = os.open(_file(state_dir), os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder(state_dir: Path) -> Holder | None:
    """The process that has the state directory. None when none has, and when it is not to be seen from here."""
    try:
        told = json.loads(_file(state_dir).read_text())
        found = Holder(int(told["pid"]), str(told["born"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.lives() and is_held(state_dir) else None


def is_ours(state_dir: Path, descriptor: int) -> bool:
    """Whether the directory still has the file that is locked here: not when it was removed or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), _file(state_dir).stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _file(state_dir: Path) -> Path:
    return state_dir / "server.lock"


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _born(pid: int) -> str | None:
    """When a process began; None when there is none. Linux counts from its own start, whatever becomes of the clock."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return status[19] if status[0] != "Z" else None
    except FileNotFoundError:
        with suppress(psutil.NoSuchProcess):
            return str(psutil.Process(pid).create_time()) if not psutil.LINUX else None
    except (ProcessLookupError, IndexError):
        pass
    return None
