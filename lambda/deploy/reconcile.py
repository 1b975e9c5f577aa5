"""Move the world one step closer to the wanted deployment, and say where it stands.

Package approved → Model → EndpointConfig → Endpoint in service → auto scaling. Each stage looks before it acts, and
names are content hashes, so a call that was cut off anywhere is finished by the same call made again, and a call
that finds everything as wanted changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from calls import Changes, Clients, Patience, create_unless_there, describe
from deployment import VARIANT, Deployment, endpoint_config_name
from endpoint import bring_to, is_under_way_elsewhere
from failures import PackageRefused
from scaling import reconcile_scaling

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


def reconcile(deployment: Deployment, clients: Clients, patience: Patience) -> Report:
    """Bring `deployment` about. Status `InService` when all is done, `AwaitingApproval` while nobody has approved the
    package, else the endpoint's status when patience ran out: the same call again goes on from there.

    Raises PackageRefused, EndpointFailed, UpdateRolledBack, and botocore's ClientError for calls that AWS refuses.
    """
    package = clients.sagemaker.describe_model_package(ModelPackageName=deployment.model_package_arn)
    if waiting := _waiting_for(package):
        return Report(status=AWAITING_APPROVAL, endpoint_name=deployment.endpoint_name, message=waiting)

    changes = Changes()
    model_name = _reconcile_model(deployment, package, clients, changes)
    config_name = _reconcile_config(deployment, model_name, clients, changes)
    endpoint = bring_to(config_name, deployment, clients, patience, changes)
    status = endpoint["EndpointStatus"]
    if status == "InService":
        reconcile_scaling(deployment, clients, changes)
    return Report(
        status=status,
        endpoint_name=deployment.endpoint_name,
        endpoint_arn=endpoint.get("EndpointArn", ""),
        model_name=model_name,
        endpoint_config_name=config_name,
        changes=",".join(changes.made),
        message=" ".join([_summary(endpoint, config_name, changes), *deployment.warnings()]),
    )


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


def _reconcile_model(deployment: Deployment, package: dict[str, Any], clients: Clients, changes: Changes) -> str:
    name = deployment.model_name
    if describe(clients.sagemaker.describe_model, ModelName=name) is None:
        arguments: dict[str, Any] = {
            "ModelName": name,
            "ExecutionRoleArn": deployment.model_role_arn,
            "PrimaryContainer": _container(deployment, package),
        }
        if deployment.tags:
            arguments["Tags"] = deployment.aws_tags
        create_unless_there(changes, clients.sagemaker, "create_model", **arguments)
    return name


def _container(deployment: Deployment, package: dict[str, Any]) -> dict[str, Any]:
    """The package itself, or its archive in another image: CreateModel takes no image beside a package."""
    if not deployment.serving_image:
        return {"ModelPackageName": deployment.model_package_arn}
    containers = package.get("InferenceSpecification", {}).get("Containers") or [{}]
    archive = containers[0].get("ModelDataUrl")
    if not archive:
        raise PackageRefused(
            f"Model package {deployment.model_package_arn} has no ModelDataUrl to serve with serving_image. "
            "Leave serving_image empty, or register the package with its archive."
        )
    container = {"Image": deployment.serving_image, "ModelDataUrl": archive}
    if environment := containers[0].get("Environment"):
        container["Environment"] = environment
    return container


def _reconcile_config(deployment: Deployment, model_name: str, clients: Clients, changes: Changes) -> str:
    settings = _config_settings(deployment, model_name)
    name = endpoint_config_name(deployment.endpoint_name, settings)
    if describe(clients.sagemaker.describe_endpoint_config, EndpointConfigName=name) is None:
        if not deployment.serverless:
            settings["ProductionVariants"][0]["InitialInstanceCount"] = deployment.min_instances
        if deployment.tags:
            settings["Tags"] = deployment.aws_tags
        create_unless_there(changes, clients.sagemaker, "create_endpoint_config", EndpointConfigName=name, **settings)
    return name


def _config_settings(deployment: Deployment, model_name: str) -> dict[str, Any]:
    """What makes one configuration differ from another. The instance count is no part of that: an update keeps the
    count that scaling has reached, and the scalable target's bounds move it, so a new minimum needs no new fleet."""
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model_name}
    if deployment.serverless:
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": deployment.serverless_memory_mb,
            "MaxConcurrency": deployment.serverless_max_concurrency,
        }
    else:
        variant |= {"InstanceType": deployment.instance_type, "InitialVariantWeight": 1.0}
    settings: dict[str, Any] = {"ProductionVariants": [variant]}
    if deployment.data_capture_s3_uri:
        settings["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": deployment.data_capture_s3_uri,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
    return settings


def _summary(endpoint: dict[str, Any], config_name: str, changes: Changes) -> str:
    name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
    if status == "InService":
        return f"Endpoint {name} is in service." if changes.made else f"Endpoint {name} was already as wanted."
    if is_under_way_elsewhere(endpoint, config_name):
        return f"Endpoint {name} is {status} by another deployment. Deploy again when that has ended."
    return f"Endpoint {name} is still {status}. Deploy again to wait for it and to set up its scaling."
