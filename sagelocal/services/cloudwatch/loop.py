"""CloudWatch's heartbeat: counts what was noted, evaluates alarms, keeps metrics on disk."""

import logging
import time
import traceback
from collections.abc import Callable

from sagelocal.core.context import Context
from sagelocal.services.cloudwatch import alarms, endpoints
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.cloudwatch.metrics import FINE, MINUTE, metrics

LONGEST_PAUSE = 0.5  # seconds, so that a faster clock is noticed soon
WRITE_EVERY = 15.0
FORGET_EVERY = 60.0

logger = logging.getLogger(__name__)


def pause(context: Context) -> float:
    """Seconds until the next look: a few times in each of the clock's minutes."""
    return min(LONGEST_PAUSE, max(FINE / 2, clock(context).seconds(MINUTE) / 6))


def repeat(context: Context, pause: Callable[[Context], float], work: Callable[[], None]) -> None:
    """Do `work` every `pause` seconds until the server stops; an error is told to the server's log, once a kind."""
    told: set[str] = set()
    while not context.stopping.wait(pause(context)):
        try:
            work()
        except Exception:
            trace = traceback.format_exc()
            if trace not in told and not context.stopping.is_set():
                logger.exception("a periodic task failed; the same error is not logged again")
            told.add(trace)


def run(context: Context) -> None:
    """Beat until the server stops."""
    written = forgotten = time.time()

    def work() -> None:
        nonlocal written, forgotten
        now = time.time()
        beat(context, now)
        if now - written >= WRITE_EVERY:
            written = now
            metrics(context).write()
        if now - forgotten >= FORGET_EVERY:
            forgotten = now
            metrics(context).forget(now)

    repeat(context, pause, work)


def beat(context: Context, now: float) -> None:
    """One look, at `now` (seconds since 1970)."""
    endpoints.count(context)
    alarms.evaluate_all(context, now)
