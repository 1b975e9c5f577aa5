"""Scalable targets: an endpoint's variant, the bounds of its instance count, and the count itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.autoscaling.documents import OfVariant, ScalableTarget

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@dataclass(frozen=True)
class Capacity:
    """A variant's instances: how many it has, how many are wanted, and whether that may be changed now."""

    current: int
    desired: int
    changeable: bool


def variant_of(request: Mapping[str, Any]) -> tuple[str, str]:
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


def name_of(body: Mapping[str, Any]) -> str:
    """The name in the store of the target that a request, a policy or an action is about."""
    return f"{body['ResourceId']}|{DIMENSION}"


def capacity(context: Context, target: OfVariant) -> Capacity | None:
    """None when the endpoint or the variant is gone: AWS leaves the target registered, and nothing happens to it."""
    endpoint, variant = variant_of(target)
    try:
        found = context.call("sagemaker", "DescribeEndpoint", EndpointName=endpoint)
    except AwsError:
        return None
    for production in found.get("ProductionVariants", []):
        if production["VariantName"] == variant and "DesiredInstanceCount" in production:
            current, desired = production["CurrentInstanceCount"], production["DesiredInstanceCount"]
            return Capacity(current, desired, found["EndpointStatus"] == "InService")
    return None


def set_capacity(context: Context, target: OfVariant, count: int) -> None:
    """Ask SageMaker for `count` instances. Raises AwsError where it refuses."""
    endpoint, variant = variant_of(target)
    wanted = [{"VariantName": variant, "DesiredInstanceCount": count}]
    context.call(
        "sagemaker", "UpdateEndpointWeightsAndCapacities", EndpointName=endpoint, DesiredWeightsAndCapacities=wanted
    )


def bounded(target: ScalableTarget, count: int) -> int:
    return max(target["MinCapacity"], min(count, target["MaxCapacity"]))
