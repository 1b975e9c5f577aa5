"""Bucket policies: what is kept is evaluated (permissions.py gives it to IAM), and nothing else is kept.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

from sagelocal.core.errors import AwsError
from sagelocal.services.iam import grammar
from sagelocal.services.iam.policy import RESOURCE, MalformedPolicyDocument

MAX_BYTES = 20 * 1024


class MalformedPolicy(AwsError):
    def __init__(self, message: str):
        super().__init__("MalformedPolicy", message, 400)


def check(bucket: str, text: str) -> None:
    """Raise MalformedPolicy for a document that cannot be this bucket's policy."""
    if len(text.encode()) > MAX_BYTES:
        raise MalformedPolicy("Policy exceeds the maximum allowed document size.")
    if not text.startswith("{"):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    try:
        statements = grammar.check(text, RESOURCE)
    except MalformedPolicyDocument as problem:
        raise MalformedPolicy(problem.message) from None
    for statement in statements:
        for action in statement.actions + statement.not_actions:
            if action != "*" and not action.lower().startswith("s3:"):
                raise MalformedPolicy(f"Policy has invalid action: {action}")
        for resource in statement.resources + statement.not_resources:
            if resource.removeprefix("arn:aws:s3:::").partition("/")[0] != bucket:
                raise MalformedPolicy(f"Policy has invalid resource: {resource}")
