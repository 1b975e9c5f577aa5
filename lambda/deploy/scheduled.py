"""Scheduled scaling: other bounds of the scalable target at other times, as scheduled actions."""

from __future__ import annotations

import hashlib

from calls import Changes, Clients
from deployment import Deployment
from reading import Schedule


def reconcile_schedules(deployment: Deployment, variant: dict[str, str], clients: Clients, changes: Changes) -> None:
    """Names are content hashes: an action that is there is as wanted. Those that this function made and that are not
    wanted any more are deleted; anybody else's stay."""
    prefix = f"{deployment.endpoint_name}-bounds-"
    wanted = {f"{prefix}{_digest(each)}": each for each in deployment.schedules}
    found = clients.autoscaling.describe_scheduled_actions(**variant)["ScheduledActions"]
    present = [action["ScheduledActionName"] for action in found]
    for name, each in wanted.items():
        if name not in present:
            changes.call(
                clients.autoscaling,
                "put_scheduled_action",
                ScheduledActionName=name,
                Schedule=each.schedule,
                ScalableTargetAction={"MinCapacity": each.min, "MaxCapacity": each.max},
                **variant,
            )
    for name in present:
        if name.startswith(prefix) and name not in wanted:
            changes.call(clients.autoscaling, "delete_scheduled_action", ScheduledActionName=name, **variant)


def _digest(schedule: Schedule) -> str:
    return hashlib.sha256(repr(tuple(schedule)).encode()).hexdigest()[:10]
