"""SageMaker's models and endpoint configurations: what an endpoint will run, checked before it has to."""

import time
from collections.abc import Mapping
from typing import Any, cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists, Document, Kind
from sagelocal.definition import local
from sagelocal.runtime import images
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import ENDPOINT_CONFIG, MODEL, EndpointConfig, Model, ServingContainer
from sagelocal.services.sagemaker.registry.api import find_package


@operation("sagemaker", "CreateModel")
def create_model(context: Context, request: Json) -> Json:
    containers = [request["PrimaryContainer"]] if "PrimaryContainer" in request else request.get("Containers", [])
    if "PrimaryContainer" in request and request.get("Containers"):
        raise ValidationException("Only one of PrimaryContainer and Containers can be given.")
    local.refuse("CreateModel", request)
    if not containers:
        raise ValidationException("A model needs a container. Give PrimaryContainer.")
    _resolved(context, containers[0])
    name = request["ModelName"]
    arn = context.arn("sagemaker", f"model/{name}")
    document = {k: v for k, v in request.items() if k != "Tags"} | {
        "ModelArn": arn,
        "CreationTime": time.time(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "_Tags": request.get("Tags", []),
    }
    try:
        context.store.insert(MODEL, name, cast(Model, document))
    except AlreadyExists:
        raise ValidationException(f'Cannot create already existing model "{arn}".') from None
    return {"ModelArn": arn}


@operation("sagemaker", "DescribeModel")
def describe_model(context: Context, request: Json) -> Model:
    return _found(context, MODEL, request["ModelName"])


@operation("sagemaker", "ListModels")
def list_models(context: Context, request: Json) -> Json:
    return _listed(context, MODEL, request, "ModelName", "ModelArn", "Models")


@operation("sagemaker", "DeleteModel")
def delete_model(context: Context, request: Json) -> None:
    _found(context, MODEL, request["ModelName"])
    context.store.delete(MODEL, request["ModelName"])


@operation("sagemaker", "CreateEndpointConfig")
def create_endpoint_config(context: Context, request: Json) -> Json:
    local.refuse("CreateEndpointConfig", request)
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(set(names)) < len(names):
        raise ValidationException(f"Production variant names must be unique: {', '.join(names)}.")
    for variant in request["ProductionVariants"]:
        _check_variant(context, variant)
    if "DataCaptureConfig" in request:
        objects.parse_uri(request["DataCaptureConfig"]["DestinationS3Uri"])
    name = request["EndpointConfigName"]
    arn = context.arn("sagemaker", f"endpoint-config/{name}")
    document = {k: v for k, v in request.items() if k not in ("Tags", "ProductionVariants")} | {
        "ProductionVariants": [{"InitialVariantWeight": 1.0} | variant for variant in request["ProductionVariants"]],
        "EndpointConfigArn": arn,
        "CreationTime": time.time(),
        "_Tags": request.get("Tags", []),
    }
    try:
        context.store.insert(ENDPOINT_CONFIG, name, cast(EndpointConfig, document))
    except AlreadyExists:
        raise ValidationException(f'Cannot create already existing endpoint configuration "{arn}".') from None
    return {"EndpointConfigArn": arn}


@operation("sagemaker", "DescribeEndpointConfig")
def describe_endpoint_config(context: Context, request: Json) -> EndpointConfig:
    return _found(context, ENDPOINT_CONFIG, request["EndpointConfigName"])


@operation("sagemaker", "ListEndpointConfigs")
def list_endpoint_configs(context: Context, request: Json) -> Json:
    return _listed(context, ENDPOINT_CONFIG, request, "EndpointConfigName", "EndpointConfigArn", "EndpointConfigs")


@operation("sagemaker", "DeleteEndpointConfig")
def delete_endpoint_config(context: Context, request: Json) -> None:
    _found(context, ENDPOINT_CONFIG, request["EndpointConfigName"])
    context.store.delete(ENDPOINT_CONFIG, request["EndpointConfigName"])


def endpoint_config(context: Context, name: str) -> EndpointConfig:
    return _found(context, ENDPOINT_CONFIG, name)


def serving_container(context: Context, model_name: str) -> ServingContainer:
    """What a model runs. Raises ValidationException when the model, its package or its data are gone."""
    model = _found(context, MODEL, model_name)
    return _resolved(context, model.get("PrimaryContainer") or model["Containers"][0])


def model_role(context: Context, model_name: str) -> str | None:
    return _found(context, MODEL, model_name).get("ExecutionRoleArn")


def _resolved(context: Context, container: Mapping[str, Any]) -> ServingContainer:
    environment = dict(container.get("Environment", {}))
    if "ModelPackageName" in container:
        package = find_package(context, container["ModelPackageName"])
        packaged = package.get("InferenceSpecification", {}).get("Containers", [])
        if len(packaged) != 1:
            raise ValidationException(
                f"Model package {container['ModelPackageName']} cannot be served: its InferenceSpecification has "
                f"{len(packaged)} containers, one is needed."
            )
        container = packaged[0]
        environment = container.get("Environment", {}) | environment
    if "Image" not in container:
        raise ValidationException("A container needs an Image, or a ModelPackageName that brings one.")
    images.find(context, container["Image"], "serving")
    uri, packed = _model_data(container)
    if uri:
        _check_model_data(context, uri, packed)
    return {"Image": container["Image"], "ModelData": uri, "Packed": packed, "Environment": environment}


def _model_data(container: Mapping[str, Any]) -> tuple[str | None, bool]:
    """(s3 URI, whether it is a .tar.gz)."""
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source:
        return source["S3Uri"], source["CompressionType"] == "Gzip"
    return container.get("ModelDataUrl"), True


def _check_model_data(context: Context, uri: str, packed: bool) -> None:
    try:
        if packed:
            objects.path(context, uri)
        elif not objects.keys(context, uri):
            raise ValidationException("no object has that prefix")
    except AwsError:
        raise ValidationException(f"Could not find model data at {uri}.") from None


def _check_variant(context: Context, variant: Json) -> None:
    name = variant["VariantName"]
    if "ModelName" not in variant:
        raise ValidationException(
            f"Production variant {name} has no ModelName; inference components are not run by the embedded SageMaker."
        )
    _found(context, MODEL, variant["ModelName"])
    if "ServerlessConfig" in variant:
        if "InitialInstanceCount" in variant or "InstanceType" in variant:
            raise ValidationException(f"Production variant {name} has both a ServerlessConfig and instances.")
    elif not variant.get("InitialInstanceCount") or not variant.get("InstanceType"):
        raise ValidationException(
            f"Production variant {name} needs InstanceType and InitialInstanceCount of at least 1."
        )


def _found(context: Context, kind: Kind[Document], name: str) -> Document:
    body = context.store.get(kind, name)
    if body is None:
        what = "model" if kind == MODEL else "endpoint configuration"
        raise ValidationException(f'Could not find {what} "{context.arn("sagemaker", f"{kind}/{name}")}".')
    return body


def _listed(context: Context, kind: Kind[Any], request: Json, name: str, arn: str, answer: str) -> Json:
    summary = listing.members((name, arn, "CreationTime"))
    return listing.page(context.store.list(kind), request, name=name, status=arn, summary=summary, answer=answer)
