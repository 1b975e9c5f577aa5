"""SageMaker's endpoints: deployments that change what serves without dropping a request.

A document of kind "endpoint" is DescribeEndpoint's answer. `_Variants` is what was deployed, complete, so that a
restarted server can serve it again whatever became of the model and the configuration since. `_Deployment` names the
deployment that may finish: one that was overtaken by DeleteEndpoint stops what it started.
"""

import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.services.cloudwatch import alarms
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call
from sagelocal.services.sagemaker.documents import ENDPOINT, Endpoint, PlannedVariant
from sagelocal.services.sagemaker.hosting import deployment
from sagelocal.services.sagemaker.hosting.deployment import Policy
from sagelocal.services.sagemaker.hosting.endpoint import fleet
from sagelocal.services.sagemaker.hosting.instance import STARTUP_SECONDS
from sagelocal.services.sagemaker.hosting.models_api import CONFIGS, MODELS, serving_container
from sagelocal.services.sagemaker.hosting.rollout import IN_PROGRESS, Rollout, rescale
from sagelocal.services.sagemaker.hosting.variants import note_desired
from sagelocal.services.sagemaker.resources import Resource

CHANGING = {"Updating": "updated", "RollingBack": "rolled back"}
CUT_OFF = "The embedded SageMaker stopped while the endpoint was"


ENDPOINTS = Resource(
    ENDPOINT,
    "Endpoint",
    missing=lambda _, arn: ValidationException(f'Could not find endpoint "{arn}".'),
    taken=lambda _, arn: ValidationException(f'Cannot create already existing endpoint "{arn}".'),
)
SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
ENDPOINTS.answers_describe("DescribeEndpoint")
ENDPOINTS.answers_list("ListEndpoints", "Endpoints", SUMMARY)


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(context: Context, request: Json) -> Json:
    """A DeploymentConfig is kept for updates with RetainDeploymentConfig; creating shifts no traffic."""
    name, config, now = request["EndpointName"], request["EndpointConfigName"], time.time()
    variants = _planned(context, config)
    _policy(context, request.get("DeploymentConfig"), variants)
    document = {
        "EndpointName": name,
        "EndpointArn": ENDPOINTS.arn(context, name),
        "EndpointConfigName": config,
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "LastDeploymentConfig": request.get("DeploymentConfig"),
        "_Variants": variants,
        "_Deployment": uuid.uuid4().hex,
        "_Tags": request.get("Tags", []),
    }
    body = ENDPOINTS.insert(context, name, document)
    context.spawn(f"create endpoint {name}", Rollout(context, name, body["_Deployment"], config, variants).run)
    return {"EndpointArn": body["EndpointArn"]}


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(context: Context, request: Json) -> Json:
    """Blue/green: new instances beside the old ones, the traffic in one step or several, then the old ones end."""
    name, config = request["EndpointName"], request["EndpointConfigName"]
    current = ENDPOINTS.find(context, name)
    variants = _planned(context, config)
    if request.get("RetainAllVariantProperties"):
        excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
        _retain(variants, current["_Variants"], excluded)
    wanted = request.get("DeploymentConfig")
    if wanted is None and request.get("RetainDeploymentConfig"):
        wanted = current.get("LastDeploymentConfig")
    policy = _policy(context, wanted, variants, current["_Variants"])
    token = _begin(context, current, lambda body: body.update({"LastDeploymentConfig": wanted}))
    context.spawn(f"update endpoint {name}", Rollout(context, name, token, config, variants, policy).run)
    return {"EndpointArn": current["EndpointArn"]}


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(context: Context, request: Json) -> Json:
    """Instances are added or drained; those that stay are not touched."""
    name = request["EndpointName"]
    current = ENDPOINTS.find(context, name)
    variants = {variant["Name"]: variant for variant in current["_Variants"]}
    for wanted in request["DesiredWeightsAndCapacities"]:
        _apply(variants, wanted, name)
    planned = list(variants.values())
    token = _begin(context, current, lambda body: note_desired(body, planned))
    context.spawn(f"update endpoint {name}", rescale, context, name, token, planned)
    return {"EndpointArn": current["EndpointArn"]}


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(context: Context, request: Json) -> None:
    name = request["EndpointName"]
    ENDPOINTS.find(context, name)
    with suppress(KeyError):  # deleted meanwhile
        context.store.update(ENDPOINT, name, {"EndpointStatus": "Deleting", "LastModifiedTime": time.time()})
    context.store.delete(ENDPOINT, name)
    context.spawn(f"delete endpoint {name}", fleet(context).drain, fleet(context).unroute(name))


@on_start
def serve_again(context: Context) -> None:
    """Endpoints that were in service are started again, and one that was being created is created."""
    shutil.rmtree(context.state_dir / "endpoints", ignore_errors=True)
    for body in context.store.list(ENDPOINT):
        name, status = body["EndpointName"], body["EndpointStatus"]
        if status == "Deleting":
            context.store.delete(ENDPOINT, name)
        elif status != "Failed":
            _take_up(context, body)


def _take_up(context: Context, body: Endpoint) -> None:
    """Go on with an endpoint of an earlier server, with what was deployed whole."""
    name, status = body["EndpointName"], body["EndpointStatus"]
    body.pop("PendingDeploymentSummary", None)
    if status in CHANGING:
        body["FailureReason"] = f"{CUT_OFF} {CHANGING[status]}; it serves what it served before."
    serving = "Creating" if status == "Creating" else "SystemUpdating"
    body.update({"EndpointStatus": serving, "_Deployment": uuid.uuid4().hex})
    context.store.put(ENDPOINT, name, body)
    fleet(context).route(name, [])
    again = Rollout(context, name, body["_Deployment"], body["EndpointConfigName"], body["_Variants"])
    context.spawn(f"serve {name}", again.run)


