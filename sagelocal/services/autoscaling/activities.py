"""Scaling activities: what was changed, why, and how it ended.

Wording: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html
"""

import uuid

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.autoscaling import targets
from sagelocal.services.autoscaling.cooldown import Cooldown
from sagelocal.services.autoscaling.documents import ACTIVITY, Activity, OfVariant
from sagelocal.services.cloudwatch.clock import clock

KEPT_SECONDS = 6 * 7 * 24 * 3600.0  # six weeks, as on AWS
WAITING = "Waiting for change to be fulfilled by sagemaker."
FULFILLED = "Change successfully fulfilled by sagemaker."


def set_capacity(
    context: Context, target: OfVariant, count: int, cause: str, now: float, cooldown: Json | None = None
) -> Activity:
    """Ask for `count` instances; the activity, InProgress until `settle` sees the count, or Failed.

    `cooldown`: what begins when it has succeeded.
    """
    activity = _new(context, target, f"Setting desired instance count to {count}.", cause, now)
    activity.update({"_Count": count, "_Cooldown": cooldown})
    try:
        targets.set_capacity(context, target, count)
        activity["StatusMessage"] = f"Successfully set desired instance count to {count}. {WAITING}"
    except AwsError as problem:
        activity.update({"StatusCode": "Failed", "EndTime": activity["StartTime"]})
        activity["StatusMessage"] = f"Failed to set desired instance count to {count}. Reason: {problem.message}"
    context.store.put(ACTIVITY, _name(activity), activity)
    return activity


def record(context: Context, target: OfVariant, what: str, cause: str, now: float) -> Activity:
    """Note a change that is done at once: `what` as in "set min capacity to 1 and max capacity to 4"."""
    activity = _new(context, target, f"Setting {what.removeprefix('set ')}", cause, now)
    activity.update({"StatusCode": "Successful", "EndTime": activity["StartTime"]})
    activity["StatusMessage"] = f"Successfully {what}"
    context.store.put(ACTIVITY, _name(activity), activity)
    return activity


def settle(context: Context, now: float) -> None:
    """End the activities whose endpoint is not changing any more; forget those older than six weeks."""
    for activity in context.store.list(ACTIVITY):
        if activity["StatusCode"] == "InProgress":
            ended = _ended(context, activity)
            if ended:
                context.store.update(ACTIVITY, _name(activity), ended | {"EndTime": now})
        elif activity["StartTime"] < now - KEPT_SECONDS:
            context.store.delete(ACTIVITY, _name(activity))


def of_target(context: Context, resource: str | None = None) -> list[Activity]:
    """The activities of a target, or of all, newest first."""
    return context.store.list(ACTIVITY, f"{resource}|" if resource else "")[::-1]


def cooldown_of(context: Context, target: OfVariant) -> Cooldown | None:
    """The cooldown that the last change by a policy began, running or over."""
    for activity in of_target(context, target["ResourceId"]):
        begun = activity.get("_Cooldown")
        if begun and activity["StatusCode"] == "Successful":
            until = activity["EndTime"] + clock(context).seconds(begun["seconds"])
            return Cooldown(begun["out"], begun["base"], activity["_Count"], until)
    return None


def _ended(context: Context, activity: Activity) -> Json | None:
    """How an activity in progress ended; None while it has not."""
    count = activity["_Count"]
    capacity = targets.capacity(context, activity)
    if capacity and not capacity.changeable:
        return None
    if capacity and capacity.current == count:
        message = f"Successfully set desired instance count to {count}. {FULFILLED}"
        return {"StatusCode": "Successful", "StatusMessage": message}
    if capacity is None:
        reason = "The endpoint or its variant does not exist any more."
    else:
        reason = f"The variant has {capacity.current} instances."
    return {"StatusCode": "Failed", "StatusMessage": f"Failed to set desired instance count to {count}. {reason}"}


def _new(context: Context, target: OfVariant, description: str, cause: str, now: float) -> Activity:
    return {
        "ActivityId": str(uuid.uuid4()),
        "ServiceNamespace": "sagemaker",
        "ResourceId": target["ResourceId"],
        "ScalableDimension": targets.DIMENSION,
        "Description": description,
        "Cause": cause,
        "StartTime": now,
        "StatusCode": "InProgress",
    }


def _name(activity: Activity) -> str:
    return f"{activity['ResourceId']}|{activity['ActivityId']}"
