"""Bring one endpoint to one endpoint configuration: create, update, replace, or wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from calls import Calls, Clients, describe, says
from failures import EndpointFailed, UpdateRolledBack

UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")

Endpoint = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where an endpoint is to be brought: what CreateEndpoint is given beside the two names, and UpdateEndpoint, which
    depends on what the endpoint is now."""

    endpoint_name: str
    config_name: str
    update: Callable[[Endpoint], dict[str, Any]]
    creation: dict[str, Any] = field(default_factory=dict)


def look(endpoint_name: str, clients: Clients) -> Endpoint | None:
    return describe(clients.sagemaker.describe_endpoint, EndpointName=endpoint_name)


def await_others(target: Target, calls: Calls) -> Endpoint | None:
    """The endpoint when nothing that leads elsewhere is under way any more, or when patience ran out."""
    while True:
        endpoint = look(target.endpoint_name, calls.clients)
        if not endpoint or not is_under_way_elsewhere(endpoint, target.config_name) or not calls.backoff.pause():
            return endpoint


def converge(target: Target, endpoint: Endpoint | None, calls: Calls) -> Endpoint:
    """Make the moves that are needed and wait until the endpoint, given as it was last seen, is in service on course.

    Returns DescribeEndpoint's answer: in service, or as it stood when patience ran out. Raises EndpointFailed or
    UpdateRolledBack when the deployment of the configuration that this call made or watched did not succeed.
    """
    watched = False
    while True:
        move = next_move(endpoint, target.config_name)
        if endpoint and move == "done":
            return endpoint
        if endpoint and move == "wait":
            watched = watched or _heads_for(endpoint, target.config_name)
            if not calls.backoff.pause():
                return endpoint
        elif endpoint and watched:
            _raise_failure(endpoint, target.config_name)
        elif _make(move, endpoint, target, calls):
            watched = move != "delete"
        elif not calls.backoff.pause():
            return endpoint or {"EndpointName": target.endpoint_name, "EndpointStatus": "Creating"}
        endpoint = look(target.endpoint_name, calls.clients)


def next_move(endpoint: Endpoint | None, config_name: str) -> str:
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
        f"Endpoint {endpoint['EndpointName']} is {status}: {reason_of(endpoint)} "
        "Look at its CloudWatch logs, then delete it and deploy again."
    )


def is_under_way_elsewhere(endpoint: Endpoint, config_name: str) -> bool:
    return endpoint["EndpointStatus"] in UNDER_WAY and not _heads_for(endpoint, config_name)


def runs_on_instances(endpoint: Endpoint) -> bool:
    return "CurrentInstanceCount" in (endpoint.get("ProductionVariants") or [{}])[0]


def reason_of(endpoint: Endpoint) -> str:
    reason = endpoint.get("FailureReason") or "SageMaker gave no reason"
    return reason if reason.endswith(".") else f"{reason}."


def _heads_for(endpoint: Endpoint, config_name: str) -> bool:
    """Is this the deployment of `config_name`? During an update the wanted configuration is the pending one."""
    if endpoint["EndpointStatus"] == "Deleting":
        return False
    pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    return config_name == (pending or endpoint.get("EndpointConfigName"))


def _make(move: str, endpoint: Endpoint | None, target: Target, calls: Calls) -> bool:
    """Make one move. False when somebody else moved first; the next look at the endpoint tells where it stands."""
    names = {"EndpointName": target.endpoint_name, "EndpointConfigName": target.config_name}
    try:
        if move == "delete":
            calls.change("sagemaker", "delete_endpoint", EndpointName=target.endpoint_name)
        elif move == "create":
            calls.change("sagemaker", "create_endpoint", **names, **target.creation)
        elif endpoint:
            calls.change("sagemaker", "update_endpoint", **names, **target.update(endpoint))
    except ClientError as error:
        if says(error, "already exist", "in-progress"):
            return False
        raise
    return True


def _raise_failure(endpoint: Endpoint, config_name: str) -> None:
    name = endpoint["EndpointName"]
    if endpoint["EndpointStatus"] == "Failed":
        raise EndpointFailed(
            f"Endpoint {name} failed: {reason_of(endpoint)} "
            "Look at its CloudWatch logs; the next deployment replaces the failed endpoint."
        )
    raise UpdateRolledBack(
        f"The update of endpoint {name} to {config_name} failed and was rolled back: {reason_of(endpoint)} "
        f"The previous configuration {endpoint['EndpointConfigName']} still serves."
    )
