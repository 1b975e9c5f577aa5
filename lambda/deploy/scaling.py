"""Auto scaling of one variant: a scalable target and a policy, changed only when they differ."""

from __future__ import annotations

from typing import Any

from calls import Calls, Clients, contains
from deployment import VARIANT, Deployment

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"

Variant = dict[str, str]


def reconcile_scaling(deployment: Deployment, calls: Calls) -> None:
    """Needs the endpoint in service: Application Auto Scaling refuses a variant that does not exist yet.

    A serverless endpoint scales by itself; a scalable target that an earlier endpoint of the same name left
    registered (deleting an endpoint leaves it) is taken away.
    """
    name = deployment.endpoint_name
    if deployment.serverless:
        deregister(name, calls)
        return
    variant = _variant(name)
    target = _registered_target(variant, calls.clients)
    bounds = {"MinCapacity": deployment.min_instances, "MaxCapacity": deployment.max_instances}
    if not contains(target, bounds):
        calls.change("autoscaling", "register_scalable_target", **variant, **bounds)
    _track_target(deployment, variant, calls)


def deregister(endpoint_name: str, calls: Calls) -> bool:
    """Take the scalable target away, which takes its policies, their alarms and its scheduled actions along; False
    where there is none."""
    variant = _variant(endpoint_name)
    if _registered_target(variant, calls.clients) is None:
        return False
    calls.change("autoscaling", "deregister_scalable_target", **variant)
    return True


def _track_target(deployment: Deployment, variant: Variant, calls: Calls) -> None:
    name = f"{deployment.endpoint_name}-invocations-per-instance"
    found = calls.clients.autoscaling.describe_scaling_policies(PolicyNames=[name], **variant)["ScalingPolicies"]
    present = found[0] if found else {}
    wanted = {
        "TargetValue": deployment.target_invocations_per_instance,
        "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
        "ScaleInCooldown": deployment.scale_in_cooldown,
        "ScaleOutCooldown": deployment.scale_out_cooldown,
    }
    if not contains(present.get("TargetTrackingScalingPolicyConfiguration"), wanted):
        calls.change(
            "autoscaling",
            "put_scaling_policy",
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=wanted,
            **variant,
        )


def _variant(endpoint_name: str) -> Variant:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def _registered_target(variant: Variant, clients: Clients) -> dict[str, Any] | None:
    targets = clients.autoscaling.describe_scalable_targets(
        ServiceNamespace=variant["ServiceNamespace"],
        ResourceIds=[variant["ResourceId"]],
        ScalableDimension=variant["ScalableDimension"],
    )["ScalableTargets"]
    return targets[0] if targets else None
