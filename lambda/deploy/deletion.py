"""Delete an endpoint with everything that the deploy function made for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import alarms
from botocore.exceptions import ClientError
from calls import Backoff, Calls, Clients, pages, says
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
    name, calls = deletion.endpoint_name, Calls(clients, backoff)
    gone = ["its scaling"] if deregister(name, calls) else []
    status = _delete_endpoint(name, calls)
    if status:
        message = f"Endpoint {name} is still {status}. Delete it again to go on."
        return Report(status=status, endpoint_name=name, changes=",".join(calls.changes), message=message)
    if "DeleteEndpoint" in calls.changes:
        gone.append("the endpoint")
    gone += [f"alarm {found}" for found in alarms.delete_alarms(name, calls)]
    gone += [f"model {found}" for found in _delete_listed(name, calls, "Model", r"\d+-")]
    gone += [f"configuration {found}" for found in _delete_listed(name, calls, "EndpointConfig")]
    message = f"Of endpoint {name} these were deleted: {', '.join(gone)}." if gone else f"Nothing of {name} was there."
    return Report(status=DELETED, endpoint_name=name, changes=",".join(calls.changes), message=message)


def _delete_endpoint(name: str, calls: Calls) -> str:
    """Empty when it is gone, else its status when patience ran out. What is under way must end first."""
    while endpoint := look(name, calls.clients):
        if endpoint["EndpointStatus"] not in UNDER_WAY:
            try:
                calls.change("sagemaker", "delete_endpoint", EndpointName=name)
            except ClientError as error:
                if not (is_gone(error) or says(error, "in-progress")):
                    raise
        elif not calls.backoff.pause():
            return endpoint["EndpointStatus"]
    return ""


def _delete_listed(endpoint_name: str, calls: Calls, kind: str, version: str = "") -> Iterator[str]:
    """The names of what is deleted; what somebody else has deleted meanwhile is not among them."""
    operation = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    pattern = rf"{re.escape(endpoint_name)}-{version}[0-9a-f]{{10}}"
    for name in _listed(calls.clients, f"list_{operation}s", kind, endpoint_name):
        if re.fullmatch(pattern, name):
            try:
                calls.change("sagemaker", f"delete_{operation}", **{f"{kind}Name": name})
            except ClientError as error:
                if not is_gone(error):
                    raise
            else:
                yield name


def _listed(clients: Clients, operation: str, kind: str, contains: str) -> list[str]:
    """All pages before the first is deleted from."""
    listed = pages(getattr(clients.sagemaker, operation), NameContains=contains)
    return [entry[f"{kind}Name"] for page in listed for entry in page[f"{kind}s"]]
