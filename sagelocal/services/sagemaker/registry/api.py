"""SageMaker's model registry: groups of versioned model packages, each with its approval."""

import time

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ConflictException, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import amend
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import GROUP, PACKAGE, PACKAGE_TOKEN, ModelPackage, ModelPackageGroup
from sagelocal.services.sagemaker.resources import Resource

GROUPS = Resource(
    GROUP,
    "ModelPackageGroup",
    missing=lambda name, _: ValidationException(f"ModelPackageGroup {name} does not exist."),
    taken=lambda _, arn: ValidationException(f"Model Package Group already exists: {arn}"),
)
PACKAGES = Resource(  # by their ARNs: …:model-package/<group>/<version>
    PACKAGE,
    "ModelPackage",
    missing=lambda arn, _: ValidationException(
        f"ModelPackage {arn} does not exist. Versioned packages are named by their full ARN."
    ),
    named_by_arn=True,
)
GROUP_SUMMARY = (
    *("ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription"),
    *("CreationTime", "ModelPackageGroupStatus"),
)
PACKAGE_SUMMARY = (
    *("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime"),
    *("ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType"),
)
CHANGEABLE = (
    *("ModelApprovalStatus", "ApprovalDescription", "InferenceSpecification", "SourceUri", "ModelCard"),
    *("ModelLifeCycle", "ModelPackageRegistrationType"),
)
GROUPS.answers_describe("DescribeModelPackageGroup")
GROUPS.answers_list("ListModelPackageGroups", "ModelPackageGroupSummaryList", GROUP_SUMMARY)
PACKAGES.answers_describe("DescribeModelPackage")


@operation("sagemaker", "CreateModelPackageGroup")
def create_model_package_group(context: Context, request: Json) -> Json:
    name = request["ModelPackageGroupName"]
    document = {
        "ModelPackageGroupName": name,
        "ModelPackageGroupArn": GROUPS.arn(context, name),
        "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
        "CreationTime": time.time(),
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
        "_Tags": request.get("Tags", []),
        "_LastVersion": 0,
    }
    return {"ModelPackageGroupArn": GROUPS.insert(context, name, document)["ModelPackageGroupArn"]}


@operation("sagemaker", "DeleteModelPackageGroup")
def delete_model_package_group(context: Context, request: Json) -> None:
    with context.store.transaction():
        group = GROUPS.find(context, request["ModelPackageGroupName"])
        versions = context.store.list(PACKAGE, parent=_packages(context, group))
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
    group = GROUPS.find(context, request["ModelPackageGroupName"])
    _check_inference(context, request.get("InferenceSpecification"))
    with context.store.transaction():
        token = request.get("ClientToken")
        return {"ModelPackageArn": _registered(context, group, token) or _register(context, group, request)}


@operation("sagemaker", "DeleteModelPackage")
def delete_model_package(context: Context, request: Json) -> None:
    with context.store.transaction():
        package = PACKAGES.find(context, request["ModelPackageName"])
        context.store.delete(PACKAGE, package["ModelPackageArn"])
        token = package.get("_ClientToken")
        context.store.delete(PACKAGE_TOKEN, f"{package['ModelPackageGroupName']}/{token}")


def _registered(context: Context, group: ModelPackageGroup, token: str | None) -> str | None:
    """The ARN of the package that an earlier request with the same ClientToken has registered."""
    if token is None:
        return None
    known = context.store.get(PACKAGE_TOKEN, f"{group['ModelPackageGroupName']}/{token}")
    arn = known["ModelPackageArn"] if known else ""
    return arn if context.store.get(PACKAGE, arn) else None


def _register(context: Context, group: ModelPackageGroup, request: Json) -> str:
    """Add the next version to a group: its ARN."""
    name, token = group["ModelPackageGroupName"], request.get("ClientToken")
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
    PACKAGES.insert(context, arn, document)
    if token:
        context.store.put(PACKAGE_TOKEN, f"{name}/{token}", {"ModelPackageArn": arn})
    return arn


@operation("sagemaker", "UpdateModelPackage")
def update_model_package(context: Context, request: Json) -> Json:
    arn = PACKAGES.find(context, request["ModelPackageArn"])["ModelPackageArn"]
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


@operation("sagemaker", "ListModelPackages")
def list_model_packages(context: Context, request: Json) -> Json:
    """Without a group AWS lists unversioned packages, unless others are asked for; there are none of those here."""
    parent = None
    if "ModelPackageGroupName" in request:
        group = GROUPS.find(context, request["ModelPackageGroupName"])
        parent = _packages(context, group)
        request = request | {"SortBy": "CreationTime"}  # they all have one name
    elif request.get("ModelPackageType") not in ("Versioned", "Both"):
        return {"ModelPackageSummaryList": []}
    return listing.stored(
        context.store,
        PACKAGE,
        request,
        "ModelPackageSummaryList",
        listing.members(PACKAGE_SUMMARY),
        parent=parent,
        status=request.get("ModelApprovalStatus"),
        order="Ascending",
    )


def _packages(context: Context, group: ModelPackageGroup) -> str:
    """What the packages of a group have as their parent."""
    return context.arn("sagemaker", f"model-package/{group['ModelPackageGroupName']}")


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
