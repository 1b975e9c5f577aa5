"""IAM: managed policies and instance profiles."""

import time
from urllib.parse import quote

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists
from sagelocal.services.iam import enforcement, grammar, policy, roles
from sagelocal.services.iam.api import change, check_size, conflict, exists, find, missing, page, shown
from sagelocal.services.iam.documents import POLICY, PROFILE, ROLE, InstanceProfile, Policy, Role

MAX_MANAGED = 6_144  # characters without white space; source: IAM quotas


@operation("iam", "CreatePolicy")
def create_policy(context: Context, request: Json) -> Json:
    name, path = request["PolicyName"], request.get("Path", "/")
    arn = f"arn:aws:iam::{context.account}:policy{path}{name}"
    _check(request["PolicyDocument"])
    now = time.time()
    body: Policy = {
        "PolicyName": name,
        "PolicyId": "ANPA" + enforcement.role_id(arn)[4:],
        "Arn": arn,
        "Path": path,
        "DefaultVersionId": "v1",
        "IsAttachable": True,
        "Description": request.get("Description"),
        "CreateDate": now,
        "UpdateDate": now,
        "Tags": request.get("Tags", []),
        "_Versions": {"v1": {"Document": request["PolicyDocument"], "CreateDate": now}},
    }
    try:
        context.store.insert(POLICY, arn, body)
    except AlreadyExists:
        raise exists(f"A policy called {name} already exists. Duplicate names are not allowed.") from None
    return {"Policy": body}


@operation("iam", "GetPolicy")
def get_policy(context: Context, request: Json) -> Json:
    body = _policy(context, request["PolicyArn"])
    return {"Policy": {**body, "AttachmentCount": len(_attached_to(context, body["Arn"]))}}


@operation("iam", "ListPolicies")
def list_policies(context: Context, request: Json) -> Json:
    """The account's own; AWS's are there too, but not in the list."""
    return page(context.store.list(POLICY) if request.get("Scope") != "AWS" else [], request, "Policies")


@operation("iam", "GetPolicyVersion")
def get_policy_version(context: Context, request: Json) -> Json:
    body, version = _policy(context, request["PolicyArn"]), request["VersionId"]
    if version not in body["_Versions"]:
        raise missing(f"Policy {body['Arn']} version {version} does not exist or is not attachable.")
    return {"PolicyVersion": _version(body, version, document=True)}


@operation("iam", "ListPolicyVersions")
def list_policy_versions(context: Context, request: Json) -> Json:
    body = _policy(context, request["PolicyArn"])
    return page([_version(body, version) for version in reversed(body["_Versions"])], request, "Versions")


@operation("iam", "CreatePolicyVersion")
def create_policy_version(context: Context, request: Json) -> Json:
    body = _own_policy(context, request["PolicyArn"])
    _check(request["PolicyDocument"])
    number = max(int(version[1:]) for version in body["_Versions"]) + 1

    def edit(body: Policy) -> None:
        if len(body["_Versions"]) >= 5:
            raise AwsError("LimitExceeded", "A managed policy can have up to 5 versions.", 409)
        body["_Versions"][f"v{number}"] = {"Document": request["PolicyDocument"], "CreateDate": time.time()}
        if request.get("SetAsDefault"):
            body["DefaultVersionId"] = f"v{number}"

    return {"PolicyVersion": _version(context.store.change(POLICY, body["Arn"], edit), f"v{number}")}


@operation("iam", "DeletePolicyVersion")
def delete_policy_version(context: Context, request: Json) -> None:
    body, version = _own_policy(context, request["PolicyArn"]), request["VersionId"]
    if version == body["DefaultVersionId"]:
        raise conflict("Cannot delete the default version of a policy.")
    context.store.change(POLICY, body["Arn"], lambda stored: stored["_Versions"].pop(version, None))


@operation("iam", "DeletePolicy")
def delete_policy(context: Context, request: Json) -> None:
    body = _own_policy(context, request["PolicyArn"])
    if _attached_to(context, body["Arn"]):
        raise conflict("Cannot delete a policy attached to entities.")
    context.store.delete(POLICY, body["Arn"])


@operation("iam", "AttachRolePolicy")
def attach_role_policy(context: Context, request: Json) -> None:
    arn = request["PolicyArn"]
    if roles.managed_text(context, arn) is None:
        raise missing(f"Policy {arn} does not exist or is not attachable.")
    change(context, request, lambda role: role.update({"_Attached": [*dict.fromkeys([*role["_Attached"], arn])]}))


@operation("iam", "DetachRolePolicy")
def detach_role_policy(context: Context, request: Json) -> None:
    arn = request["PolicyArn"]

    def edit(role: Role) -> None:
        if arn not in role["_Attached"]:
            raise missing(f"Policy {arn} was not found.")
        role["_Attached"].remove(arn)

    change(context, request, edit)


