"""What a role's policies say, as they are kept."""

import json
from functools import cache

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.services.iam import policy
from sagelocal.services.iam.documents import POLICY, ROLE, Role
from sagelocal.services.iam.policy import Statement

AWS_MANAGED = "arn:aws:iam::aws:policy/"


def find(context: Context, role_arn: str) -> Role | None:
    """The document of the role with that ARN, None when it was never created here."""
    body = context.store.get(ROLE, role_arn.rpartition("/")[2])
    return body if body is not None and body["Arn"] == role_arn else None


def statements(context: Context, role: Role) -> tuple[Statement, ...]:
    """What a role's own and attached policies say."""
    found: list[Statement] = []
    for name, text in role["_Inline"].items():
        found += policy.parse(text, name=name)
    for arn in role["_Attached"]:
        found += managed(context, arn)
    return tuple(found)


def managed(context: Context, arn: str) -> tuple[Statement, ...]:
    """What a managed policy says; nothing when there is none of that ARN."""
    text = managed_text(context, arn)
    return policy.parse(text, name=arn.rpartition("/")[2]) if text else ()


def managed_text(context: Context, arn: str) -> str | None:
    """The default version's document of a managed policy: this account's, or one of AWS's own."""
    if arn.startswith(AWS_MANAGED):
        return aws_managed().get(arn)
    body = context.store.get(POLICY, arn)
    return str(body["_Versions"][body["DefaultVersionId"]]["Document"]) if body else None


def session(context: Context, caller: Caller) -> tuple[Statement, ...] | None:
    """What the policies of a session say together, None when it has none."""
    if not caller.policies:
        return None
    found: list[Statement] = []
    for item in caller.policies:
        found += managed(context, item) if item.startswith("arn:") else policy.parse(item, name="session")
    return tuple(found)


def boundary(context: Context, role: Role) -> tuple[Statement, ...] | None:
    """What a role's permissions boundary says, None when it has none."""
    arn = role["PermissionsBoundary"].get("PermissionsBoundaryArn") if "PermissionsBoundary" in role else None
    return managed(context, arn) if arn else None


@cache
def aws_managed() -> dict[str, str]:
    """AWS's managed policies by ARN, as moto ships them."""
    # moto takes a second to import: only who asks for AWS's own policies waits for it
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    known = json.loads(aws_managed_policies_data)
    documents = {name: json.dumps(body["Document"]) for name, body in known.items()}
    return {f"arn:aws:iam::aws:policy{known[name]['Path']}{name}": text for name, text in documents.items()}
