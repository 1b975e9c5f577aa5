"""Bring one endpoint to one endpoint configuration: create, update, replace, or wait."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from calls import Changes, Clients, Patience, describe, says
from deployment import Deployment
from failures import EndpointFailed, UpdateRolledBack

UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


def bring_to(
    config_name: str, deployment: Deployment, clients: Clients, patience: Patience, changes: Changes
) -> dict[str, Any]:
    """Make the moves that are needed and wait until the endpoint is in service with `config_name`.

    Returns DescribeEndpoint's answer: in service, or as it stood when patience ran out. Raises EndpointFailed or
    UpdateRolledBack when the deployment of `config_name` that this call made or watched did not succeed.
    """
    watched = False
    while True:
        endpoint = describe(clients.sagemaker.describe_endpoint, EndpointName=deployment.endpoint_name)
        move = next_move(endpoint, config_name)
        if endpoint and move == "done":
            return endpoint
        if endpoint and move == "wait":
            watched = watched or _heads_for(endpoint, config_name)
            if not patience.pause():
                return endpoint
            continue
        if endpoint and watched:
            _raise_failure(endpoint, config_name)
        if _make(move, endpoint, config_name, deployment, clients, changes):
            watched = move != "delete"
        elif not patience.pause():
            return endpoint or {"EndpointName": deployment.endpoint_name, "EndpointStatus": "Creating"}


def next_move(endpoint: dict[str, Any] | None, config_name: str) -> str:
    """`create`, `update`, `delete`, `wait` or `done`. Raises EndpointFailed where only a person can go on."""
    if endpoint is None:
        return "create"
    status = endpoint["EndpointStatus"]
    if status in UNDER_WAY:
        return "wait"
    if status == "Failed":
        return "delete"
    if status == "InService":
        return "done" if endpoint["EndpointConfigName"] == config_name else "update"
    raise EndpointFailed(
        f"Endpoint {endpoint['EndpointName']} is {status}: {_reason(endpoint)} "
        "Look at its CloudWatch logs, then delete it and deploy again."
    )


def is_under_way_elsewhere(endpoint: dict[str, Any], config_name: str) -> bool:
    return endpoint["EndpointStatus"] in UNDER_WAY and not _heads_for(endpoint, config_name)


def _heads_for(endpoint: dict[str, Any], config_name: str) -> bool:
    """Is this the deployment of `config_name`? During an update the wanted configuration is the pending one."""
    if endpoint["EndpointStatus"] == "Deleting":
        return False
    pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    return config_name == (pending or endpoint.get("EndpointConfigName"))


def _make(
    move: str,
    endpoint: dict[str, Any] | None,
    config_name: str,
    deployment: Deployment,
    clients: Clients,
    changes: Changes,
) -> bool:
    """Make one move. False when somebody else moved first; the next look at the endpoint tells where it stands."""
    name = deployment.endpoint_name
    try:
        if move == "delete":
            changes.call(clients.sagemaker, "delete_endpoint", EndpointName=name)
        elif move == "create":
            arguments: dict[str, Any] = {"EndpointName": name, "EndpointConfigName": config_name}
            if deployment.tags:
                arguments["Tags"] = deployment.aws_tags
            changes.call(clients.sagemaker, "create_endpoint", **arguments)
        elif endpoint:
            arguments = _update_arguments(endpoint, config_name, deployment)
            changes.call(clients.sagemaker, "update_endpoint", **arguments)
    except ClientError as error:
        if says(error, "already exist", "in-progress"):
            return False
        raise
    return True


def _update_arguments(endpoint: dict[str, Any], config_name: str, deployment: Deployment) -> dict[str, Any]:
    """Blue/green with all traffic at once: the old fleet serves until the new one answers its health checks.

    RetainAllVariantProperties keeps the instance count that auto scaling has reached; without it an update under
    load falls back to the configuration's initial count. Neither applies to a serverless endpoint.
    """
    arguments: dict[str, Any] = {"EndpointName": deployment.endpoint_name, "EndpointConfigName": config_name}
    runs_on_instances = "CurrentInstanceCount" in (endpoint.get("ProductionVariants") or [{}])[0]
    if deployment.serverless:
        if runs_on_instances:
            raise EndpointFailed(
                f"Endpoint {deployment.endpoint_name} runs on instances and SageMaker cannot turn it serverless. "
                "Use another endpoint_name, or delete the endpoint first."
            )
        return arguments
    arguments["RetainAllVariantProperties"] = runs_on_instances
    arguments["DeploymentConfig"] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 0,
        }
    }
    return arguments


def _raise_failure(endpoint: dict[str, Any], config_name: str) -> None:
    name = endpoint["EndpointName"]
    if endpoint["EndpointStatus"] == "Failed":
        raise EndpointFailed(
            f"Endpoint {name} failed: {_reason(endpoint)} "
            "Look at its CloudWatch logs; the next deployment replaces the failed endpoint."
        )
    raise UpdateRolledBack(
        f"The update of endpoint {name} to {config_name} failed and was rolled back: {_reason(endpoint)} "
        f"The previous configuration {endpoint['EndpointConfigName']} still serves."
    )


def _reason(endpoint: dict[str, Any]) -> str:
    reason = endpoint.get("FailureReason") or "SageMaker gave no reason"
    return reason if reason.endswith(".") else f"{reason}."
