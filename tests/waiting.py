"""The one way in which tests wait: for what they expect to happen, however busy the machine is."""

import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

HANG = 300.0
"""Seconds that nothing takes unless it hangs: the limit of every wait, also where a call wants one of its own."""


def until(look: Callable[[], T], reached: Callable[[T], object] = bool, pause: float = 0.02) -> T:
    """The first answer of `look` for which `reached` is true. Asks again and again, `pause` seconds apart."""
    end = time.monotonic() + HANG
    while not reached(answer := look()):
        if time.monotonic() > end:
            caller = traceback.extract_stack(limit=2)[0]
            where = f"{caller.filename}:{caller.lineno}: {caller.line}"
            raise AssertionError(f"It did not happen in {HANG:.0f} s. Waited at {where}\nThe last answer: {answer!r}")
        time.sleep(pause)
    return answer


def ended(describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
    """The description of a job, execution or endpoint as soon as its `status` is one that stays."""
    moving = ("Creating", "Updating", "SystemUpdating", "RollingBack", "InProgress", "Executing", "Stopping")
    return until(describe, lambda found: found[status] not in moving)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; its parent may not have asked for its exit code yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
