"""Who may call a function URL: anybody whom the function's own policy names, or a role whose policies allow it.

Both lambda:InvokeFunctionUrl and lambda:InvokeFunction are needed.
Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from collections.abc import Callable
from dataclasses import replace

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.awslambda.documents import FunctionDocument, UrlConfig
from sagelocal.services.iam import conditions, enforcement
from sagelocal.services.iam.matching import action_matches
from sagelocal.services.iam.policy import Call, keys_of
from sagelocal.services.iam.sessions import Identity

HELP = "For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"


class Forbidden(AwsError):
    def __init__(self) -> None:
        super().__init__("AccessDeniedException", f"Forbidden. {HELP}", 403)


def check(
    context: Context, config: UrlConfig, function: FunctionDocument, signer: Callable[[], Identity | None]
) -> Json | None:
    """The caller as the event shows it, None where nobody need sign. Raises Forbidden, and what `signer` raises.

    `config`, `function`: the documents of the URL and of its function.
    """
    calls = [
        Call("lambda:InvokeFunctionUrl", config["FunctionArn"], _keys({"FunctionUrlAuthType": config["AuthType"]})),
        Call("lambda:InvokeFunction", config["FunctionArn"], _keys({"InvokedViaFunctionUrl": "true"})),
    ]
    if config["AuthType"] == "NONE":
        if not all(_open(function, call) for call in calls):
            raise Forbidden
        return None
    identity = signer()
    if identity is None:
        raise Forbidden
    caller = identity.caller
    acting = context if caller is None else replace(context, caller=caller)
    if not all(enforcement.may(acting, call) for call in calls):
        raise Forbidden
    return _described(context, caller, identity.access_key)


def _keys(values: dict[str, str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return keys_of({f"lambda:{name}": value for name, value in values.items()})


def _open(function: FunctionDocument, call: Call) -> bool:
    """Whether the function's own policy lets everybody make the call."""
    keys = call.all_keys({})
    for statement in function["Policy"].values():
        principal = statement["Principal"]
        if (
            (principal if isinstance(principal, str) else principal.get("AWS")) == "*"
            and action_matches(statement["Action"], call.action)
            and statement["Resource"] == call.resource
            and all(condition.holds(keys) for condition in conditions.parse(statement.get("Condition", {})))
        ):
            return True
    return False


def _described(context: Context, caller: Caller | None, access_key: str) -> Json:
    """requestContext.authorizer.iam of the event."""
    user_id = f"{enforcement.role_id(caller.role_arn)}:{caller.session}" if caller else context.account
    return {
        "accessKey": access_key,
        "accountId": context.account,
        "callerId": user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": caller.arn if caller else f"arn:aws:iam::{context.account}:root",
        "userId": user_id,
    }
