"""Models and endpoint configurations: what cannot be served is refused before an endpoint needs it."""

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.hosting.models_api import serving_container

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{REGISTRY}/python:3.11"
DATA = "s3://models/m/model.tar.gz"


@pytest.fixture
def account(context: Context) -> Context:
    """An account with one model archive."""
    objects.create_bucket(context, "models")
    objects.write_bytes(context, DATA, b"archive")
    return context


def create(account: Context, name: str = "m", **request) -> None:
    account.call("sagemaker", "CreateModel", ModelName=name, **request)


def test_a_model_is_described_as_it_was_created_until_it_is_deleted(account: Context):
    container = {"Image": IMAGE, "ModelDataUrl": DATA, "Environment": {"A": "1"}}
    create(account, PrimaryContainer=container)
    found = account.call("sagemaker", "DescribeModel", ModelName="m")
    assert found["PrimaryContainer"] == container and found["ModelArn"].endswith(":model/m")
    assert [m["ModelName"] for m in account.call("sagemaker", "ListModels", NameContains="M")["Models"]] == ["m"]
    account.call("sagemaker", "DeleteModel", ModelName="m")
    with pytest.raises(ValidationException, match='Could not find model ".*model/m"'):
        account.call("sagemaker", "DescribeModel", ModelName="m")


def test_a_package_brings_image_data_and_environment_and_the_model_overrides_the_latter(account: Context):
    account.call("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="g")
    packaged = {"Image": IMAGE, "ModelDataUrl": DATA, "Environment": {"A": "package", "B": "package"}}
    arn = account.call(
        "sagemaker",
        "CreateModelPackage",
        ModelPackageGroupName="g",
        InferenceSpecification={"Containers": [packaged]},
    )["ModelPackageArn"]
    create(account, Containers=[{"ModelPackageName": arn, "Environment": {"A": "model"}}])
    assert serving_container(account, "m") == {
        **{"Image": IMAGE, "ModelData": DATA, "Packed": True},
        "Environment": {"A": "model", "B": "package"},
    }


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://models/none"}}, "model data at s3://models/none"),
        ({"PrimaryContainer": {"Image": f"{REGISTRY}/tensorflow:2"}}, "tensorflow:2 for serving"),
        ({"PrimaryContainer": {"Environment": {}}}, "needs an Image"),
        (
            {"PrimaryContainer": {"ModelPackageName": "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/9"}},
            "g/9",
        ),
        ({"Containers": [{"Image": IMAGE}, {"Image": IMAGE}]}, "Containers: is not run"),
        ({"PrimaryContainer": {"Image": IMAGE}, "Containers": [{"Image": IMAGE}]}, "Only one of"),
        ({}, "needs a container"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(account: Context, request_: dict, message: str):
    with pytest.raises(ValidationException, match=message):
        create(account, **request_)


def config(account: Context, *variants: dict, **more) -> dict:
    account.call("sagemaker", "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=list(variants), **more)
    return account.call("sagemaker", "DescribeEndpointConfig", EndpointConfigName="c")


INSTANCES = {"InitialInstanceCount": 1, "InstanceType": "ml.m7i.large"}


def test_a_configuration_keeps_its_variants_and_capture_settings(account: Context):
    create(account, PrimaryContainer={"Image": IMAGE})
    capture = {"InitialSamplingPercentage": 10, "DestinationS3Uri": "s3://models/c"}
    capture |= {"CaptureOptions": [{"CaptureMode": "Input"}]}
    found = config(account, {"VariantName": "v", "ModelName": "m", **INSTANCES}, DataCaptureConfig=capture)
    assert found["ProductionVariants"] == [
        {"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 1.0, **INSTANCES}
    ]
    assert found["DataCaptureConfig"] == capture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ModelName": "nobody"}, 'Could not find model ".*model/nobody"'),
        ({"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}}, "both a ServerlessConfig and instances"),
        ({"InitialInstanceCount": 0}, "InitialInstanceCount"),
        ({"ModelName": None}, "has no ModelName"),
    ],
)
def test_a_variant_that_cannot_be_run_is_refused(account: Context, change: dict, message: str):
    create(account, PrimaryContainer={"Image": IMAGE})
    variant = {"VariantName": "v", "ModelName": "m", **INSTANCES, **change}
    with pytest.raises(ValidationException, match=message):
        config(account, {key: value for key, value in variant.items() if value is not None})


def test_what_is_not_run_is_refused_instead_of_ignored(account: Context):
    create(account, PrimaryContainer={"Image": IMAGE})
    variant = {"VariantName": "v", "ModelName": "m", **INSTANCES}
    with pytest.raises(ValidationException, match="AsyncInferenceConfig: is not run"):
        config(account, variant, AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://models/o"}})
    with pytest.raises(ValidationException, match="must be unique: v, v"):
        config(account, variant, variant)
