"""AWS::IAM::Role, AWS::IAM::Policy and AWS::IAM::InstanceProfile."""

import json

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register

CHANGED_BY_UPDATE = ("Description", "MaxSessionDuration")


class Role(Handler):
    type = "AWS::IAM::Role"
    fixed = frozenset({"RoleName", "Path"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        role, path = properties.get("RoleName", name), properties.get("Path", "/")
        request: Json = {
            "RoleName": role,
            "Path": path,
            "AssumeRolePolicyDocument": json.dumps(properties["AssumeRolePolicyDocument"]),
            **{m: properties[m] for m in (*CHANGED_BY_UPDATE, "Tags", "PermissionsBoundary") if m in properties},
        }
        made = call(context, "iam", "CreateRole", request)["Role"]
        _put_policies(context, role, properties, {})
        return PhysicalResource(role, {"Arn": made["Arn"], "RoleId": made["RoleId"]})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        role = made.physical_id
        if properties["AssumeRolePolicyDocument"] != before["AssumeRolePolicyDocument"]:
            document = json.dumps(properties["AssumeRolePolicyDocument"])
            call(context, "iam", "UpdateAssumeRolePolicy", {"RoleName": role, "PolicyDocument": document})
        _update(context, role, properties, before)
        _put_policies(context, role, properties, before)
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        role = made.physical_id
        for policy in properties.get("Policies", []):
            call_unless_gone(context, "iam", "DeleteRolePolicy", {"RoleName": role, "PolicyName": policy["PolicyName"]})
        for arn in properties.get("ManagedPolicyArns", []):
            call_unless_gone(context, "iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
        call_unless_gone(context, "iam", "DeleteRole", {"RoleName": role})


class InlinePolicy(Handler):
    """One document that several roles have inline, under the same name."""

    type = "AWS::IAM::Policy"
    fixed = frozenset({"PolicyName"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        if not properties.get("Roles") or properties.get("Users") or properties.get("Groups"):
            raise AwsError("ValidationError", "Here a policy belongs to roles: give Roles, without Users and Groups.")
        for role in properties["Roles"]:
            _put_policies(context, role, {"Policies": [properties]}, {})
        return PhysicalResource(properties["PolicyName"])

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        self.create(context, properties, made.physical_id)
        for role in set(before["Roles"]) - set(properties["Roles"]):
            _put_policies(context, role, {}, {"Policies": [before]})
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        for role in properties["Roles"]:
            _put_policies(context, role, {}, {"Policies": [properties]})


class InstanceProfile(Handler):
    type = "AWS::IAM::InstanceProfile"
    fixed = frozenset({"InstanceProfileName", "Path"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        profile, path = properties.get("InstanceProfileName", name), properties.get("Path", "/")
        call(context, "iam", "CreateInstanceProfile", {"InstanceProfileName": profile, "Path": path})
        _add_roles(context, profile, properties)
        return PhysicalResource(profile, {"Arn": f"arn:aws:iam::{context.account}:instance-profile{path}{profile}"})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        _remove_roles(context, made.physical_id, before)
        _add_roles(context, made.physical_id, properties)
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        _remove_roles(context, made.physical_id, properties)
        call_unless_gone(context, "iam", "DeleteInstanceProfile", {"InstanceProfileName": made.physical_id})


def _update(context: Context, role: str, properties: Json, before: Json) -> None:
    """Description, longest session, tags and boundary."""
    changed = {m: properties[m] for m in CHANGED_BY_UPDATE if m in properties and properties[m] != before.get(m)}
    if changed:
        call(context, "iam", "UpdateRole", {"RoleName": role, **changed})
    gone = {tag["Key"] for tag in before.get("Tags", [])} - {tag["Key"] for tag in properties.get("Tags", [])}
    if gone:
        call(context, "iam", "UntagRole", {"RoleName": role, "TagKeys": sorted(gone)})
    if properties.get("Tags"):
        call(context, "iam", "TagRole", {"RoleName": role, "Tags": properties["Tags"]})
    boundary = properties.get("PermissionsBoundary")
    if boundary and boundary != before.get("PermissionsBoundary"):
        call(context, "iam", "PutRolePermissionsBoundary", {"RoleName": role, "PermissionsBoundary": boundary})
    elif not boundary and "PermissionsBoundary" in before:
        call(context, "iam", "DeleteRolePermissionsBoundary", {"RoleName": role})


def _put_policies(context: Context, role: str, properties: Json, before: Json) -> None:
    wanted = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties.get("Policies", [])}
    present = {policy["PolicyName"]: policy["PolicyDocument"] for policy in before.get("Policies", [])}
    for name, document in wanted.items():
        if present.get(name) != document:
            request = {"RoleName": role, "PolicyName": name, "PolicyDocument": json.dumps(document)}
            call(context, "iam", "PutRolePolicy", request)
    for name in set(present) - set(wanted):
        call_unless_gone(context, "iam", "DeleteRolePolicy", {"RoleName": role, "PolicyName": name})
    attached, kept = set(before.get("ManagedPolicyArns", [])), set(properties.get("ManagedPolicyArns", []))
    for arn in sorted(kept - attached):
        call(context, "iam", "AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    for arn in sorted(attached - kept):
        call_unless_gone(context, "iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})


def _add_roles(context: Context, profile: str, properties: Json) -> None:
    for role in properties["Roles"]:
        call(context, "iam", "AddRoleToInstanceProfile", {"InstanceProfileName": profile, "RoleName": role})


def _remove_roles(context: Context, profile: str, properties: Json) -> None:
    for role in properties.get("Roles", []):
        request = {"InstanceProfileName": profile, "RoleName": role}
        call_unless_gone(context, "iam", "RemoveRoleFromInstanceProfile", request)


register(Role(), InlinePolicy(), InstanceProfile())
