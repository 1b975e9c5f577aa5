"""SageMaker's model registry: groups of versioned model packages, each with its approval."""

import time
from typing import cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ConflictException, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists, amend
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import GROUP, PACKAGE, ModelPackage, ModelPackageGroup

GROUP_SUMMARY = [
    "ModelPackageGroupName",
    "ModelPackageGroupArn",
    "ModelPackageGroupDescription",
    "CreationTime",
    "ModelPackageGroupStatus",
]
PACKAGE_SUMMARY = [
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
]
CHANGEABLE = [
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
]


@operation("sagemaker", "CreateModelPackageGroup")
def create_model_package_group(context: Context, request: Json) -> Json:
    name = request["ModelPackageGroupName"]
    arn = context.arn("sagemaker", f"model-package-group/{name}")
    body: ModelPackageGroup = {
        "ModelPackageGroupName": name,
        "ModelPackageGroupArn": arn,
        "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
        "CreationTime": time.time(),
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
        "_Tags": request.get("Tags", []),
        "_LastVersion": 0,
    }
    try:
        context.store.insert(GROUP, name, body)
    except AlreadyExists:
        raise ValidationException(f"Model Package Group already exists: {arn}") from None
    return {"ModelPackageGroupArn": arn}


@operation("sagemaker", "DescribeModelPackageGroup")
def describe_model_package_group(context: Context, request: Json) -> ModelPackageGroup:
    return _group(context, request["ModelPackageGroupName"])


@operation("sagemaker", "ListModelPackageGroups")
def list_model_package_groups(context: Context, request: Json) -> Json:
    return listing.page(
        context.store.list(GROUP),
        request,
        name="ModelPackageGroupName",
        status="ModelPackageGroupStatus",
        summary=listing.members(GROUP_SUMMARY),
        answer="ModelPackageGroupSummaryList",
    )


@operation("sagemaker", "DeleteModelPackageGroup")
def delete_model_package_group(context: Context, request: Json) -> None:
    group = _group(context, request["ModelPackageGroupName"])
    versions = _packages(context, group)
    if versions:
        arn = group["ModelPackageGroupArn"]
        raise ConflictException(
            f"Cannot delete Model Package Group {arn}: it still contains {len(versions)} Model Packages. "
            "Delete them with DeleteModelPackage first."
        )
    context.store.delete(GROUP, group["ModelPackageGroupName"])


@operation("sagemaker", "CreateModelPackage")
def create_model_package(context: Context, request: Json) -> Json:
    if not request.get("ModelPackageGroupName"):
        raise ValidationException(
            "The embedded SageMaker registers versioned model packages only: name a ModelPackageGroupName."
        )
    group = _group(context, request["ModelPackageGroupName"])
    _check_inference(context, request.get("InferenceSpecification"))
    token = request.get("ClientToken")
    for package in _packages(context, group):
        if token and package["_ClientToken"] == token:
            return {"ModelPackageArn": package["ModelPackageArn"]}
    name = group["ModelPackageGroupName"]
    version = context.store.change(GROUP, name, _next_version)["_LastVersion"]
    arn = context.arn("sagemaker", f"model-package/{name}/{version}")
    now = time.time()
    document = {
        **{key: value for key, value in request.items() if key not in ("ClientToken", "Tags", "ModelPackageName")},
        "ModelPackageGroupName": name,
        "ModelPackageVersion": version,
        "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        "ModelPackageRegistrationType": request.get("ModelPackageRegistrationType", "Registered"),
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": {},
        "_Tags": request.get("Tags", []),
        "_ClientToken": token,
    }
    context.store.insert(PACKAGE, arn, cast(ModelPackage, document))
    return {"ModelPackageArn": arn}


@operation("sagemaker", "DescribeModelPackage")
def describe_model_package(context: Context, request: Json) -> ModelPackage:
    return find_package(context, request["ModelPackageName"])


@operation("sagemaker", "UpdateModelPackage")
def update_model_package(context: Context, request: Json) -> Json:
    arn = find_package(context, request["ModelPackageArn"])["ModelPackageArn"]
    if "InferenceSpecification" in request:
        _check_inference(context, request["InferenceSpecification"])

    def edit(body: ModelPackage) -> None:
        amend(body, listing.members(CHANGEABLE)(request))
        metadata = (body.get("CustomerMetadataProperties") or {}) | request.get("CustomerMetadataProperties", {})
        for key in request.get("CustomerMetadataPropertiesToRemove", []):
            metadata.pop(key, None)
        body["CustomerMetadataProperties"] = metadata or None
        added = request.get("AdditionalInferenceSpecificationsToAdd", [])
        if added:
            body["AdditionalInferenceSpecifications"] = body.get("AdditionalInferenceSpecifications", []) + added
        body["LastModifiedTime"] = time.time()
        body["LastModifiedBy"] = {}

    context.store.change(PACKAGE, arn, edit)
    return {"ModelPackageArn": arn}


@operation("sagemaker", "DeleteModelPackage")
def delete_model_package(context: Context, request: Json) -> None:
    context.store.delete(PACKAGE, find_package(context, request["ModelPackageName"])["ModelPackageArn"])


@operation("sagemaker", "ListModelPackages")
def list_model_packages(context: Context, request: Json) -> Json:
    """Without a group AWS lists unversioned packages, unless others are asked for; there are none of those here."""
    if "ModelPackageGroupName" in request:
        packages = _packages(context, _group(context, request["ModelPackageGroupName"]))
    else:
        packages = context.store.list(PACKAGE) if request.get("ModelPackageType") in ("Versioned", "Both") else []
    approval = request.get("ModelApprovalStatus")
    return listing.page(
        [package for package in packages if approval in (None, package["ModelApprovalStatus"])],
        request,
        name="ModelPackageGroupName",
        status="ModelPackageStatus",
        summary=listing.members(PACKAGE_SUMMARY),
        answer="ModelPackageSummaryList",
        default_order="Ascending",
    )


def find_package(context: Context, arn: str) -> ModelPackage:
    """A package by its ARN (…:model-package/<group>/<version>). Raises ValidationException."""
    body = context.store.get(PACKAGE, arn)
    if body is None:
        raise ValidationException(f"ModelPackage {arn} does not exist. Versioned packages are named by their full ARN.")
    return body


def _group(context: Context, name_or_arn: str) -> ModelPackageGroup:
    body = context.store.get(GROUP, name_or_arn.rpartition("/")[2])
    if body is None:
        raise ValidationException(f"ModelPackageGroup {name_or_arn} does not exist.")
    return body


def _packages(context: Context, group: ModelPackageGroup) -> list[ModelPackage]:
    return context.store.list(PACKAGE, context.arn("sagemaker", f"model-package/{group['ModelPackageGroupName']}/"))


def _next_version(group: ModelPackageGroup) -> None:
    group["_LastVersion"] += 1


def _check_inference(context: Context, specification: Json | None) -> None:
    """The model data that a package names must be there: a package nobody can deploy is found out now, not then."""
    for container in (specification or {}).get("Containers", []):
        uri = container.get("ModelDataUrl", "")
        if not uri.startswith("s3://"):
            continue
        try:
            objects.path(context, uri)
        except AwsError:
            bucket, key = objects.parse_uri(uri)
            raise ValidationException(
                f"Cannot find S3 object: {key} in bucket {bucket}. Please check if your S3 object exists."
            ) from None
