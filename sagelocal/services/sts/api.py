"""STS: who am I, and credentials of a role."""

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.iam import enforcement, grammar, roles, sessions
from sagelocal.services.iam.policy import MalformedPolicyDocument

DEFAULT_SECONDS = CHAINED_SECONDS = 3600
MAX_POLICY_ARNS, MAX_POLICIES = 10, 2048  # characters of a session's policies; source: AssumeRole in the API reference
NOT_EVALUATED = ("TransitiveTagKeys", "SerialNumber", "TokenCode", "ProvidedContexts")


@operation("sts", "GetCallerIdentity")
def get_caller_identity(context: Context, request: Json) -> Json:
    caller = context.caller
    if caller is None:
        return {"UserId": context.account, "Account": context.account, "Arn": enforcement.root(context)}
    user_id = f"{enforcement.role_id(caller.role_arn)}:{caller.session}"
    return {"UserId": user_id, "Account": caller.account, "Arn": caller.arn}


@operation("sts", "AssumeRole")
def assume_role(context: Context, request: Json) -> Json:
    """Whether the role's trust policy and the caller's own allow it was decided before (iam/permissions.py)."""
    arn = request["RoleArn"]
    role = roles.find(context, arn)
    if role is None:
        who = context.caller.arn if context.caller else enforcement.root(context)
        message = f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise AwsError("AccessDenied", message, 403)
    for member in NOT_EVALUATED:
        if request.get(member):
            raise _invalid(f"{member} is not evaluated here: leave it out.")
    seconds = request.get("DurationSeconds", DEFAULT_SECONDS)
    if seconds > role["MaxSessionDuration"]:
        raise _invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if context.caller and seconds > CHAINED_SECONDS:
        raise _invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    source_identity = _source_identity(context, request)
    tags = tuple((tag["Key"], tag["Value"]) for tag in request.get("Tags", []))
    caller = Caller(arn, request["RoleSessionName"], _policies(context, request), tags, source_identity)
    assumed = {"AssumedRoleId": f"{role['RoleId']}:{caller.session}", "Arn": caller.arn}
    return {"Credentials": sessions.assume(context, caller, seconds), "AssumedRoleUser": assumed}


def _source_identity(context: Context, request: Json) -> str:
    """Once it is set it stays, whatever roles a session goes on to.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
    """
    own = context.caller.source_identity if context.caller else ""
    asked = str(request.get("SourceIdentity") or own)
    if own and asked != own:
        raise AwsError("AccessDenied", f"The source identity of this session is {own} and cannot be changed.", 403)
    return asked


def _policies(context: Context, request: Json) -> tuple[str, ...]:
    """The session's policies: a document, and ARNs of managed policies."""
    arns = [item["arn"] for item in request.get("PolicyArns", []) if "arn" in item]
    inline = [request["Policy"]] if "Policy" in request else []
    if len(arns) > MAX_POLICY_ARNS:
        raise _invalid(f"A session can have up to {MAX_POLICY_ARNS} managed policies, not {len(arns)}.")
    if any(len(text) > MAX_POLICIES for text in inline):
        rule = f"Member must have length less than or equal to {MAX_POLICIES}"
        raise _invalid(f"Value at 'policy' failed to satisfy constraint: {rule}")
    size = sum(map(len, inline + arns))
    if size > MAX_POLICIES:
        share = round(100 * size / MAX_POLICIES)
        raise AwsError(
            "PackedPolicyTooLarge",
            f"Packed policy consumes {share}% of allotted space, please use smaller policy.",
            400,
        )
    for text in inline:
        grammar.check(text)
    for arn in arns:
        if roles.managed_text(context, arn) is None:
            raise MalformedPolicyDocument(f"Policy {arn} does not exist or is not attachable.")
    return tuple(inline + arns)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)
