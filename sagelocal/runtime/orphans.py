"""What a server of this state directory left running when it was killed: found and ended by the next one."""

import contextlib
import os
import time

import psutil

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Kind

# The keeper of a server ("pid"; "started", seconds since 1970; "mark"): all else that it starts ends with it.
PROCESS = Kind[Json]("process")
MARK = "SAGELOCAL_STARTED_BY"  # in the environment of all that a server starts: what it left is found by it
LOOKS, LOOK_SECONDS = 10, 0.003
START_TOLERANCE = 0.05  # seconds between two readings of when a process started
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@one_per_server
def mark(_: Context) -> str:
    """What tells this server's processes from all others'."""
    return os.urandom(12).hex()


def environment(context: Context) -> dict[str, str]:
    """The environment of what the server starts for itself: nothing of the user's, and the mark."""
    return {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", MARK: mark(context)}


def note(context: Context, pid: int) -> None:
    """Remember a process that would have to be ended."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    about = {"pid": pid, "started": started, "mark": mark(context)}
    patiently(context, f"process {pid}", lambda: context.store.put(PROCESS, str(pid), about))


@one_per_server
def end_orphans(context: Context) -> None:
    """Kill what an earlier server left. Does its work once."""
    notes = context.store.list(PROCESS)
    for left in notes:
        try:
            process = psutil.Process(left["pid"])
            if abs(process.create_time() - left["started"]) < START_TOLERANCE:
                process.kill()
        except psutil.NoSuchProcess:
            pass
    if notes:
        end_marked({str(left.get("mark")) for left in notes})
    for left in notes:
        context.store.delete(PROCESS, str(left["pid"]))


def end_marked(marks: set[str]) -> None:
    """Kill every process that has one of the marks, until there are none: what they start meanwhile has it too."""
    looks = 0
    while looks < LOOKS:  # one that forks and ends at once may be missed by a look
        found = 0
        for pid in sorted(psutil.pids(), reverse=True):  # the newest first, before it has forked again
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                if mark_of(process) in marks:
                    process.kill()
                    found += 1
        looks = 0 if found else looks + 1
        time.sleep(LOOK_SECONDS)


def mark_of(process: psutil.Process) -> str:
    """The mark of a process that runs, "" for none."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return ""
