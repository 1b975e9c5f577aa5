"""Application Auto Scaling for SageMaker's production variants: targets and policies, kept across restarts.

They are stored and checked here; nothing acts on them yet, so there are no scaling activities.
"""

import re
import time
import uuid

from embedded.context import Context
from embedded.errors import AwsError, ValidationException
from embedded.services import operation
from embedded.services.sagemaker_endpoints import find as find_endpoint

SERVICE = "application-autoscaling"
TARGET = "scalable-target"
POLICY = "scaling-policy"

SERVICE_LINKED_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
CONFIGURATION = {
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    "StepScaling": "StepScalingPolicyConfiguration",
}


@operation(SERVICE, "RegisterScalableTarget")
def register_scalable_target(context: Context, request: dict) -> dict:
    """Registering again changes only what is given."""
    endpoint, variant = _variant_of(request)
    known = {v["Name"]: v for v in find_endpoint(context, endpoint)["_Variants"]}
    if variant not in known:
        raise ValidationException(f"Could not find variant {variant} of endpoint {endpoint}.")
    if known[variant]["Serverless"]:
        raise ValidationException(
            f"Variant {variant} of endpoint {endpoint} is serverless: it has no instances to scale."
        )
    before = context.store.get(TARGET, _name(request))
    if before is None and not {"MinCapacity", "MaxCapacity"} <= set(request):
        raise ValidationException("MinCapacity and MaxCapacity are needed when a scalable target is registered first.")
    role = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/" + SERVICE_LINKED_ROLE
    body = {
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
    body["SuspendedState"] |= request.get("SuspendedState", {})
    if body["MaxCapacity"] < body["MinCapacity"]:
        raise ValidationException("Maximum capacity cannot be less than minimum capacity.")
    if body["MinCapacity"] < 1:
        raise ValidationException("Minimum capacity of a SageMaker variant must be at least 1.")
    context.store.put(TARGET, _name(request), body)
    return {"ScalableTargetARN": body["ScalableTargetARN"]}


@operation(SERVICE, "DescribeScalableTargets")
def describe_scalable_targets(context: Context, request: dict) -> dict:
    wanted = request.get("ResourceIds")
    targets = [t for t in context.store.list(TARGET) if _fits(t, request) and (not wanted or t["ResourceId"] in wanted)]
    return _paged(targets, request, "ScalableTargets")


@operation(SERVICE, "DeregisterScalableTarget")
def deregister_scalable_target(context: Context, request: dict) -> None:
    _variant_of(request)
    if not context.store.delete(TARGET, _name(request)):
        raise _not_found("No scalable target found", request)
    for policy in context.store.list(POLICY, _name(request) + "|"):
        context.store.delete(POLICY, f"{_name(request)}|{policy['PolicyName']}")


@operation(SERVICE, "PutScalingPolicy")
def put_scaling_policy(context: Context, request: dict) -> dict:
    _variant_of(request)
    if context.store.get(TARGET, _name(request)) is None:
        raise _not_found("No scalable target registered", request)
    name = f"{_name(request)}|{request['PolicyName']}"
    before = context.store.get(POLICY, name)
    kind = request.get("PolicyType") or (before or {}).get("PolicyType", "StepScaling")
    if kind not in CONFIGURATION:
        raise ValidationException(f"Policy type {kind} is not one for SageMaker: use {' or '.join(CONFIGURATION)}.")
    if before and before["PolicyType"] != kind:
        raise ValidationException(
            f"Scaling policy {request['PolicyName']} is {before['PolicyType']}: its type is fixed."
        )
    configuration = CONFIGURATION[kind]
    if configuration not in request:
        raise ValidationException(f"A policy of type {kind} needs {configuration}.")
    path = f"resource/sagemaker/{request['ResourceId']}:policyName/{request['PolicyName']}"
    body = {
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
    context.store.put(POLICY, name, body)
    return {"PolicyARN": body["PolicyARN"], "Alarms": body["Alarms"]}


@operation(SERVICE, "DescribeScalingPolicies")
def describe_scaling_policies(context: Context, request: dict) -> dict:
    wanted = request.get("PolicyNames")
    policies = [
        p for p in context.store.list(POLICY) if _fits(p, request) and (not wanted or p["PolicyName"] in wanted)
    ]
    return _paged(policies, request, "ScalingPolicies")


@operation(SERVICE, "DeleteScalingPolicy")
def delete_scaling_policy(context: Context, request: dict) -> None:
    _variant_of(request)
    if not context.store.delete(POLICY, f"{_name(request)}|{request['PolicyName']}"):
        raise _not_found("No scaling policy found", request)


@operation(SERVICE, "DescribeScalingActivities")
def describe_scaling_activities(context: Context, request: dict) -> dict:
    return {"ScalingActivities": []}


_SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


def _variant_of(request: dict) -> tuple[str, str]:
    """(endpoint, variant) of endpoint/<endpoint>/variant/<variant>. Raises ValidationException for other resources."""
    if request["ServiceNamespace"] != "sagemaker" or request["ScalableDimension"] != DIMENSION:
        what = f"{request['ServiceNamespace']} {request['ScalableDimension']}"
        raise ValidationException(f"The embedded Application Auto Scaling scales {DIMENSION} only, not {what}.")
    match = re.fullmatch(r"endpoint/([^/]+)/variant/([^/]+)", request["ResourceId"])
    if not match:
        raise ValidationException(
            f"Unsupported resource ID {request['ResourceId']!r}: a variant's is endpoint/<endpoint>/variant/<variant>."
        )
    return match[1], match[2]


def _name(request: dict) -> str:
    return f"{request['ResourceId']}|{DIMENSION}"


def _fits(body: dict, request: dict) -> bool:
    members = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    return all(request.get(member, body[member]) == body[member] for member in members)


def _not_found(what: str, request: dict) -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"{what} for service namespace: sagemaker, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {DIMENSION}"
        + (f", scaling policy name: {request['PolicyName']}" if "PolicyName" in request else ""),
    )


def _paged(items: list[dict], request: dict, answer: str) -> dict:
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise AwsError("InvalidNextTokenException", f"Invalid NextToken: {token}")
    last = int(token) + request.get("MaxResults", 50)
    return {answer: items[int(token) : last], "NextToken": str(last) if last < len(items) else None}
