"""The model registry, through boto3."""

import uuid

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def sagemaker(client):
    return client("sagemaker")


@pytest.fixture
def group(sagemaker) -> str:
    name = f"dogs-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="breeds")
    return name


def register(sagemaker, group: str, **more) -> str:
    return sagemaker.create_model_package(ModelPackageGroupName=group, **more)["ModelPackageArn"]


def test_versions_count_up_and_keep_what_was_registered(sagemaker, group: str):
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/evaluation.json"}}}
    first = register(sagemaker, group)
    second = register(sagemaker, group, ModelMetrics=metrics, ModelApprovalStatus="Approved", Domain="COMPUTER_VISION")
    assert first.endswith(f":model-package/{group}/1") and second.endswith(f":model-package/{group}/2")
    package = sagemaker.describe_model_package(ModelPackageName=second)
    assert (package["ModelPackageVersion"], package["ModelMetrics"]) == (2, metrics)
    assert package["ModelPackageStatus"] == "Completed"
    assert sagemaker.describe_model_package(ModelPackageName=first)["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_newest_approved_version_is_one_call_away(sagemaker, group: str):
    arns = [register(sagemaker, group, ModelApprovalStatus=s) for s in ("Approved", "Rejected", "Approved", "Rejected")]
    found = sagemaker.list_model_packages(
        **{"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved", "MaxResults": 1},
        **{"SortBy": "CreationTime", "SortOrder": "Descending"},
    )
    assert [package["ModelPackageArn"] for package in found["ModelPackageSummaryList"]] == [arns[2]]
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, PaginationConfig={"PageSize": 3}
    )
    assert [p["ModelPackageArn"] for page in pages for p in page["ModelPackageSummaryList"]] == arns


def test_approval_changes_and_customer_metadata_is_merged(sagemaker, group: str):
    arn = register(sagemaker, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    sagemaker.update_model_package(
        **{"ModelPackageArn": arn, "ModelApprovalStatus": "Approved", "ApprovalDescription": "good"},
        **{"CustomerMetadataProperties": {"c": "3"}, "CustomerMetadataPropertiesToRemove": ["a"]},
    )
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "good")
    assert package["CustomerMetadataProperties"] == {"b": "2", "c": "3"}


def test_the_same_client_token_registers_once(sagemaker, group: str):
    token = uuid.uuid4().hex
    assert register(sagemaker, group, ClientToken=token) == register(sagemaker, group, ClientToken=token)


def test_a_group_is_deleted_only_when_it_is_empty(sagemaker, group: str):
    arn = register(sagemaker, group)
    with pytest.raises(ClientError, match="ConflictException.*1 Model Packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match=f"{group} does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"ModelPackageName": "lonely"}, "versioned model packages only"),
        ({"ModelPackageGroupName": "no-such-group"}, "no-such-group does not exist"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(sagemaker, request_: dict, message: str):
    with pytest.raises(ClientError, match=message):
        sagemaker.create_model_package(**request_)


def test_a_package_whose_model_data_is_missing_is_refused(sagemaker, group: str):
    container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3", "ModelDataUrl": "s3://none/m.tar.gz"}
    specification = {"Containers": [container], "SupportedContentTypes": ["image/jpeg"]}
    with pytest.raises(ClientError, match="Cannot find S3 object: m.tar.gz in bucket none"):
        register(sagemaker, group, InferenceSpecification=specification)
    assert sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []


def test_a_taken_group_name_is_refused(sagemaker, group: str):
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
