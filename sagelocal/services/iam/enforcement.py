"""What the rest of the server calls: refuses what the caller of a context may not do, in AWS's own words.

A context without a caller is the account's owner or a service itself: nothing is refused. Neither is it for a role that
was never created in this IAM.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.iam import evaluation, policy, roles
from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.documents import Role
from sagelocal.services.iam.evaluation import Decision
from sagelocal.services.iam.policy import Call
from sagelocal.services.iam.used import record

XML_SERVICES = ("s3", "iam", "sts", "cloudformation", "cloudwatch", "sns", "ec2")
REST_SERVICES = ("lambda", "scheduler", "sagemaker-runtime")
ROLE_MEMBERS = ("RoleArn", "RoleARN", "ExecutionRoleArn", "Role")
PRINCIPALS = {
    name: f"{name}.amazonaws.com" for name in ("sagemaker", "lambda", "scheduler", "events", "cloudformation")
}
CANNOT_ASSUME = {
    "sagemaker": (
        "ValidationException",
        "Could not assume role {role}. Please ensure that the role exists and allows principal '{principal}' "
        "to assume the role.",
    ),
    "lambda": ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."),
    "scheduler": (
        "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    ),
}


class AccessDenied(AwsError):
    """A refusal: 403 and AccessDenied where AWS answers XML, AccessDeniedException elsewhere."""

    def __init__(self, service: str, message: str):
        code = "AccessDenied" if service in XML_SERVICES else "AccessDeniedException"
        super().__init__(code, message, 403 if service in (*XML_SERVICES, *REST_SERVICES) else 400)


def authorize(context: Context, service: str, calls: Iterable[Call]) -> None:
    """Raise AccessDenied at the first of `calls` that the context's caller may not make."""
    caller = context.caller
    role = roles.find(context, caller.role_arn) if caller else None
    if caller is None or role is None:
        return
    for call in calls:
        decision = _decide(context, caller, role, call)
        if not decision.allowed:
            raise AccessDenied(service, refusal(caller, call, decision, quoted=service == "s3"))


def may(context: Context, call: Call) -> bool:
    """Whether the context's caller may make a call. What it may not is noted, as `authorize` does."""
    try:
        authorize(context, "", [call])
    except AccessDenied:
        return False
    return True


def simulate(context: Context, role: Role, call: Call) -> Decision:
    """The decision, with nothing noted."""
    return evaluation.decide(
        roles.statements(context, role), call, common_keys(context, Caller(role["Arn"])), roles.boundary(context, role)
    )


def refusal(caller: Caller, call: Call, decision: Decision, quoted: bool = False) -> str:
    resource = f'"{call.resource}"' if quoted else call.resource
    return (
        f"User: {caller.arn} is not authorized to perform: {call.action} on resource: {resource} "
        f"{decision.why(call.action)}"
    )


def enforced(context: Context) -> bool:
    """Whether the context's caller is a role that was created here."""
    return context.caller is not None and roles.find(context, context.caller.role_arn) is not None


def check_trust(context: Context, service: str, role_arn: str, source_arn: str | None = None) -> None:
    """Raise the service's own error when a role that was created here does not let the service assume it."""
    role = roles.find(context, role_arn)
    principal = PRINCIPALS.get(service)
    if role is None or principal is None:
        return
    about = {"aws:SourceAccount": context.account, "aws:SourceArn": source_arn}
    if not trusts(context, role, "Service", principal, dict(policy.keys_of(about))):
        code, message = CANNOT_ASSUME.get(service, CANNOT_ASSUME["sagemaker"])
        text = message.format(role=role_arn, principal=principal)
        raise ValidationException(text) if code == "ValidationException" else AwsError(code, text, 400)


def trusts(context: Context, role: Role, kind: str, principal: str, keys: Keys) -> bool:
    """Whether a role's trust policy lets a principal assume it."""
    common = {**{name.lower(): values for name, values in keys.items()}, **_of_request(context)}
    statements = policy.parse(role["AssumeRolePolicyDocument"], trust=True)
    about = [s for s in statements if s.is_for(kind, principal)]
    return evaluation.decide(about, Call("sts:AssumeRole", role["Arn"]), common).allowed


def passed_roles(request: Any) -> Iterator[str]:
    """The ARNs of the roles that a request hands to a service, wherever in it they are."""
    if isinstance(request, list):
        for item in request:
            yield from passed_roles(item)
    elif isinstance(request, dict):
        for name, value in request.items():
            if name in ROLE_MEMBERS and isinstance(value, str):
                if value.startswith("arn:") and ":role/" in value:
                    yield value
            else:
                yield from passed_roles(value)


def common_keys(context: Context, caller: Caller) -> Keys:
    """The condition keys of every request of a caller, in lower case."""
    return {
        "aws:principalarn": (caller.role_arn,),
        "aws:principalaccount": (caller.account,),
        "aws:principaltype": ("AssumedRole",),
        "aws:userid": (f"{role_id(caller.role_arn)}:{caller.session}",),
        "aws:resourceaccount": (context.account,),
        "aws:viaawsservice": ("false",),
        **_of_request(context),
    }


def role_id(role_arn: str) -> str:
    """A role's unique id, made from its ARN."""
    return "AROA" + hashlib.sha256(role_arn.encode()).hexdigest()[:17].upper()


def _of_request(context: Context) -> Keys:
    now = time.time()
    return {
        "aws:requestedregion": (context.region,),
        "aws:securetransport": ("true",),  # this server listens on the loopback only: nothing leaves the machine
        "aws:sourceip": ("127.0.0.1",),
        "aws:epochtime": (str(int(now)),),
        "aws:currenttime": (datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),),
    }


def _decide(context: Context, caller: Caller, role: Role, call: Call) -> Decision:
    common = common_keys(context, caller)
    decision = evaluation.decide(roles.statements(context, role), call, common, roles.boundary(context, role))
    kept = record(context)
    if decision.allowed:
        kept.allow(caller, call, decision.statements)
    else:
        kept.refuse(caller, call, refusal(caller, call, decision))
    return decision
