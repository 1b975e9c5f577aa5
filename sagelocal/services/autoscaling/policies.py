"""What a scaling policy does when an alarm calls it."""

import threading
from collections.abc import Sequence

from sagelocal.core.context import Context, one_per_server
from sagelocal.services.autoscaling import activities, cooldown, step, targets, tracking
from sagelocal.services.autoscaling.cooldown import DEFAULT_SECONDS
from sagelocal.services.autoscaling.documents import POLICY, TARGET, Activity, ScalableTarget, ScalingPolicy
from sagelocal.services.cloudwatch import alarms
from sagelocal.services.cloudwatch.documents import Alarm
from sagelocal.services.cloudwatch.evaluation import ALARM, Point

SUSPENDED = {True: "DynamicScalingOutSuspended", False: "DynamicScalingInSuspended"}


@one_per_server
def one_at_a_time(_: Context) -> threading.Lock:
    """Held while capacities are looked at and changed."""
    return threading.Lock()


@alarms.action("autoscaling")
def called(context: Context, arn: str, alarm: Alarm, points: Sequence[Point], now: float) -> None:
    """Run the policy that an alarm's action names, unless its target is suspended, changing, or cooling down."""
    policy = next((p for p in context.store.list(POLICY) if p["PolicyARN"] == arn), None)
    target = context.store.get(TARGET, targets.name_of(policy)) if policy else None
    values = [point.value for point in points if point.value is not None]
    if policy is None or target is None or not values:
        return
    with one_at_a_time(context):
        activities.settle(context, now)
        change(context, policy, target, alarm, values, now)


def change(
    context: Context, policy: ScalingPolicy, target: ScalableTarget, alarm: Alarm, values: list[float], now: float
) -> Activity | None:
    """Ask for the count that a policy wants now; the activity, or None when nothing is to be done.

    `values`: what the alarm saw, newest first.
    """
    capacity = targets.capacity(context, target)
    if capacity is None or not capacity.changeable:
        return None
    running = activities.cooldown_of(context, target)
    base = cooldown.base(running, True, capacity.desired, now)
    if policy["PolicyType"] == "TargetTrackingScaling":
        wanted = _tracked(context, policy, alarm, values[0], base, capacity.desired)
    else:
        wanted = _stepped(policy, alarm, values, base, capacity.desired)
    if wanted is None:
        return None
    wanted = targets.bounded(target, wanted)
    out = wanted > capacity.desired
    if wanted == capacity.desired or target["SuspendedState"].get(SUSPENDED[out]):
        return None
    if not cooldown.allows(running, out, wanted, now):
        return None
    cause = f"monitor alarm {alarm['AlarmName']} in state {alarm['StateValue']} triggered policy {policy['PolicyName']}"
    begun = {"out": out, "base": base if out else capacity.desired, "seconds": _seconds(policy, out)}
    return activities.set_capacity(context, target, wanted, cause, now, begun)


def _tracked(
    context: Context, policy: ScalingPolicy, alarm: Alarm, value: float, base: int, desired: int
) -> int | None:
    """The count that target tracking wants; to scale in, every policy of the target that may must want it."""
    target_value = policy[tracking.CONFIGURATION]["TargetValue"]
    if tracking.is_high(alarm["AlarmName"]):
        return max(desired, tracking.wanted_out(base, value, target_value))
    others = [p for p in context.store.list(POLICY, targets.name_of(policy) + "|") if p["Alarms"]]
    low = [a["AlarmName"] for p in others for a in p["Alarms"] if not tracking.is_high(a["AlarmName"])]
    if any(alarms.state(context, name) != ALARM for name in low):
        return None
    return tracking.wanted_in(desired, value, target_value)


def _stepped(policy: ScalingPolicy, alarm: Alarm, values: list[float], base: int, desired: int) -> int | None:
    configuration = policy[step.CONFIGURATION]
    amount = step.adjustment(configuration, step.breach(configuration, values, alarm["Threshold"]))
    if amount is None:
        return None
    plain = step.wanted(configuration, desired, amount)
    if plain <= desired:
        return plain
    return max(desired, step.wanted(configuration, base, amount))


def _seconds(policy: ScalingPolicy, out: bool) -> int:
    """AWS's seconds of the cooldown that a change by this policy begins."""
    if policy["PolicyType"] == "TargetTrackingScaling":
        configuration = policy[tracking.CONFIGURATION]
        own = configuration.get("ScaleOutCooldown") if out else configuration.get("ScaleInCooldown")
        return DEFAULT_SECONDS if own is None else own
    return policy[step.CONFIGURATION].get("Cooldown", DEFAULT_SECONDS)
