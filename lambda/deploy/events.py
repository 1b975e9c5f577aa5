"""The endpoint's state event: what a call could not wait for is finished from the desired state on the endpoint.

It only finishes. It never starts an update, so that an update which SageMaker rolled back is not begun again by the
event of its own end; and where nothing is left to do it changes nothing, so that its own changes' events end here.
"""

from __future__ import annotations

from typing import Any

from calls import Backoff, Clients
from endpoint import look
from failures import PackageRefused
from reconcile import Report, reconcile
from record import Record

STATE_CHANGE = "SageMaker Endpoint State Change"
IGNORED = "Ignored"


def finish(event: dict[str, Any], clients: Clients, backoff: Backoff) -> Report:
    """Smoke test and scaling of an endpoint that has come into service. Status `Ignored`, with the reason, for
    everything else. Raises as `reconcile` does."""
    detail = event.get("detail", {})
    name, status = str(detail.get("EndpointName", "")), str(detail.get("EndpointStatus", ""))
    if status.replace("_", "").lower() != "inservice":
        return _ignored(name, f"it is {status}, and only an endpoint in service can be finished")
    endpoint = look(name, clients)
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return _ignored(name, "it is no longer in service")
    record = Record.of(endpoint, clients)
    deployment = record.deployment(name)
    if deployment is None:
        return _ignored(name, "it has no desired state, so this function did not make it")
    serves, wanted = endpoint["EndpointConfigName"], deployment.config_name
    if serves != wanted:
        why = f"was refused: {record['reason']}" if record["refused"] == wanted else "is not what was deployed"
        return _ignored(name, f"it serves {serves}; {wanted} {why}")
    if record["refused"] == wanted and not record["previous"]:
        return _ignored(name, f"{wanted} was refused: {record['reason']}")
    try:
        return reconcile(deployment, clients, backoff)
    except PackageRefused as problem:
        return _ignored(name, f"nothing is finished for it. {problem}")


def _ignored(name: str, why: str) -> Report:
    return Report(status=IGNORED, endpoint_name=name, message=f"The event of endpoint {name} was ignored: {why}.")
