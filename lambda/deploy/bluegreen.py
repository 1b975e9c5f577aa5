"""How an update is made: UpdateEndpoint's arguments for a deployment, and for the way back."""

from __future__ import annotations

from typing import Any

from deployment import Deployment
from endpoint import Endpoint, runs_on_instances
from failures import EndpointFailed

LONGEST_WAIT = 3600  # of TerminationWaitInSeconds
SPARE_SECONDS = 3600  # for starting the new fleet and ending the old one, beside the waits


def check(deployment: Deployment, endpoint: Endpoint) -> None:
    """Raises EndpointFailed for an update that SageMaker cannot make."""
    if deployment.serverless and runs_on_instances(endpoint):
        raise EndpointFailed(
            f"Endpoint {deployment.endpoint_name} runs on instances and SageMaker cannot turn it serverless. "
            "Use another endpoint_name, or delete the endpoint first."
        )


def forward(deployment: Deployment, alarm_names: list[str], endpoint: Endpoint) -> dict[str, Any]:
    """Blue/green: the old fleet serves until the new one answers its health checks, and takes over again when one of
    the alarms goes off while it is kept.

    RetainAllVariantProperties keeps the instance count that auto scaling has reached; without it an update under
    load falls back to the configuration's initial count. Neither applies to a serverless endpoint.
    """
    if deployment.serverless:
        return {}
    config: dict[str, Any] = {"BlueGreenUpdatePolicy": _policy(deployment, endpoint)}
    if alarm_names:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarm_names]}
    return {"RetainAllVariantProperties": runs_on_instances(endpoint), "DeploymentConfig": config}


def back(endpoint: Endpoint) -> dict[str, Any]:
    """All at once, and with the instances that there are: what serves now should serve no longer."""
    return {"RetainAllVariantProperties": True} if runs_on_instances(endpoint) else {}


def _policy(deployment: Deployment, endpoint: Endpoint) -> dict[str, Any]:
    """A canary is at most half of the instances (API reference, TrafficRoutingConfig), so a single instance has none:
    it takes all requests at once, and the old one is kept for as long as both steps would have taken."""
    wait = deployment.canary_wait_seconds if deployment.canary_percent else 0
    traffic: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    kept = 2 * wait
    if deployment.canary_percent and _instances(endpoint) > 1:
        size = {"Type": "CAPACITY_PERCENT", "Value": deployment.canary_percent}
        traffic = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": wait}
        kept = wait
    policy = {"TrafficRoutingConfiguration": traffic, "TerminationWaitInSeconds": min(kept, LONGEST_WAIT)}
    return policy | ({"MaximumExecutionTimeoutInSeconds": 2 * wait + SPARE_SECONDS} if wait else {})


def _instances(endpoint: Endpoint) -> int:
    return (endpoint.get("ProductionVariants") or [{}])[0].get("CurrentInstanceCount", 0)