@on_stop
def stop_serving(context: Context) -> None:
    fleet(context).stop_all()


def _planned(context: Context, config_name: str) -> list[PlannedVariant]:
    """What each variant of an endpoint configuration will run."""
    config = CONFIGS.find(context, config_name)
    planned: list[PlannedVariant] = []
    for variant in config["ProductionVariants"]:
        serverless = variant.get("ServerlessConfig")
        wanted: PlannedVariant = {
            "Name": variant["VariantName"],
            "Weight": variant["InitialVariantWeight"],
            "Count": 1 if serverless else variant["InitialInstanceCount"],
            "Serverless": serverless,
            "StartupSeconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
            "Container": serving_container(context, variant["ModelName"]),
            "Role": MODELS.find(context, variant["ModelName"]).get("ExecutionRoleArn"),
            "Config": config_name,
            "Capture": config.get("DataCaptureConfig"),
            "InstanceType": variant.get("InstanceType"),
        }
        planned.append(wanted)
    return planned


def _apply(variants: dict[str, PlannedVariant], wanted: Json, endpoint: str) -> None:
    """Write a DesiredWeightAndCapacity into the planned variant it is for. Raises ValidationException."""
    name = wanted["VariantName"]
    if name not in variants:
        raise ValidationException(f"Variant {name} does not exist in endpoint {endpoint}.")
    if variants[name]["Serverless"] and "DesiredInstanceCount" in wanted:
        raise ValidationException(f"Variant {name} is serverless: it has no instance count.")
    variants[name]["Weight"] = wanted.get("DesiredWeight", variants[name]["Weight"])
    variants[name]["Count"] = wanted.get("DesiredInstanceCount", variants[name]["Count"])
    if variants[name]["Count"] < 1:
        raise ValidationException(f"DesiredInstanceCount of variant {name} must be at least 1.")


def _retain(variants: list[PlannedVariant], current: list[PlannedVariant], excluded: set[str]) -> None:
    before = {variant["Name"]: variant for variant in current}
    for variant in variants:
        kept = before.get(variant["Name"])
        if kept is None:
            continue
        if "DesiredInstanceCount" not in excluded and not variant["Serverless"] and not kept["Serverless"]:
            variant["Count"] = kept["Count"]
        if "DesiredWeight" not in excluded:
            variant["Weight"] = kept["Weight"]


def _begin(context: Context, current: Endpoint, edit: Callable[[Endpoint], object]) -> str:
    """Mark an endpoint in service as Updating and `edit` its document; the token of the deployment that may go on.

    `current`: the document that was planned from. Raises ValidationException while another deployment runs, and when
    one has run since.
    """
    arn = current["EndpointArn"]
    token = uuid.uuid4().hex

    def begin(body: Endpoint) -> None:
        if body["EndpointStatus"] in IN_PROGRESS or body["_Deployment"] != current["_Deployment"]:
            raise ValidationException(f'Cannot update in-progress endpoint "{arn}".')
        if body["EndpointStatus"] != "InService":
            raise ValidationException(f'Cannot update endpoint "{arn}": it is {body["EndpointStatus"]}. Delete it.')
        body.update({"EndpointStatus": "Updating", "LastModifiedTime": time.time(), "_Deployment": token})
        body.pop("FailureReason", None)
        edit(body)

    try:
        context.store.change(ENDPOINT, current["EndpointName"], begin)
    except KeyError:  # deleted meanwhile
        raise ENDPOINTS.missing(current["EndpointName"], arn) from None
    return token


def _policy(
    context: Context,
    config: Mapping[str, Any] | None,
    variants: list[PlannedVariant],
    current: list[PlannedVariant] | None = None,
) -> Policy:
    """The checked policy of a DeploymentConfig for planned variants. Raises ValidationException.

    `current`: what serves now, for an update. Traffic to a serverless variant shifts at once: it has no instances.
    """
    policy = deployment.read(config)
    if any(variant["Serverless"] for variant in variants):
        policy = replace(policy, type=deployment.ALL_AT_ONCE, size=None)
    deployment.check(policy, {variant["Name"]: variant["Count"] for variant in variants})
    if current is not None and policy.size is not None:
        before, after = ({variant["Name"] for variant in planned} for planned in (current, variants))
        if before != after:
            raise ValidationException(
                f"{policy.type} needs the same variants before and after: they are {', '.join(sorted(before))} and "
                f"would be {', '.join(sorted(after))}. Keep the names, or use {deployment.ALL_AT_ONCE}."
            )
    for role in {variant["Role"] for variant in variants}:
        for alarm in policy.alarms:
            _check_alarm(context, role, alarm)
    return policy


def _check_alarm(context: Context, role: str | None, name: str) -> None:
    """Raise ValidationException unless an alarm exists and the model's role may look at it.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    try:
        alarms.state(context, name)
    except KeyError:
        raise ValidationException(
            f"The CloudWatch alarm {name} of AutoRollbackConfiguration does not exist. Create it, or leave it out."
        ) from None
    call = Call("cloudwatch:DescribeAlarms", context.arn("cloudwatch", f"alarm:{name}"))
    if role and not enforcement.may(context.as_role(role), call):
        raise ValidationException(
            f"The model's execution role {role} may not call cloudwatch:DescribeAlarms on the alarm {name} of "
            "AutoRollbackConfiguration. Allow it in the role's policy."
        )
