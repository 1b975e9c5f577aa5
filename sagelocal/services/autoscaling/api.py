"""Application Auto Scaling for SageMaker's production variants: targets, policies, scheduled actions and activities.

What acts on them: loop.py and policies.py.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import on_start, operation
from sagelocal.services.autoscaling import activities, bounds, loop, scheduled, step, tracking
from sagelocal.services.autoscaling.documents import (
    POLICY,
    SCHEDULED_ACTION,
    TARGET,
    ScalableTarget,
    ScalingPolicy,
    ScheduledAction,
)
from sagelocal.services.autoscaling.targets import DIMENSION, name_of, variant_of
from sagelocal.services.cloudwatch.api import seconds
from sagelocal.services.sagemaker.hosting.endpoints_api import ENDPOINTS
from sagelocal.services.scheduler import expressions

SERVICE = "application-autoscaling"
SERVICE_LINKED_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
KINDS = {
    "TargetTrackingScaling": (tracking.CONFIGURATION, tracking.check),
    "StepScaling": (step.CONFIGURATION, step.check),
}


@on_start
def begin(context: Context) -> None:
    """Give policies of a server that had no alarms yet theirs, and start."""
    for name, policy in context.store.items(POLICY):
        if policy["PolicyType"] == "TargetTrackingScaling" and not policy["Alarms"]:
            context.store.update(POLICY, name, {"Alarms": tracking.put_alarms(context, policy)})
    context.spawn("auto scaling", loop.run, context)


@operation(SERVICE, "RegisterScalableTarget")
def register_scalable_target(context: Context, request: Json) -> Json:
    """Registering again changes only what is given. A count outside the bounds is brought into them."""
    endpoint, variant = variant_of(request)
    known = {v["Name"]: v for v in ENDPOINTS.find(context, endpoint)["_Variants"]}
    if variant not in known:
        raise ValidationException(f"Could not find variant {variant} of endpoint {endpoint}.")
    if known[variant]["Serverless"]:
        raise ValidationException(
            f"Variant {variant} of endpoint {endpoint} is serverless: it has no instances to scale."
        )
    before = context.store.get(TARGET, name_of(request))
    if before is None and not {"MinCapacity", "MaxCapacity"} <= set(request):
        raise ValidationException("MinCapacity and MaxCapacity are needed when a scalable target is registered first.")
    role = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/" + SERVICE_LINKED_ROLE
    described: Json = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": request["ResourceId"],
        "ScalableDimension": DIMENSION,
        "RoleARN": f"arn:aws:iam::{context.account}:role/{role}",
        "CreationTime": time.time(),
        "SuspendedState": {member: False for member in _SUSPENDABLE},
        "ScalableTargetARN": context.arn(SERVICE, f"scalable-target/{uuid.uuid4().hex}"),
        **(before or {}),
        **{member: request[member] for member in ("MinCapacity", "MaxCapacity", "RoleARN") if member in request},
    }
    body = cast(ScalableTarget, described)
    body["SuspendedState"].update(request.get("SuspendedState", {}))
    if body["MaxCapacity"] < body["MinCapacity"]:
        raise ValidationException("Maximum capacity cannot be less than minimum capacity.")
    if body["MinCapacity"] < 1:
        raise ValidationException("Minimum capacity of a SageMaker variant must be at least 1.")
    context.store.put(TARGET, name_of(request), body)
    if {"MinCapacity", "MaxCapacity"} & set(request):
        bounds.check(context, name_of(request))
    return {"ScalableTargetARN": body["ScalableTargetARN"]}


@operation(SERVICE, "DescribeScalableTargets")
def describe_scalable_targets(context: Context, request: Json) -> Json:
    return _paged(context.store.list(TARGET), request, "ScalableTargets", "ResourceId")


@operation(SERVICE, "DeregisterScalableTarget")
def deregister_scalable_target(context: Context, request: Json) -> None:
    """Its policies, their alarms and its scheduled actions go with it."""
    variant_of(request)
    name = name_of(request)
    with context.store.transaction():
        if not context.store.delete(TARGET, name):
            raise _not_found("No scalable target found", request)
        for policy in context.store.list(POLICY, name + "|"):
            _delete_policy(context, policy)
        for action in context.store.list(SCHEDULED_ACTION, name + "|"):
            context.store.delete(SCHEDULED_ACTION, f"{name}|{action['ScheduledActionName']}")


@operation(SERVICE, "PutScalingPolicy")
def put_scaling_policy(context: Context, request: Json) -> Json:
    """Make a policy, or replace one. One that tracks a target has its own two alarms; a step policy is named as an
    action of alarms that the user makes."""
    _check_registered(context, request)
    name = f"{name_of(request)}|{request['PolicyName']}"
    before = context.store.get(POLICY, name)
    kind = request.get("PolicyType") or (before["PolicyType"] if before else "StepScaling")
    if kind not in KINDS:
        raise ValidationException(f"Policy type {kind} is not one for SageMaker: use {' or '.join(KINDS)}.")
    if before and before["PolicyType"] != kind:
        raise ValidationException(
            f"Scaling policy {request['PolicyName']} is {before['PolicyType']}: its type is fixed."
        )
    configuration, check = KINDS[kind]
    if configuration not in request:
        raise ValidationException(f"A policy of type {kind} needs {configuration}.")
    check(request[configuration])
    path = f"resource/sagemaker/{request['ResourceId']}:policyName/{request['PolicyName']}"
    described = {
        "PolicyARN": context.arn("autoscaling", f"scalingPolicy:{uuid.uuid4()}:{path}"),
        "CreationTime": time.time(),
        "Alarms": [],
        **(before or {}),
        "PolicyName": request["PolicyName"],
        "ServiceNamespace": "sagemaker",
        "ResourceId": request["ResourceId"],
        "ScalableDimension": DIMENSION,
        "PolicyType": kind,
        configuration: request[configuration],
    }
    body = cast(ScalingPolicy, described)
    with context.store.transaction():
        if kind == "TargetTrackingScaling":
            body["Alarms"] = tracking.put_alarms(context, body)
        context.store.put(POLICY, name, body)
    return {"PolicyARN": body["PolicyARN"], "Alarms": body["Alarms"]}


@operation(SERVICE, "DescribeScalingPolicies")
def describe_scaling_policies(context: Context, request: Json) -> Json:
    return _paged(context.store.list(POLICY), request, "ScalingPolicies", "PolicyName")


@operation(SERVICE, "DeleteScalingPolicy")
def delete_scaling_policy(context: Context, request: Json) -> None:
    variant_of(request)
    policy = context.store.get(POLICY, f"{name_of(request)}|{request['PolicyName']}")
    if policy is None:
        raise _not_found("No scaling policy found", request)
    _delete_policy(context, policy)


@operation(SERVICE, "PutScheduledAction")
def put_scheduled_action(context: Context, request: Json) -> None:
    """Make a scheduled action, or change what is given of one."""
    _check_registered(context, request)
    name = f"{name_of(request)}|{request['ScheduledActionName']}"
    before = context.store.get(SCHEDULED_ACTION, name)
    path = f"resource/sagemaker/{request['ResourceId']}:scheduledActionName/{request['ScheduledActionName']}"
    times: Json = {member: seconds(request[member]) for member in ("StartTime", "EndTime") if member in request}
    described: Json = {
        "ScheduledActionARN": context.arn("autoscaling", f"scheduledAction:{uuid.uuid4()}:{path}"),
        "CreationTime": time.time(),
        "Timezone": "UTC",
        **(before or {}),
        **{member: value for member, value in request.items() if member in _ACTION_MEMBERS},
        **times,
    }
    if "Schedule" not in described or not described.get("ScalableTargetAction"):
        raise ValidationException("A scheduled action needs Schedule, and MinCapacity or MaxCapacity.")
    body = cast(ScheduledAction, described)
    try:
        expressions.parse(body["Schedule"])
        expressions.zone(body["Timezone"])
    except expressions.ExpressionError as problem:
        raise ValidationException(str(problem)) from None
    wanted = body["ScalableTargetAction"]
    if wanted.get("MaxCapacity", wanted.get("MinCapacity", 1)) < wanted.get("MinCapacity", 1):
        raise ValidationException("Maximum capacity cannot be less than minimum capacity.")
    if min(wanted.get("MinCapacity", 1), wanted.get("MaxCapacity", 1)) < 1:
        raise ValidationException("The capacity of a SageMaker variant must be at least 1.")
    if body.get("EndTime", float("inf")) <= body.get("StartTime", 0):
        raise ValidationException("EndTime of a scheduled action must be after its StartTime.")
    if scheduled.next_due(body, time.time()) is None:
        raise ValidationException(f"{body['Schedule']} has no time in the future.")
    context.store.put(SCHEDULED_ACTION, name, body)


@operation(SERVICE, "DescribeScheduledActions")
def describe_scheduled_actions(context: Context, request: Json) -> Json:
    return _paged(context.store.list(SCHEDULED_ACTION), request, "ScheduledActions", "ScheduledActionName")


@operation(SERVICE, "DeleteScheduledAction")
def delete_scheduled_action(context: Context, request: Json) -> None:
    variant_of(request)
    if not context.store.delete(SCHEDULED_ACTION, f"{name_of(request)}|{request['ScheduledActionName']}"):
        raise _not_found("No scheduled action found", request)


@operation(SERVICE, "DescribeScalingActivities")
def describe_scaling_activities(context: Context, request: Json) -> Json:
    """Newest first."""
    return _paged(activities.of_target(context, request.get("ResourceId")), request, "ScalingActivities", "ActivityId")


_SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_ACTION_MEMBERS = (
    *("ScheduledActionName", "ServiceNamespace", "ResourceId", "ScalableDimension"),
    *("Schedule", "Timezone", "ScalableTargetAction"),
)


def _check_registered(context: Context, request: Json) -> None:
    variant_of(request)
    if context.store.get(TARGET, name_of(request)) is None:
        raise _not_found("No scalable target registered", request)


def _delete_policy(context: Context, policy: ScalingPolicy) -> None:
    with context.store.transaction():
        tracking.delete_alarms(context, policy)
        context.store.delete(POLICY, f"{name_of(policy)}|{policy['PolicyName']}")


def _not_found(what: str, request: Json) -> AwsError:
    named = {"PolicyName": "scaling policy name", "ScheduledActionName": "scheduled action name"}
    which = "".join(f", {text}: {request[member]}" for member, text in named.items() if member in request)
    return AwsError(
        "ObjectNotFoundException",
        f"{what} for service namespace: sagemaker, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {DIMENSION}{which}",
    )


def _paged(items: Sequence[Any], request: Json, answer: str, name: str) -> Json:
    """A page of what a request is about. `name`: the member that <name>s of a request choose by."""
    members, names = ("ServiceNamespace", "ResourceId", "ScalableDimension"), request.get(f"{name}s")
    fit = [item for item in items if all(request.get(member, item[member]) == item[member] for member in members)]
    items = [item for item in fit if not names or item[name] in names]
    token = request.get("NextToken", "0")
    if not is_whole(token):
        raise AwsError("InvalidNextTokenException", f"Invalid NextToken: {token}")
    last = int(token) + request.get("MaxResults", 50)
    return {answer: items[int(token) : last], "NextToken": str(last) if last < len(items) else None}
