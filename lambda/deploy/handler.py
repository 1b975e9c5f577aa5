"""Deploy Lambda: a model package becomes a scaling endpoint. Called by the pipeline's last step."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from calls import Clients, Patience
from deployment import Deployment
from failures import CallRefused
from reconcile import reconcile

FINISHING_SECONDS = 15.0

logger = Logger(service="pawline-deploy")
clients = cache(Clients.from_environment)


@logger.inject_lambda_context(log_event=False)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Event: the fields of `Deployment`. Answer: the fields of `Report`. Raises DeployError, which fails the step."""
    deployment = Deployment.from_event(event)
    try:
        report = reconcile(deployment, clients(), Patience(_seconds_to_wait(deployment, context)))
    except ClientError as error:
        raise CallRefused(_refusal(error)) from error
    except BotoCoreError as error:
        raise CallRefused(f"AWS could not be reached: {error}") from error
    logger.info("reconciled", extra={"deployment": report.to_dict()})
    return report.to_dict()


def _seconds_to_wait(deployment: Deployment, context: Any) -> float:
    """Leaves time to set up scaling and answer after the last look at the endpoint."""
    available = max(0.0, context.get_remaining_time_in_millis() / 1000 - FINISHING_SECONDS)
    return available if deployment.wait_seconds is None else min(deployment.wait_seconds, available)


def _refusal(error: ClientError) -> str:
    details = error.response.get("Error", {})
    hint = " The function's role lacks this permission." if "AccessDenied" in details.get("Code", "") else ""
    return f"{error.operation_name} was refused with {details.get('Code')}: {details.get('Message')}{hint}"
