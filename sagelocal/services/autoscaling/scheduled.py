"""Scheduled actions: new bounds for a target at given times, real ones whatever the clock's speed.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

from sagelocal.core.context import Context
from sagelocal.services.autoscaling import activities, bounds, targets
from sagelocal.services.autoscaling.documents import SCHEDULED_ACTION, TARGET, ScheduledAction
from sagelocal.services.scheduler import expressions


def next_due(action: ScheduledAction, after: float) -> float | None:
    """When an action runs next, after `after` (seconds since 1970); None when it does not any more.

    A rate counts from StartTime, or from when the action was made.
    """
    expression, first = expressions.parse(action["Schedule"]), action["CreationTime"]
    if isinstance(expression, expressions.Rate):
        first += expression.interval.total_seconds()
    span = action.get("StartTime"), action.get("EndTime")
    return expressions.next_within(expression, action.get("Timezone", "UTC"), after, first, *span)


def run_due(context: Context, since: float, now: float) -> None:
    """Run every action that was due after `since`, up to `now`."""
    for action in context.store.list(SCHEDULED_ACTION):
        due = next_due(action, since)
        if due is not None and due <= now:
            run(context, action, now)


def run(context: Context, action: ScheduledAction, now: float) -> None:
    """Give the target the action's bounds; the count follows. Nothing happens while scheduled scaling is suspended."""
    name = targets.name_of(action)
    target = context.store.get(TARGET, name)
    if target is None or target["SuspendedState"]["ScheduledScalingSuspended"]:
        return
    changes = action["ScalableTargetAction"]
    low, high = changes.get("MinCapacity", target["MinCapacity"]), changes.get("MaxCapacity", target["MaxCapacity"])
    if high < low:
        return
    context.store.update(TARGET, name, changes)
    said = [f"min capacity to {low}"] if "MinCapacity" in changes else []
    what = " and ".join(said + ([f"max capacity to {high}"] if "MaxCapacity" in changes else []))
    activities.record(
        context, target, f"set {what}", f"scheduled action name {action['ScheduledActionName']} was triggered", now
    )
    bounds.check(context, name)
