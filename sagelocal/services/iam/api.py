"""IAM: roles with their trust and inline policies. Managed policies and instance profiles are in policies_api.py."""

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists, amend
from sagelocal.services.iam import enforcement, grammar, roles, sessions
from sagelocal.services.iam.documents import PROFILE, ROLE, Role
from sagelocal.services.iam.policy import TRUST

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html; white space does not count
MAX_INLINE, MAX_TRUST = 10_240, 2_048


@operation("iam", "CreateRole")
def create_role(context: Context, request: Json) -> Json:
    trust = request["AssumeRolePolicyDocument"]
    grammar.check(trust, TRUST)
    check_size(trust, MAX_TRUST, "Cannot exceed quota for ACLSizePerRole: {limit}")
    path, name = request.get("Path", "/"), request["RoleName"]
    arn = f"arn:aws:iam::{context.account}:role{path}{name}"
    body: Role = {
        "Path": path,
        "RoleName": name,
        "RoleId": enforcement.role_id(arn),
        "Arn": arn,
        "CreateDate": time.time(),
        "AssumeRolePolicyDocument": trust,
        "Description": request.get("Description"),
        "MaxSessionDuration": request.get("MaxSessionDuration", 3600),
        "Tags": request.get("Tags", []),
        "_Inline": {},
        "_Attached": [],
    }
    if "PermissionsBoundary" in request:
        body["PermissionsBoundary"] = _boundary(context, request["PermissionsBoundary"])
    try:
        context.store.insert(ROLE, name, body)
    except AlreadyExists:
        raise exists(f"Role with name {name} already exists.") from None
    return {"Role": shown(body)}


@operation("iam", "GetRole")
def get_role(context: Context, request: Json) -> Json:
    return {"Role": shown(find(context, request["RoleName"]))}


@operation("iam", "ListRoles")
def list_roles(context: Context, request: Json) -> Json:
    prefix = request.get("PathPrefix", "/")
    found = [shown(role) for role in context.store.list(ROLE) if role["Path"].startswith(prefix)]
    return page(found, request, "Roles")


@operation("iam", "DeleteRole")
def delete_role(context: Context, request: Json) -> None:
    role = find(context, request["RoleName"])
    if role["_Attached"]:
        raise conflict("Cannot delete entity, must detach all policies first.")
    if role["_Inline"]:
        raise conflict("Cannot delete entity, must delete policies first.")
    if any(role["RoleName"] in profile["_Roles"] for profile in context.store.list(PROFILE)):
        raise conflict("Cannot delete entity, must remove roles from instance profile first.")
    sessions.forget(context, role["Arn"])
    context.store.delete(ROLE, role["RoleName"])


@operation("iam", "UpdateRole")
def update_role(context: Context, request: Json) -> None:
    members = ("Description", "MaxSessionDuration")
    change(context, request, lambda role: amend(role, listing.members(members)(request)))


@operation("iam", "UpdateAssumeRolePolicy")
def update_assume_role_policy(context: Context, request: Json) -> None:
    grammar.check(request["PolicyDocument"], TRUST)
    check_size(request["PolicyDocument"], MAX_TRUST, "Cannot exceed quota for ACLSizePerRole: {limit}")
    change(context, request, lambda role: role.update({"AssumeRolePolicyDocument": request["PolicyDocument"]}))


@operation("iam", "PutRolePolicy")
def put_role_policy(context: Context, request: Json) -> None:
    grammar.check(request["PolicyDocument"])
    name = request["RoleName"]

    def edit(role: Role) -> None:
        role["_Inline"][request["PolicyName"]] = request["PolicyDocument"]
        everything = "".join(role["_Inline"].values())
        check_size(everything, MAX_INLINE, f"Maximum policy size of {{limit}} bytes exceeded for role {name}")

    change(context, request, edit)


@operation("iam", "GetRolePolicy")
def get_role_policy(context: Context, request: Json) -> Json:
    text = find(context, request["RoleName"])["_Inline"].get(request["PolicyName"])
    if text is None:
        raise missing(f"The role policy with name {request['PolicyName']} cannot be found.")
    named = {"RoleName": request["RoleName"], "PolicyName": request["PolicyName"]}
    return {**named, "PolicyDocument": quote(text, safe="")}


@operation("iam", "ListRolePolicies")
def list_role_policies(context: Context, request: Json) -> Json:
    return page(sorted(find(context, request["RoleName"])["_Inline"]), request, "PolicyNames")


