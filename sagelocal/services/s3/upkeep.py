"""What S3 does by itself: it sweeps at the start, looks into folders that changed, and carries out lifecycle rules."""

import logging
import time

from sagelocal.core.context import Context
from sagelocal.core.registry import on_start, on_stop
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.cloudwatch.loop import repeat
from sagelocal.services.s3 import folders, lifecycle, pages, rows, sweep, tree
from sagelocal.services.s3.index import index

EVERY = 30.0  # seconds between two looks at all folders
SHARE = 0.01  # of the time at most is spent looking
HOUR = 3600.0  # of the server's clock, between two rounds of the lifecycle rules
BATCH = 100

logger = logging.getLogger(__name__)


@on_start
def begin(context: Context) -> None:
    context.spawn("s3-sweep", sweep.sweep, context)
    context.spawn("s3-index", keep_index, context)
    context.spawn("s3-lifecycle", keep_rules, context)


@on_stop
def end(context: Context) -> None:
    if index in context.parts:
        index(context).close()


def keep_index(context: Context) -> None:
    """Find what changed behind the index's back, first what did while no server ran."""
    pause = 0.0

    def work() -> None:
        nonlocal pause
        pause, began = EVERY, time.thread_time()
        index(context).surviving(lambda: look(context))
        pause = max(EVERY, (time.thread_time() - began) / SHARE)
        read_new_files(context)

    index(context).check()
    repeat(context, lambda _: pause, work)


def look(context: Context) -> None:
    """Compare every folder with the index."""
    there = tree.buckets(context)
    for bucket in set(rows.buckets(context)) - set(there):
        rows.forget_bucket(context, bucket)
    for bucket in there:
        rows.add_bucket(context, bucket)
        folders.scan_all(context, bucket)


def read_new_files(context: Context) -> None:
    """Find the ETags of files that came without one, so that no page has to; at half of a core's speed."""
    for bucket in tree.buckets(context):
        after = ""
        while some := rows.undescribed(context, bucket, after, BATCH):
            began = time.monotonic()
            try:
                pages.describe(context, bucket, some)
            except OSError as problem:
                logger.warning("could not read an object of %s: %s", bucket, problem)
            after = some[-1]
            if context.stopping.wait(time.monotonic() - began):
                return


def keep_rules(context: Context) -> None:
    """Carry out the lifecycle rules at once and then every hour of the server's clock."""
    done = 0.0

    def work() -> None:
        nonlocal done
        if time.time() - done >= clock(context).seconds(HOUR):
            done = time.time()
            lifecycle.carry_out(context, done)

    work()
    repeat(context, lambda _: min(EVERY, clock(context).seconds(HOUR)), work)
