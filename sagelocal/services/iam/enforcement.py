"""What the rest of the server calls: refuses what the caller of a context may not do, in AWS's own words.

A context without a caller is the account's root: only a resource's own policy refuses it anything. The same holds for a
role that was never created in this IAM. What was started without any role may do nothing, as on AWS, where it has no
credentials. What a service does by itself is not asked for here.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sagelocal.core.caller import ANONYMOUS, Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.iam import evaluation, policy, resource_tags, roles
from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.documents import Role
from sagelocal.services.iam.evaluation import Decision, Resource
from sagelocal.services.iam.policy import Call
from sagelocal.services.iam.sessions import NO_ROLE
from sagelocal.services.iam.used import record

PolicyOf = Callable[[Context, str], str]

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


# By the first part of an action: the policy of the resource that is asked for, "" where it has none.
RESOURCE_POLICIES: dict[str, Callable[[Context, str], str]] = {}
# What no bucket policy can take from the account's root. Source: PutBucketPolicy in the S3 API reference.
ALWAYS_ROOTS = ("s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy")


def policy_of(service: str) -> Callable[[PolicyOf], PolicyOf]:
    """Register a function that gives the text of a resource's policy, by the resource's ARN."""

    def register(function: PolicyOf) -> PolicyOf:
        RESOURCE_POLICIES[service] = function
        return function

    return register


def authorize(context: Context, service: str, calls: Iterable[Call]) -> None:
    """Raise AccessDenied at the first of `calls` that the context's caller may not make.

    The account's root, and a role that was never created here, may do everything that no resource's policy denies.
    """
    for call in calls:
        decision = _decide(context, call)
        if not decision.allowed:
            raise AccessDenied(service, refusal(context, call, decision, quoted=service == "s3"))


def may(context: Context, call: Call) -> bool:
    """Whether the context's caller may make a call. What it may not is noted, as `authorize` does."""
    try:
        authorize(context, "", [call])
    except AccessDenied:
        return False
    return True


def refusal(context: Context, call: Call, decision: Decision, quoted: bool = False) -> str:
    if context.caller == ANONYMOUS:
        return "Access Denied"
    resource = f'"{call.resource}"' if quoted else call.resource
    who = context.caller.arn if context.caller else root(context)
    return (
        f"User: {who} is not authorized to perform: {call.action} on resource: {resource} {decision.why(call.action)}"
    )


def root(context: Context) -> str:
    """The ARN of the account's root."""
    return f"arn:aws:iam::{context.account}:root"


def enforced(context: Context) -> bool:
    """Whether the context's caller is a role that was created here, or has none at all."""
    caller = context.caller
    return caller is not None and (caller.role == NO_ROLE or roles.find(context, caller.role_arn) is not None)


def check_trust(context: Context, service: str, role_arn: str, source_arn: str | None = None) -> None:
    """Raise the service's own error when a role that was created here does not let the service assume it, or when one
    was never created that would let the caller's code do more than the caller may."""
    role = roles.find(context, role_arn)
    principal = PRINCIPALS.get(service)
    if principal is None or (role is None and not enforced(context)):
        return
    if role is None:
        raise _cannot_assume(service, role_arn, principal)
    about = {"aws:SourceAccount": context.account, "aws:SourceArn": source_arn}
    common = {name.lower(): values for name, values in policy.keys_of(about)} | dict(_of_request(context))
    statements = policy.parse(role["AssumeRolePolicyDocument"], policy.TRUST)
    trusting = [statement for statement in statements if statement.is_for_service(principal)]
    if not evaluation.decide(trusting, Call("sts:AssumeRole", role["Arn"]), common).allowed:
        raise _cannot_assume(service, role_arn, principal)


def _cannot_assume(service: str, role_arn: str, principal: str) -> AwsError:
    code, message = CANNOT_ASSUME.get(service, CANNOT_ASSUME["sagemaker"])
    text = message.format(role=role_arn, principal=principal)
    return ValidationException(text) if code == "ValidationException" else AwsError(code, text, 400)


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


def common_keys(context: Context, caller: Caller | None, role: Role | None = None) -> Keys:
    """The condition keys of every request of a caller, in lower case. `role`: the caller's, if it was created here."""
    common = {"aws:resourceaccount": (context.account,), "aws:viaawsservice": ("false",), **_of_request(context)}
    common |= {"s3:resourceaccount": (context.account,), "aws:principalisawsservice": ("false",)}
    if caller is None:
        common |= {"aws:principalarn": (root(context),), "aws:principaltype": ("Account",)}
        return {**common, "aws:principalaccount": (context.account,), "aws:userid": (context.account,)}
    if caller == ANONYMOUS:
        return {**common, "aws:principaltype": ("Anonymous",)}
    tags = {tag["Key"]: tag["Value"] for tag in role["Tags"]} if role else {}
    if caller.source_identity:
        common["aws:sourceidentity"] = (caller.source_identity,)
    return {
        **common,
        "aws:principalarn": (caller.role_arn,),
        "aws:principalaccount": (caller.account,),
        "aws:principaltype": ("AssumedRole",),
        "aws:userid": (f"{role_id(caller.role_arn)}:{caller.session}",),
        **{f"aws:principaltag/{key.lower()}": (value,) for key, value in (tags | dict(caller.tags)).items()},
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


def _decide(context: Context, call: Call) -> Decision:
    caller = context.caller
    role = roles.find(context, caller.role_arn) if caller else None
    if caller is None and call.action in ALWAYS_ROOTS:
        return Decision(True)
    resource = _resource(context, call)
    if role is None or caller is None:
        common = common_keys(context, caller) if resource else {}
        nobody = caller is not None and (caller == ANONYMOUS or caller.role == NO_ROLE)
        everything = () if nobody else (policy.EVERYTHING,)
        return evaluation.decide(everything, call, common, resource=resource)
    own = roles.statements(context, role)
    tags = resource_tags.keys(context, call, (*own, *(resource.statements if resource else ())))
    decision = evaluation.decide(
        own,
        call,
        {**common_keys(context, caller, role), **tags},
        roles.boundary(context, role),
        roles.session(context, caller),
        resource,
    )
    kept = record(context)
    if decision.allowed:
        kept.allow(caller, call, decision.statements)
    else:
        kept.refuse(caller, call, refusal(context, call, decision))
    return decision


def _resource(context: Context, call: Call) -> Resource | None:
    """The policy of what a call is about, None where it has none."""
    service = call.action.partition(":")[0]
    trust = service == "sts"
    text = RESOURCE_POLICIES[service](context, call.resource) if service in RESOURCE_POLICIES else ""
    if not text:
        return None
    statements = policy.parse(text, policy.TRUST if trust else policy.RESOURCE, "the resource's policy")
    return Resource(statements, context.caller, context.account, required=trust)


@policy_of("sts")
def _trust(context: Context, role_arn: str) -> str:
    role = roles.find(context, role_arn)
    return role["AssumeRolePolicyDocument"] if role else ""
