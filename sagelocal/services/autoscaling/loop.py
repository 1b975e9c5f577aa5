"""Application Auto Scaling's heartbeat: ends activities, applies bounds and scheduled actions, feeds the metric of
variants that nobody asks. Policies are called by alarms."""

import time

from sagelocal.core.context import Context
from sagelocal.services.autoscaling import activities, bounds, policies, scheduled, targets
from sagelocal.services.autoscaling.documents import TARGET
from sagelocal.services.cloudwatch import endpoints
from sagelocal.services.cloudwatch import loop as cloudwatch


def run(context: Context) -> None:
    """Beat until the server stops."""
    since = time.time()

    def work() -> None:
        nonlocal since
        before, since = since, time.time()
        beat(context, before, since)

    cloudwatch.repeat(context, cloudwatch.pause, work)


def beat(context: Context, since: float, now: float) -> None:
    """One look, at `now` (seconds since 1970); the last was at `since`."""
    for target in context.store.list(TARGET):
        if targets.capacity(context, target):
            endpoints.count_none(context, *targets.variant_of(target), now)
    scheduled.run_due(context, since, now)
    with policies.one_at_a_time(context):
        activities.settle(context, now)
        bounds.apply(context, now)
