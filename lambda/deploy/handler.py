"""Deploy Lambda: a model package becomes a scaling endpoint. Called by the pipeline's last step, by the approval of a
package, by the endpoint's state event, and by whoever deletes the endpoint; before Evaluate the pipeline asks it which
model is the champion."""

from __future__ import annotations

from functools import cache
from typing import Any

import champion
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from calls import Backoff, Clients
from deletion import Deletion, delete
from deployment import Deployment
from events import STATE_CHANGE, finish
from failures import CallRefused
from reconcile import Report, reconcile

FINISHING_SECONDS = 90.0

logger = Logger(service="pawline-deploy")
clients = cache(Clients.from_environment)


@logger.inject_lambda_context(log_event=False)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Event: the fields of `Deployment`, `{"action": "delete", "endpoint_name": …}`, `{"action": "champion", …}`, or
    EventBridge's event of an endpoint's state. Answer: the fields of `Report`, or of `Champion`. Raises DeployError,
    which fails the step."""
    try:
        report = _answer(event, context)
    except ClientError as error:
        raise CallRefused(_refusal(error)) from error
    except BotoCoreError as error:
        raise CallRefused(f"AWS could not be reached: {error}") from error
    logger.info("answered", extra={"answer": report.to_dict()})
    return report.to_dict()


def _answer(event: Any, context: Any) -> Report | champion.Champion:
    if isinstance(event, dict) and event.get("detail-type") == STATE_CHANGE:
        return finish(event, clients(), Backoff(_seconds_to_wait(None, context)))
    if isinstance(event, dict) and event.get("action") == "champion":
        return champion.find(champion.Search.from_event(event), clients())
    if isinstance(event, dict) and "action" in event:
        deletion = Deletion.from_event(event)
        return delete(deletion, clients(), Backoff(_seconds_to_wait(deletion.wait_seconds, context)))
    deployment = Deployment.from_event(event)
    return reconcile(deployment, clients(), Backoff(_seconds_to_wait(deployment.wait_seconds, context)))


def _seconds_to_wait(wanted: float | None, context: Any) -> float:
    """Leaves time for the smoke test, for scaling and to answer after the last look at the endpoint."""
    available = max(0.0, context.get_remaining_time_in_millis() / 1000 - FINISHING_SECONDS)
    return available if wanted is None else min(wanted, available)


def _refusal(error: ClientError) -> str:
    details = error.response.get("Error", {})
    hint = " The function's role lacks this permission." if "AccessDenied" in details.get("Code", "") else ""
    return f"{error.operation_name} was refused with {details.get('Code')}: {details.get('Message')}{hint}"
