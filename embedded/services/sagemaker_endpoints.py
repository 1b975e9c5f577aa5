"""SageMaker's endpoints: deployments that change what serves without dropping a request.

A document of kind "endpoint" is DescribeEndpoint's answer. `_Variants` is what was deployed, complete, so that a
restarted server can serve it again whatever became of the model and the configuration since. `_Deployment` names the
deployment that may finish: one that was overtaken by DeleteEndpoint stops what it started.
"""

import shutil
import time
import uuid
from contextlib import suppress
from typing import Any

from embedded.context import Context
from embedded.errors import ValidationException
from embedded.jobs import listing
from embedded.jobs.endpoint import Fleet, Variant, fleet
from embedded.jobs.instance import STARTUP_SECONDS, Served, StartFailed
from embedded.services import on_start, on_stop, operation
from embedded.services.sagemaker_models import endpoint_config, model_role, serving_container
from embedded.store import AlreadyExists

KIND = "endpoint"
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating")
CUT_OFF = "The embedded SageMaker stopped while the endpoint was"


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(context: Context, request: dict) -> dict:
    name = request["EndpointName"]
    arn = context.arn("sagemaker", f"endpoint/{name}")
    variants = _planned(context, request["EndpointConfigName"])
    now = time.time()
    body = {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": request["EndpointConfigName"],
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "_Variants": variants,
        "_Deployment": uuid.uuid4().hex,
        "_Tags": request.get("Tags", []),
    }
    try:
        context.store.insert(KIND, name, body)
    except AlreadyExists:
        raise ValidationException(f'Cannot create already existing endpoint "{arn}".') from None
    context.spawn(f"create endpoint {name}", _deploy, context, name, body["_Deployment"], variants, body)
    return {"EndpointArn": arn}


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(context: Context, request: dict) -> dict:
    """Blue/green: new instances beside the old ones, one switch, then the old ones end."""
    current = find(context, request["EndpointName"])
    variants = _planned(context, request["EndpointConfigName"])
    if request.get("RetainAllVariantProperties"):
        excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
        _retain(variants, current["_Variants"], excluded)
    return _change(context, request["EndpointName"], variants, {"EndpointConfigName": request["EndpointConfigName"]})


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(context: Context, request: dict) -> dict:
    """Instances are added or drained; those that stay are not touched."""
    current = find(context, request["EndpointName"])
    variants = {variant["Name"]: variant for variant in current["_Variants"]}
    for wanted in request["DesiredWeightsAndCapacities"]:
        name = wanted["VariantName"]
        if name not in variants:
            raise ValidationException(f"Variant {name} does not exist in endpoint {request['EndpointName']}.")
        if variants[name]["Serverless"] and "DesiredInstanceCount" in wanted:
            raise ValidationException(f"Variant {name} is serverless: it has no instance count.")
        variants[name]["Weight"] = wanted.get("DesiredWeight", variants[name]["Weight"])
        variants[name]["Count"] = wanted.get("DesiredInstanceCount", variants[name]["Count"])
        if variants[name]["Count"] < 1:
            raise ValidationException(f"DesiredInstanceCount of variant {name} must be at least 1.")
    return _change(context, request["EndpointName"], list(variants.values()), {}, keep=True)


@operation("sagemaker", "DescribeEndpoint")
def describe_endpoint(context: Context, request: dict) -> dict:
    return find(context, request["EndpointName"])


@operation("sagemaker", "ListEndpoints")
def list_endpoints(context: Context, request: dict) -> dict:
    members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
    return listing.page(
        context.store.list(KIND),
        request,
        name="EndpointName",
        status="EndpointStatus",
        summary=lambda body: {member: body[member] for member in members},
        answer="Endpoints",
    )


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(context: Context, request: dict) -> None:
    name = request["EndpointName"]
    find(context, name)
    context.store.delete(KIND, name)
    context.spawn(f"delete endpoint {name}", fleet(context).drain, fleet(context).unroute(name))


@on_start
def serve_again(context: Context) -> None:
    """Endpoints that were in service are started again; one that was being created has failed."""
    shutil.rmtree(context.state_dir / "endpoints", ignore_errors=True)
    for body in context.store.list(KIND):
        name, status = body["EndpointName"], body["EndpointStatus"]
        if status == "Creating":
            context.store.update(KIND, name, {"EndpointStatus": "Failed", "FailureReason": f"{CUT_OFF} created."})
        elif status != "Failed":
            changes: dict[str, Any] = {"EndpointStatus": "SystemUpdating", "_Deployment": uuid.uuid4().hex}
            if status == "Updating":
                changes["FailureReason"] = f"{CUT_OFF} updated; it serves what it served before."
            after = context.store.update(KIND, name, changes)
            fleet(context).route(name, [])
            deployment = changes["_Deployment"]
            context.spawn(f"serve {name}", _deploy, context, name, deployment, body["_Variants"], after)


@on_stop
def stop_serving(context: Context) -> None:
    fleet(context).stop_all()


def find(context: Context, name: str) -> dict:
    """An endpoint's document. Raises ValidationException."""
    body = context.store.get(KIND, name)
    if body is None:
        raise ValidationException(f'Could not find endpoint "{context.arn("sagemaker", f"endpoint/{name}")}".')
    return body


