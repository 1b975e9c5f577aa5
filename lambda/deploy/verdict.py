"""The smoke test's verdict on the configuration in service: given once, remembered, and acted on.

What is refused never serves for long: the configuration before it is put back, and the refused one is not tried again.
A first deployment has nothing to go back to. Its endpoint stays, so that it can be looked into, but gets no scaling
and is never reported as in service; the next package replaces it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import bluegreen
from botocore.exceptions import ClientError
from calls import Calls
from deployment import Deployment
from endpoint import Endpoint, Target, converge
from failures import DeployError, SmokeTestFailed
from record import Record, state
from smoke import smoke_test

from contract.gone import is_gone


def judge(deployment: Deployment, package: dict[str, Any], endpoint: Endpoint, calls: Calls) -> str:
    """Test what serves, unless it has passed already; what to report. Raises SmokeTestFailed."""
    record = Record.of(endpoint, calls.clients)
    config_name = deployment.config_name
    if record["tested"] == config_name:
        return ""
    if record["refused"] != config_name:
        outcome = smoke_test(package, deployment.endpoint_name, calls.clients, calls.backoff.sleep)
        if not outcome.failed:
            record.remember(state(tested=config_name), calls)
            return outcome.words
        record = record.remember(state(refused=config_name, reason=outcome.failed), calls)
    refuse(deployment, record, endpoint, calls)


def refuse(deployment: Deployment, record: Record, endpoint: Endpoint, calls: Calls) -> NoReturn:
    """Put the previous configuration back where the refused one serves. Always raises SmokeTestFailed."""
    what = f"The smoke test of {deployment.model_package_arn} failed: {record['reason']}."
    refused, previous = deployment.config_name, record["previous"]
    if endpoint["EndpointConfigName"] != refused:
        what += f" The configuration {endpoint['EndpointConfigName']} serves."
    elif not previous:
        what += f" There is nothing to go back to: endpoint {deployment.endpoint_name} is left to be looked into."
    else:
        what += f" {_put_back(deployment, previous, endpoint, calls)}"
    raise SmokeTestFailed(
        f"{what} Deploy another model package, or take the tag deploy:refused off the endpoint to try this one again."
    )


def _put_back(deployment: Deployment, previous: str, endpoint: Endpoint, calls: Calls) -> str:
    target = Target(endpoint_name=deployment.endpoint_name, config_name=previous, update=bluegreen.back)
    try:
        reached = converge(target, endpoint, calls)
    except DeployError as problem:
        return f"The previous configuration {previous} could not be put back: {problem}"
    except ClientError as error:
        if is_gone(error):
            return f"The previous configuration {previous} is gone, so the refused one still serves."
        raise
    if reached["EndpointStatus"] == "InService":
        return f"The previous configuration {previous} serves again."
    return f"The previous configuration {previous} is being put back."
