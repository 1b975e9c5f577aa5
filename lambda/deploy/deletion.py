"""Delete an endpoint with everything that the deploy function made for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import alarms
from botocore.exceptions import ClientError
from calls import Backoff, Changes, Clients, says
from deployment import READERS
from endpoint import UNDER_WAY, look
from failures import InvalidEvent
from reading import shown
from reconcile import Report
from scaling import deregister

from contract.gone import is_gone

DELETED = "Deleted"


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """`wait_seconds`: as a deployment's."""

    endpoint_name: str
    wait_seconds: float | None = None

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Deletion:
        """Check `{"action": "delete", "endpoint_name": …}`. Raises InvalidEvent."""
        if event.get("action") != "delete":
            raise InvalidEvent(
                f"action is {shown(event.get('action'))}. It is delete or champion; leave it out to deploy."
            )
        if unknown := sorted(set(event) - {"action", "endpoint_name", "wait_seconds"}):
            raise InvalidEvent(f"Unknown field {unknown[0]!r}. Deleting takes endpoint_name and wait_seconds.")
        wait = event.get("wait_seconds")
        return cls(
            endpoint_name=READERS["endpoint_name"]("endpoint_name", event.get("endpoint_name")),
            wait_seconds=None if wait in (None, "") else READERS["wait_seconds"]("wait_seconds", wait),
        )


def delete(deletion: Deletion, clients: Clients, backoff: Backoff) -> Report:
    """Take away scaling, endpoint, alarms, models and configurations, in this order. Status `Deleted`, or the
    endpoint's when patience ran out: the same call again goes on from there, and does nothing once all is gone.

    Models go before the configurations, so that whatever a cut-off call leaves is found again. What serves other
    endpoints has other names.
    """
    name, changes = deletion.endpoint_name, Changes()
    gone: list[str] = []
    if deregister(name, clients, changes):
        gone.append("its scaling")
    status = _delete_endpoint(name, clients, backoff, changes)
    if status:
        message = f"Endpoint {name} is still {status}. Delete it again to go on."
        return Report(status=status, endpoint_name=name, changes=",".join(changes.made), message=message)
    if "DeleteEndpoint" in changes.made:
        gone.append("the endpoint")
    gone += [f"alarm {found}" for found in alarms.delete_alarms(name, clients, changes)]
    gone += [f"model {found}" for found in _delete_models(name, clients, changes)]
    gone += [f"configuration {found}" for found in _delete_configs(name, clients, changes)]
    message = f"Of endpoint {name} these were deleted: {', '.join(gone)}." if gone else f"Nothing of {name} was there."
    return Report(status=DELETED, endpoint_name=name, changes=",".join(changes.made), message=message)


def _delete_endpoint(name: str, clients: Clients, backoff: Backoff, changes: Changes) -> str:
    """Empty when it is gone, else its status when patience ran out. What is under way must end first."""
    while endpoint := look(name, clients):
        if endpoint["EndpointStatus"] not in UNDER_WAY:
            try:
                changes.call(clients.sagemaker, "delete_endpoint", EndpointName=name)
            except ClientError as error:
                if not (is_gone(error) or says(error, "in-progress")):
                    raise
        elif not backoff.pause():
            return endpoint["EndpointStatus"]
    return ""


def _delete_models(endpoint_name: str, clients: Clients, changes: Changes) -> Iterator[str]:
    pattern = rf"{re.escape(endpoint_name)}-\d+-[0-9a-f]{{10}}"
    for name in _listed(clients, "list_models", "Models", "ModelName", endpoint_name, pattern):
        if _delete(changes, clients, "delete_model", ModelName=name):
            yield name


def _delete_configs(endpoint_name: str, clients: Clients, changes: Changes) -> Iterator[str]:
    pattern = rf"{re.escape(endpoint_name)}-[0-9a-f]{{10}}"
    for name in _listed(
        clients, "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", endpoint_name, pattern
    ):
        if _delete(changes, clients, "delete_endpoint_config", EndpointConfigName=name):
            yield name


def _listed(clients: Clients, operation: str, answer: str, member: str, contains: str, pattern: str) -> list[str]:
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = getattr(clients.sagemaker, operation)(NameContains=contains, **more)
        found += [entry[member] for entry in page[answer] if re.fullmatch(pattern, entry[member])]
        if not page.get("NextToken"):
            return found
        more = {"NextToken": page["NextToken"]}


def _delete(changes: Changes, clients: Clients, operation: str, **which: str) -> bool:
    """False for what somebody else has deleted meanwhile."""
    try:
        changes.call(clients.sagemaker, operation, **which)
    except ClientError as error:
        if is_gone(error):
            return False
        raise
    return True