@operation("iam", "DeleteRolePolicy")
def delete_role_policy(context: Context, request: Json) -> None:
    def edit(role: Role) -> None:
        if role["_Inline"].pop(request["PolicyName"], None) is None:
            raise missing(f"The role policy with name {request['PolicyName']} cannot be found.")

    change(context, request, edit)


@operation("iam", "PutRolePermissionsBoundary")
def put_role_permissions_boundary(context: Context, request: Json) -> None:
    boundary = _boundary(context, request["PermissionsBoundary"])
    change(context, request, lambda role: role.update({"PermissionsBoundary": boundary}))


@operation("iam", "DeleteRolePermissionsBoundary")
def delete_role_permissions_boundary(context: Context, request: Json) -> None:
    change(context, request, lambda role: role.pop("PermissionsBoundary", None))


@operation("iam", "TagRole")
def tag_role(context: Context, request: Json) -> None:
    added = {tag["Key"] for tag in request["Tags"]}

    def edit(role: Role) -> None:
        role["Tags"] = [tag for tag in role["Tags"] if tag["Key"] not in added] + request["Tags"]

    change(context, request, edit)


@operation("iam", "UntagRole")
def untag_role(context: Context, request: Json) -> None:
    def edit(role: Role) -> None:
        role["Tags"] = [tag for tag in role["Tags"] if tag["Key"] not in request["TagKeys"]]

    change(context, request, edit)


@operation("iam", "ListRoleTags")
def list_role_tags(context: Context, request: Json) -> Json:
    return page(find(context, request["RoleName"])["Tags"], request, "Tags")


@operation("iam", "CreateServiceLinkedRole")
def create_service_linked_role(context: Context, request: Json) -> Json:
    """Only the service can use it, so it has no policies here and nothing is checked against it."""
    service = request["AWSServiceName"]
    name = SERVICE_LINKED.get(service) or f"AWSServiceRoleFor{_title(service.partition('.')[0])}"
    name += f"_{request['CustomSuffix']}" if "CustomSuffix" in request else ""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    if context.store.get(ROLE, name):
        message = f"Service role name {name} has been taken in this account, please try a different suffix."
        raise AwsError("InvalidInput", message, 400)
    return create_role(
        context,
        {
            "Path": f"/aws-service-role/{service}/",
            "RoleName": name,
            "AssumeRolePolicyDocument": document,
            "Description": request.get("Description"),
        },
    )


@operation("iam", "DeleteServiceLinkedRole")
def delete_service_linked_role(context: Context, request: Json) -> Json:
    find(context, request["RoleName"])
    context.store.delete(ROLE, request["RoleName"])
    return {"DeletionTaskId": f"task/aws-service-role/{request['RoleName']}"}


SERVICE_LINKED = {
    "sagemaker.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
}


def find(context: Context, name: str) -> Role:
    """A role's document. Raises NoSuchEntity."""
    body = context.store.get(ROLE, name)
    if body is None:
        raise missing(f"The role with name {name} cannot be found.")
    return body


def change(context: Context, request: Json, edit: Callable[[Role], object]) -> None:
    """Alter the role that a request names. Raises NoSuchEntity."""
    find(context, request["RoleName"])
    context.store.change(ROLE, request["RoleName"], edit)


def shown(role: Role) -> Role:
    """A role as IAM answers it: the trust policy is URL-encoded."""
    return {**role, "AssumeRolePolicyDocument": quote(role["AssumeRolePolicyDocument"], safe="")}


def page(items: list[Any], request: Json, member: str) -> Json:
    marker = request.get("Marker", "0")
    if not is_whole(marker):
        raise AwsError("ValidationError", f"Invalid Marker: {marker}", 400)
    last = int(marker) + request.get("MaxItems", 100)
    more = last < len(items)
    return {member: items[int(marker) : last], "IsTruncated": more, "Marker": str(last) if more else None}


def missing(message: str) -> AwsError:
    return AwsError("NoSuchEntity", message, 404)


def exists(message: str) -> AwsError:
    return AwsError("EntityAlreadyExists", message, 409)


def conflict(message: str) -> AwsError:
    return AwsError("DeleteConflict", message, 409)


def check_size(text: str, limit: int, message: str) -> None:
    if len(re.sub(r"\s", "", text)) > limit:
        raise AwsError("LimitExceeded", message.format(limit=limit), 409)


def _boundary(context: Context, arn: str) -> dict[str, str]:
    if roles.managed_text(context, arn) is None:
        raise missing(f"Policy {arn} does not exist or is not attachable.")
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def _title(service: str) -> str:
    return service.title().replace("-", "").replace("Sagemaker", "SageMaker")