def _planned(context: Context, config_name: str) -> list[dict]:
    """What each variant of a configuration will run."""
    planned = []
    for variant in endpoint_config(context, config_name)["ProductionVariants"]:
        serverless = variant.get("ServerlessConfig")
        planned.append(
            {
                "Name": variant["VariantName"],
                "Weight": variant["InitialVariantWeight"],
                "Count": 1 if serverless else variant["InitialInstanceCount"],
                "Serverless": serverless,
                "StartupSeconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
                "Container": serving_container(context, variant["ModelName"]),
                "Role": model_role(context, variant["ModelName"]),
            }
        )
    return planned


def _retain(variants: list[dict], current: list[dict], excluded: set[str]) -> None:
    before = {variant["Name"]: variant for variant in current}
    for variant in variants:
        kept = before.get(variant["Name"])
        if kept is None:
            continue
        if "DesiredInstanceCount" not in excluded and not variant["Serverless"] and not kept["Serverless"]:
            variant["Count"] = kept["Count"]
        if "DesiredWeight" not in excluded:
            variant["Weight"] = kept["Weight"]


def _change(context: Context, name: str, variants: list[dict], changes: dict, keep: bool = False) -> dict:
    """Begin a deployment onto an endpoint in service. Raises ValidationException while another one runs."""
    arn = context.arn("sagemaker", f"endpoint/{name}")
    deployment = uuid.uuid4().hex

    def begin(body: dict) -> None:
        if body["EndpointStatus"] in IN_PROGRESS:
            raise ValidationException(f'Cannot update in-progress endpoint "{arn}".')
        if body["EndpointStatus"] != "InService":
            raise ValidationException(f'Cannot update endpoint "{arn}": it is {body["EndpointStatus"]}. Delete it.')
        body.update(EndpointStatus="Updating", LastModifiedTime=time.time(), _Deployment=deployment)
        body.pop("FailureReason", None)

    context.store.change(KIND, name, begin)
    context.spawn(f"update endpoint {name}", _deploy, context, name, deployment, variants, changes, keep)
    return {"EndpointArn": arn}


def _deploy(
    context: Context, name: str, deployment: str, variants: list[dict], changes: dict, keep: bool = False
) -> None:
    """Start what `variants` need, route to it, end what is not needed any more. With `keep`, running instances stay."""
    serving = fleet(context)
    running = {variant.served.variant: variant for variant in serving.variants(name)} if keep else {}
    try:
        routed = _started(serving, name, variants, running)
    except StartFailed as problem:
        _note_failure(context, name, deployment, str(problem))
        return
    leftover = [instance for variant in running.values() for instance in variant.instances]
    fresh = [i for variant in routed for i in variant.instances if i not in leftover]
    removed: list = []

    def finish(body: dict) -> None:
        if body["_Deployment"] != deployment:
            raise KeyError(name)
        removed.extend(serving.route(name, routed))
        body.update(
            **{"EndpointConfigName": changes.get("EndpointConfigName", body["EndpointConfigName"])},
            **{"EndpointStatus": "InService", "LastModifiedTime": time.time(), "_Variants": variants},
            **{"ProductionVariants": [_described(variant) for variant in variants]},
        )

    try:
        context.store.change(KIND, name, finish)
    except KeyError:  # deleted meanwhile
        serving.stop(fresh)
        return
    serving.drain(removed)


def _started(serving: Fleet, name: str, variants: list[dict], running: dict[str, Variant]) -> list[Variant]:
    """Each variant with as many instances as it wants: those that run already first. Raises StartFailed."""
    routed: list[Variant] = []
    fresh: list = []
    try:
        for variant in variants:
            served = _served(name, variant)
            there = running[variant["Name"]].instances[: variant["Count"]] if variant["Name"] in running else []
            started = serving.launch(served, variant["Count"] - len(there))
            fresh += started
            routed.append(Variant(served, variant["Weight"], there + started))
    except StartFailed:
        serving.stop(fresh)
        raise
    return routed


def _note_failure(context: Context, name: str, deployment: str, reason: str) -> None:
    """A failed creation is Failed; a failed update leaves the endpoint in service with what it had, and the reason."""

    def note(body: dict) -> None:
        if body["_Deployment"] == deployment:
            body["EndpointStatus"] = "InService" if body["EndpointStatus"] == "Updating" else "Failed"
            body.update(FailureReason=reason, LastModifiedTime=time.time())

    with suppress(KeyError):  # deleted meanwhile
        after = context.store.change(KIND, name, note)
        if after["EndpointStatus"] == "Failed":
            fleet(context).unroute(name)


def _served(endpoint: str, variant: dict) -> Served:
    container = variant["Container"]
    return Served(
        endpoint=endpoint,
        variant=variant["Name"],
        image=container["Image"],
        model_data=container["ModelData"],
        packed=container["Packed"],
        environment=container["Environment"],
        role=variant.get("Role"),
        startup_seconds=variant["StartupSeconds"],
    )


def _described(variant: dict) -> dict:
    image = variant["Container"]["Image"]
    serverless = {"CurrentServerlessConfig": variant["Serverless"], "DesiredServerlessConfig": variant["Serverless"]}
    count = {"CurrentInstanceCount": variant["Count"], "DesiredInstanceCount": variant["Count"]}
    return {
        "VariantName": variant["Name"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": time.time()}],
        "CurrentWeight": variant["Weight"],
        "DesiredWeight": variant["Weight"],
        **(serverless if variant["Serverless"] else count),
    }
