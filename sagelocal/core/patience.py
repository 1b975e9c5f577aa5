"""What must not be lost when the disk refuses a write: it is tried again until it is accepted.

A disk is full for a while, and now and then a write fails once. Whoever knows the outcome of something keeps it in
memory meanwhile, so that no document says "running" with nothing behind it.
"""

import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sagelocal.core import database
from sagelocal.core.context import Context
from sagelocal.core.registry import Hooks

Answer = TypeVar("Answer")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries; each pause is twice the one before
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

FULL_HOOKS = on_full = Hooks()  # a write was refused: give back what is kept on the disk for that case

logger = logging.getLogger(__name__)


def refused(problem: BaseException) -> bool:
    """Whether an error is the disk's or the machine's, which may be gone at the next try."""
    if isinstance(problem, sqlite3.Error):
        return database.code_of(problem) in database.REFUSALS
    return isinstance(problem, OSError) and problem.errno in REFUSALS


def patiently(context: Context, what: str, act: Callable[[], Answer], seconds: float = float("inf")) -> Answer:
    """What `act` answers; while the disk refuses it, it is tried again, for `seconds` and until the server stops.

    `what`: for the log. The calling thread must not be in a transaction, which would keep everybody else waiting.
    """
    pause, began = FIRST_PAUSE, time.monotonic()
    while True:
        try:
            answer = act()
        except (OSError, sqlite3.Error) as problem:
            if not refused(problem) or context.stopping.is_set() or time.monotonic() - began > seconds:
                raise
            if pause == FIRST_PAUSE:
                logger.warning("%s: the disk refuses it (%s), trying again", what, problem)
            for hook in FULL_HOOKS:
                hook(context)
        else:
            if pause > FIRST_PAUSE:
                logger.info("%s: done after %.1f s", what, time.monotonic() - began)
            return answer
        context.stopping.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
