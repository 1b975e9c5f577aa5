"""What a test leaves running: found whoever started it, named, and ended."""

import ctypes
import sys

import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 60  # what ends by itself may still be ending; a run that leaves nothing behind never waits for it

# These end with the process that started them, as multiprocessing wants it.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, sessions of their own or not. Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def running() -> list[psutil.Process]:
    """The descendants of this process that have not ended."""
    return [process for process in psutil.Process().children(recursive=True) if _counts(process)]


def end(known: set[psutil.Process]) -> list[str]:
    """End all that run beyond the `known`; their command lines."""
    _, left = psutil.wait_procs([process for process in running() if process not in known], timeout=GRACE_SECONDS)
    left = [process for process in left if _counts(process)]
    said = [command_line(process) for process in left]
    for process in left:
        process.kill()
    return said


def command_line(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return f"{process.pid}: (ended meanwhile)"


def _counts(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and not any(h in command_line(process) for h in HELPERS)
    except psutil.NoSuchProcess:
        return False
