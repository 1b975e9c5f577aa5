"""IAM: what a role, or a policy, would allow (SimulatePrincipalPolicy, SimulateCustomPolicy)."""

from collections.abc import Sequence

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.iam import enforcement, evaluation, policy, roles
from sagelocal.services.iam.api import missing, page
from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.documents import Role
from sagelocal.services.iam.evaluation import Decision, Resource
from sagelocal.services.iam.policy import Call, Statement


@operation("iam", "SimulatePrincipalPolicy")
def simulate_principal_policy(context: Context, request: Json) -> Json:
    """What the enforcement here would decide. The account's root may do everything."""
    source = request["PolicySourceArn"]
    role = roles.find(context, source)
    if role is None and ":role/" in source:
        raise missing(f"The role with name {source.rpartition('/')[2]} cannot be found.")
    if role is None:
        return _simulated(context, request, None, (policy.EVERYTHING,), None)
    own = roles.boundary(context, role)
    return _simulated(context, request, role, roles.statements(context, role), own)


@operation("iam", "SimulateCustomPolicy")
def simulate_custom_policy(context: Context, request: Json) -> Json:
    return _simulated(context, request, None, (), None)


def _simulated(
    context: Context,
    request: Json,
    role: Role | None,
    statements: tuple[Statement, ...],
    boundary: tuple[Statement, ...] | None,
) -> Json:
    statements += _parsed(request.get("PolicyInputList", []), "PolicyInputList")
    if "PermissionsBoundaryPolicyInputList" in request:
        boundary = _parsed(request["PermissionsBoundaryPolicyInputList"], "PermissionsBoundaryPolicyInputList")
    caller = Caller(role["Arn"]) if role else _caller(request.get("CallerArn", ""))
    resource = None
    if "ResourcePolicy" in request:
        given = policy.parse(request["ResourcePolicy"], policy.RESOURCE, "ResourcePolicy")
        resource = Resource(given, caller, context.account)
    keys = {e["ContextKeyName"]: e.get("ContextKeyValues", []) for e in request.get("ContextEntries", [])}
    common = enforcement.common_keys(context, caller, role)
    results = []
    for action in request["ActionNames"]:
        for arn in request.get("ResourceArns", ["*"]):
            call = Call(action, arn, policy.keys_of(keys))
            decision = evaluation.decide(statements, call, common, boundary, resource=resource)
            results.append(_result(call, decision, _missing_keys(statements, call, common)))
    return page(results, request, "EvaluationResults")


def _caller(arn: str) -> Caller | None:
    return Caller(arn) if ":role/" in arn else None


def _parsed(documents: Sequence[str], what: str) -> tuple[Statement, ...]:
    try:
        return tuple(s for n, text in enumerate(documents, 1) for s in policy.parse(text, name=f"{what}.{n}"))
    except policy.MalformedPolicyDocument as problem:
        raise AwsError("InvalidInput", problem.message, 400) from None


def _missing_keys(statements: Sequence[Statement], call: Call, common: Keys) -> list[str]:
    """The condition keys that the statements ask for and the simulated request does not have."""
    keys = call.all_keys(common)
    about = (s for s in statements if s.is_about(call.action))
    return sorted({condition.key for statement in about for condition in statement.conditions} - set(keys))


def _result(call: Call, decision: Decision, missing_keys: list[str]) -> Json:
    refused = evaluation.DENIED if decision.refusal == evaluation.DENIED else evaluation.NOT_ALLOWED
    matched = [
        {"SourcePolicyId": statement.policy, "SourcePolicyType": "IAM Policy"} for statement in decision.statements
    ]
    return {
        "EvalActionName": call.action,
        "EvalResourceName": call.resource,
        "EvalDecision": "allowed" if decision.allowed else refused,
        "MatchedStatements": matched,
        "MissingContextValues": missing_keys,
    }
