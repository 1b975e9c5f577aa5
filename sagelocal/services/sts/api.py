"""STS: who am I, and credentials of a role."""

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.iam import enforcement, roles, sessions

DEFAULT_SECONDS = 3600


@operation("sts", "GetCallerIdentity")
def get_caller_identity(context: Context, request: Json) -> Json:
    caller = context.caller
    if caller is None:
        return {"UserId": context.account, "Account": context.account, "Arn": f"arn:aws:iam::{context.account}:root"}
    user_id = f"{enforcement.role_id(caller.role_arn)}:{caller.session}"
    return {"UserId": user_id, "Account": caller.account, "Arn": caller.arn}


@operation("sts", "AssumeRole")
def assume_role(context: Context, request: Json) -> Json:
    """The role must exist and trust who asks: the account's owner, or another role by its ARN."""
    arn, asking = request["RoleArn"], context.caller
    role = roles.find(context, arn)
    principal = asking.role_arn if asking else f"arn:aws:iam::{context.account}:root"
    keys = {"sts:externalid": (request["ExternalId"],)} if "ExternalId" in request else {}
    if role is None or not enforcement.trusts(context, role, "AWS", principal, keys):
        who = asking.arn if asking else principal
        message = f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise AwsError("AccessDenied", message, 403)
    seconds = request.get("DurationSeconds", DEFAULT_SECONDS)
    if seconds > role["MaxSessionDuration"]:
        raise AwsError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", 400
        )
    caller = Caller(arn, request["RoleSessionName"])
    assumed = {"AssumedRoleId": f"{role['RoleId']}:{caller.session}", "Arn": caller.arn}
    return {"Credentials": sessions.assume(context, caller, seconds), "AssumedRoleUser": assumed}
