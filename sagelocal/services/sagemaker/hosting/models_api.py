"""SageMaker's models and endpoint configurations: what an endpoint will run, checked before it has to."""

import time
from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.definition import local
from sagelocal.runtime import images
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import ENDPOINT_CONFIG, MODEL
from sagelocal.services.sagemaker.registry.api import PACKAGES
from sagelocal.services.sagemaker.resources import Resource

MODELS = Resource(
    MODEL,
    "Model",
    missing=lambda _, arn: ValidationException(f'Could not find model "{arn}".'),
    taken=lambda _, arn: ValidationException(f'Cannot create already existing model "{arn}".'),
)
CONFIGS = Resource(
    ENDPOINT_CONFIG,
    "EndpointConfig",
    missing=lambda _, arn: ValidationException(f'Could not find endpoint configuration "{arn}".'),
    taken=lambda _, arn: ValidationException(f'Cannot create already existing endpoint configuration "{arn}".'),
)
MODELS.answers_describe("DescribeModel")
MODELS.answers_list("ListModels", "Models", ("ModelName", "ModelArn", "CreationTime"))
MODELS.answers_delete("DeleteModel")
CONFIGS.answers_describe("DescribeEndpointConfig")
CONFIGS.answers_list(
    "ListEndpointConfigs", "EndpointConfigs", ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
)
CONFIGS.answers_delete("DeleteEndpointConfig")


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
    document = {k: v for k, v in request.items() if k != "Tags"} | {
        "ModelArn": MODELS.arn(context, name),
        "CreationTime": time.time(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "_Tags": request.get("Tags", []),
    }
    return {"ModelArn": MODELS.insert(context, name, document)["ModelArn"]}


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
    document = {k: v for k, v in request.items() if k not in ("Tags", "ProductionVariants")} | {
        "ProductionVariants": [{"InitialVariantWeight": 1.0} | variant for variant in request["ProductionVariants"]],
        "EndpointConfigArn": CONFIGS.arn(context, name),
        "CreationTime": time.time(),
        "_Tags": request.get("Tags", []),
    }
    return {"EndpointConfigArn": CONFIGS.insert(context, name, document)["EndpointConfigArn"]}


def serving_container(context: Context, model_name: str) -> Json:
    """What a model runs: Image, ModelData (s3 URI or None), Packed (whether that is an archive) and Environment.

    Raises ValidationException when the model, its package or its data are gone.
    """
    model = MODELS.find(context, model_name)
    return _resolved(context, model.get("PrimaryContainer") or model["Containers"][0])


def _resolved(context: Context, container: Mapping[str, Any]) -> Json:
    environment = dict(container.get("Environment", {}))
    if "ModelPackageName" in container:
        package = PACKAGES.find(context, container["ModelPackageName"])
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
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    uri = source["S3Uri"] if source else container.get("ModelDataUrl")
    packed = source["CompressionType"] == "Gzip" if source else True
    if uri:
        _check_model_data(context, uri, packed)
    return {"Image": container["Image"], "ModelData": uri, "Packed": packed, "Environment": environment}


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
    MODELS.find(context, variant["ModelName"])
    if "ServerlessConfig" in variant:
        if "InitialInstanceCount" in variant or "InstanceType" in variant:
            raise ValidationException(f"Production variant {name} has both a ServerlessConfig and instances.")
    elif not variant.get("InitialInstanceCount") or not variant.get("InstanceType"):
        raise ValidationException(
            f"Production variant {name} needs InstanceType and InitialInstanceCount of at least 1."
        )
