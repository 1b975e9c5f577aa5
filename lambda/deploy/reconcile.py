"""Move the world one step closer to the wanted deployment, and say where it stands.

Package approved → archive copied → Model → EndpointConfig → alarms → desired state remembered → Endpoint in service →
smoke test → auto scaling. Each stage looks before it acts, and names are content hashes, so a call that was cut off
anywhere is finished by the same call made again, and a call that finds everything as wanted changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import bluegreen
from alarms import reconcile_alarms
from calls import Backoff, Calls, Clients, describe
from deployment import Deployment
from endpoint import Endpoint, Target, await_others, converge, is_under_way_elsewhere, next_move
from failures import PackageRefused
from record import Record, as_list, desired_state
from release import container_of, release
from scaling import reconcile_scaling
from verdict import judge, refuse

from contract.deployment import MODEL_PACKAGE_ARN

AWAITING_APPROVAL = "AwaitingApproval"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where the deployment stands; the Lambda step's OutputParameters. Flat, and text only."""

    status: str
    endpoint_name: str
    endpoint_arn: str = ""
    model_name: str = ""
    endpoint_config_name: str = ""
    changes: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def reconcile(deployment: Deployment, clients: Clients, backoff: Backoff) -> Report:
    """Bring `deployment` about. Status `InService` when all is done, `AwaitingApproval` while nobody has approved the
    package, else the endpoint's status when patience ran out: the endpoint's state event, or the same call again, goes
    on from there.

    Raises PackageRefused, EndpointFailed, UpdateRolledBack, SmokeTestFailed, and botocore's ClientError for calls that
    AWS refuses.
    """
    package = clients.sagemaker.describe_model_package(ModelPackageName=deployment.model_package_arn)
    if waiting := _waiting_for(package):
        return Report(status=AWAITING_APPROVAL, endpoint_name=deployment.endpoint_name, message=waiting)

    calls = Calls(clients, backoff)
    _reconcile_model(deployment, package, calls)
    _reconcile_config(deployment, calls)
    target = Target(
        endpoint_name=deployment.endpoint_name,
        config_name=deployment.config_name,
        creation={"Tags": as_list(desired_state(deployment))},
        update=partial(bluegreen.forward, deployment, reconcile_alarms(deployment, calls)),
    )
    endpoint = await_others(target, calls)
    if endpoint is None or not is_under_way_elsewhere(endpoint, target.config_name):
        if endpoint and next_move(endpoint, target.config_name) != "delete":
            bluegreen.check(deployment, endpoint)
            _remember(deployment, endpoint, calls)
        endpoint = converge(target, endpoint, calls)
    words = ""
    if endpoint["EndpointStatus"] == "InService":
        words = judge(deployment, package, endpoint, calls)
        reconcile_scaling(deployment, calls)
    return _report(deployment, endpoint, calls, words)


def _waiting_for(package: dict[str, Any]) -> str:
    """Empty when the package may be deployed. Raises PackageRefused when waiting will not help."""
    arn = package.get("ModelPackageArn", "")
    state, approval = package.get("ModelPackageStatus"), package.get("ModelApprovalStatus")
    if state in ("Failed", "Deleting"):
        raise PackageRefused(f"Model package {arn} is {state}. Register the model again.")
    if approval == "PendingManualApproval":
        return f"Model package {arn} waits for approval. Approve it and deploy again."
    if approval == "Rejected":
        comment = package.get("ApprovalDescription") or "no reason given"
        raise PackageRefused(f"Model package {arn} is Rejected ({comment}). Deploy an approved version.")
    if approval != "Approved":
        raise PackageRefused(f"Model package {arn} has no approval status. Register it in a model package group.")
    if state in ("Pending", "InProgress"):
        return f"Model package {arn} is {state}. Deploy again when it is Completed."
    return ""


def _reconcile_model(deployment: Deployment, package: dict[str, Any], calls: Calls) -> None:
    name = deployment.model_name
    if describe(calls.clients.sagemaker.describe_model, ModelName=name) is None:
        arguments: dict[str, Any] = {
            "ModelName": name,
            "ExecutionRoleArn": deployment.model_role_arn,
            "PrimaryContainer": _container(deployment, package, release(package, calls)),
        }
        if deployment.tags:
            arguments["Tags"] = deployment.aws_tags
        calls.create_unless_there("create_model", **arguments)


def _container(deployment: Deployment, package: dict[str, Any], archive: str) -> dict[str, Any]:
    """Not the package itself, whose archive lies where jobs write; its Environment says which package it was."""
    registered = container_of(package)
    return {
        "Image": deployment.serving_image or registered["Image"],
        "ModelDataUrl": archive,
        "Environment": registered.get("Environment", {}) | {MODEL_PACKAGE_ARN: deployment.model_package_arn},
    }


def _reconcile_config(deployment: Deployment, calls: Calls) -> None:
    name, settings = deployment.config_name, deployment.config_settings
    if describe(calls.clients.sagemaker.describe_endpoint_config, EndpointConfigName=name) is None:
        if not deployment.serverless:
            settings["ProductionVariants"][0]["InitialInstanceCount"] = deployment.min_instances
        if deployment.tags:
            settings["Tags"] = deployment.aws_tags
        calls.create_unless_there("create_endpoint_config", EndpointConfigName=name, **settings)


def _remember(deployment: Deployment, endpoint: Endpoint, calls: Calls) -> None:
    """Write the desired state, and what to go back to, before anything happens to the endpoint.

    Raises SmokeTestFailed for a configuration that was refused before.
    """
    record = Record.of(endpoint, calls.clients)
    if record["refused"] == deployment.config_name:
        refuse(deployment, record, endpoint, calls)
    record.remember(record.desired_state(deployment, _previous(deployment, endpoint, record)), calls)


def _previous(deployment: Deployment, endpoint: Endpoint, record: Record) -> str:
    """The configuration to go back to should the wanted one fail its smoke test; empty when there is none.

    It is what serves now, unless that is the wanted one already, or one of ours that never passed the test.
    """
    serves, wanted = endpoint["EndpointConfigName"], deployment.config_name
    if serves == wanted or record["config"] == wanted or serves == record["refused"]:
        return record["previous"]
    if serves == record["config"] != record["tested"]:
        return record["previous"] or serves
    return serves


def _report(deployment: Deployment, endpoint: Endpoint, calls: Calls, words: str) -> Report:
    summary = [_summary(endpoint, deployment.config_name, bool(calls.changes)), words, *deployment.warnings()]
    return Report(
        status=endpoint["EndpointStatus"],
        endpoint_name=deployment.endpoint_name,
        endpoint_arn=endpoint.get("EndpointArn", ""),
        model_name=deployment.model_name,
        endpoint_config_name=deployment.config_name,
        changes=",".join(calls.changes),
        message=" ".join(text for text in summary if text),
    )


def _summary(endpoint: Endpoint, config_name: str, changed: bool) -> str:
    name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
    if status == "InService":
        return f"Endpoint {name} is in service." if changed else f"Endpoint {name} was already as wanted."
    if is_under_way_elsewhere(endpoint, config_name):
        return f"Endpoint {name} is {status} by another deployment. Deploy again when that has ended."
    return (
        f"Endpoint {name} is still {status}. Its smoke test and its scaling follow when it is in service; "
        "to wait for that, deploy again."
    )
