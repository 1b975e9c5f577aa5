"""aws:ResourceTag and the services' own ResourceTag keys: the tags of what a call is about."""

from collections.abc import Sequence

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.iam import roles
from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.policy import Call, Statement

MARK = ":resourcetag/"


def keys(context: Context, call: Call, statements: Sequence[Statement]) -> Keys:
    """The keys in lower case; nothing is looked up where no statement asks for a tag."""
    if not any(MARK in condition.key for statement in statements for condition in statement.conditions):
        return {}
    service = call.resource.split(":")[2] if call.resource.startswith("arn:") else ""
    return {
        f"{prefix}{MARK}{key.lower()}": (value,)
        for key, value in _tags(context, service, call.resource).items()
        for prefix in ("aws", service)
    }


def _tags(context: Context, service: str, arn: str) -> dict[str, str]:
    if service == "iam":
        role = roles.find(context, arn)
        return {tag["Key"]: tag["Value"] for tag in role["Tags"]} if role else {}
    try:
        if service == "sagemaker":
            found = context.as_service().call("sagemaker", "ListTags", ResourceArn=arn)["Tags"]
            return {tag["Key"]: tag["Value"] for tag in found}
        if service == "lambda":
            return dict(context.as_service().call("lambda", "ListTags", Resource=arn).get("Tags", {}))
    except AwsError:  # there is nothing of that ARN
        pass
    return {}