@operation("iam", "ListAttachedRolePolicies")
def list_attached_role_policies(context: Context, request: Json) -> Json:
    attached = find(context, request["RoleName"])["_Attached"]
    return page([{"PolicyName": a.rpartition("/")[2], "PolicyArn": a} for a in attached], request, "AttachedPolicies")


@operation("iam", "CreateInstanceProfile")
def create_instance_profile(context: Context, request: Json) -> Json:
    name, path = request["InstanceProfileName"], request.get("Path", "/")
    arn = f"arn:aws:iam::{context.account}:instance-profile{path}{name}"
    body: InstanceProfile = {
        "InstanceProfileName": name,
        "InstanceProfileId": "AIPA" + enforcement.role_id(arn)[4:],
        "Arn": arn,
        "Path": path,
        "CreateDate": time.time(),
        "_Roles": [],
    }
    try:
        context.store.insert(PROFILE, name, body)
    except AlreadyExists:
        raise exists(f"Instance Profile {name} already exists.") from None
    return {"InstanceProfile": _profile(context, name)}


@operation("iam", "GetInstanceProfile")
def get_instance_profile(context: Context, request: Json) -> Json:
    return {"InstanceProfile": _profile(context, request["InstanceProfileName"])}


@operation("iam", "ListInstanceProfilesForRole")
def list_instance_profiles_for_role(context: Context, request: Json) -> Json:
    names = [p["InstanceProfileName"] for p in context.store.list(PROFILE) if request["RoleName"] in p["_Roles"]]
    return page([_profile(context, name) for name in names], request, "InstanceProfiles")


@operation("iam", "AddRoleToInstanceProfile")
def add_role_to_instance_profile(context: Context, request: Json) -> None:
    find(context, request["RoleName"])
    name = request["InstanceProfileName"]
    if _profile(context, name)["Roles"]:
        raise AwsError("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", 409)
    context.store.update(PROFILE, name, {"_Roles": [request["RoleName"]]})


@operation("iam", "RemoveRoleFromInstanceProfile")
def remove_role_from_instance_profile(context: Context, request: Json) -> None:
    name = request["InstanceProfileName"]
    if request["RoleName"] not in [role["RoleName"] for role in _profile(context, name)["Roles"]]:
        raise missing(f"The role with name {request['RoleName']} is not in instance profile {name}.")
    context.store.update(PROFILE, name, {"_Roles": []})


@operation("iam", "DeleteInstanceProfile")
def delete_instance_profile(context: Context, request: Json) -> None:
    name = request["InstanceProfileName"]
    if _profile(context, name)["Roles"]:
        raise conflict("Cannot delete entity, must remove roles from instance profile first.")
    context.store.delete(PROFILE, name)


def _check(document: str) -> None:
    grammar.check(document)
    if policy.read(document).get("Version") != policy.VERSIONS[0]:
        raise policy.MalformedPolicyDocument(f"Policy document must be version {policy.VERSIONS[0]} or greater.")
    check_size(document, MAX_MANAGED, "Cannot exceed quota for PolicySize: {limit}")


def _policy(context: Context, arn: str) -> Policy:
    """A managed policy's document, this account's or AWS's. Raises NoSuchEntity."""
    if not arn.startswith(roles.AWS_MANAGED):
        return _own_policy(context, arn)
    text = roles.managed_text(context, arn)
    if text is None:
        raise missing(f"Policy {arn} was not found.")
    return {
        "PolicyName": arn.rpartition("/")[2],
        "Arn": arn,
        "Path": "/",
        "DefaultVersionId": "v1",
        "IsAttachable": True,
        "_Versions": {"v1": {"Document": text, "CreateDate": 0.0}},
    }


def _own_policy(context: Context, arn: str) -> Policy:
    body = context.store.get(POLICY, arn)
    if body is None:
        raise missing(f"Policy {arn} was not found.")
    return body


def _version(body: Policy, version: str, document: bool = False) -> Json:
    kept = body["_Versions"][version]
    named = {"VersionId": version, "IsDefaultVersion": version == body["DefaultVersionId"]}
    text = {"Document": quote(kept["Document"], safe="")} if document else {}
    return {**named, "CreateDate": kept["CreateDate"], **text}


def _attached_to(context: Context, arn: str) -> list[str]:
    return [role["RoleName"] for role in context.store.list(ROLE) if arn in role["_Attached"]]


def _profile(context: Context, name: str) -> Json:
    body = context.store.get(PROFILE, name)
    if body is None:
        raise missing(f"Instance Profile {name} cannot be found.")
    return {**body, "Roles": [shown(find(context, role)) for role in body["_Roles"]]}
