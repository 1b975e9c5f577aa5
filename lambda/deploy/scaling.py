"""Auto scaling of one variant: a scalable target and a target tracking policy, changed only when they differ."""

from __future__ import annotations

from typing import Any

from calls import Changes, Clients
from deployment import VARIANT, Deployment

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"


def reconcile_scaling(deployment: Deployment, clients: Clients, changes: Changes) -> None:
    """Needs the endpoint in service: Application Auto Scaling refuses a variant that does not exist yet.

    A serverless endpoint scales by itself; a scalable target that an earlier endpoint of the same name left
    registered (deleting an endpoint leaves it) is taken away.
    """
    variant = {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{deployment.endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }
    target = _registered_target(variant, clients)
    if deployment.serverless:
        if target:
            changes.call(clients.autoscaling, "deregister_scalable_target", **variant)
        return
    bounds = {"MinCapacity": deployment.min_instances, "MaxCapacity": deployment.max_instances}
    if not _contains(target, bounds):
        changes.call(clients.autoscaling, "register_scalable_target", **variant, **bounds)
    wanted = _target_tracking(deployment)
    name = f"{deployment.endpoint_name}-invocations-per-instance"
    policies = clients.autoscaling.describe_scaling_policies(PolicyNames=[name], **variant)["ScalingPolicies"]
    present = policies[0].get("TargetTrackingScalingPolicyConfiguration") if policies else None
    if not _contains(present, wanted):
        changes.call(
            clients.autoscaling,
            "put_scaling_policy",
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=wanted,
            **variant,
        )


def _registered_target(variant: dict[str, str], clients: Clients) -> dict[str, Any] | None:
    targets = clients.autoscaling.describe_scalable_targets(
        ServiceNamespace=variant["ServiceNamespace"],
        ResourceIds=[variant["ResourceId"]],
        ScalableDimension=variant["ScalableDimension"],
    )["ScalableTargets"]
    return targets[0] if targets else None


def _target_tracking(deployment: Deployment) -> dict[str, Any]:
    return {
        "TargetValue": deployment.target_invocations_per_instance,
        "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
        "ScaleInCooldown": deployment.scale_in_cooldown,
        "ScaleOutCooldown": deployment.scale_out_cooldown,
    }


def _contains(present: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """AWS answers with more fields than it was given, so only the given ones are compared."""
    return present is not None and all(present.get(key) == value for key, value in wanted.items())
