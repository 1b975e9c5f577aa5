"""A policy document: statements that allow or deny actions on resources.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.services.iam import conditions
from sagelocal.services.iam.conditions import Condition, Keys
from sagelocal.services.iam.matching import action_matches, arn_matches

VERSIONS = ("2012-10-17", "2008-10-17")
ELEMENTS = {
    *("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal", "NotPrincipal")
}


class MalformedPolicyDocument(AwsError):
    def __init__(self, message: str):
        super().__init__("MalformedPolicyDocument", message, 400)


@dataclass(frozen=True)
class Call:
    """One permission that a request needs: an action on a resource, with the request's condition keys."""

    action: str
    resource: str = "*"
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def all_keys(self, common: Keys) -> Keys:
        return {**common, **{name.lower(): values for name, values in self.keys}}


def keys_of(values: Json) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Condition keys as a Call has them; one value or several each, None for a key the request does not have."""
    return tuple(
        (name, (value,) if isinstance(value, str) else tuple(value))
        for name, value in values.items()
        if value is not None
    )


@dataclass(frozen=True)
class Statement:
    """One statement. `name` is its Sid, or its number in the document, from 1."""

    name: str
    allows: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    principals: tuple[tuple[str, str], ...] = ()  # ("Service", "sagemaker.amazonaws.com") …
    policy: str = ""  # the name of its policy, where it has one

    def applies(self, action: str, resource: str, keys: Keys) -> bool:
        if self.actions and not any(action_matches(pattern, action) for pattern in self.actions):
            return False
        if self.not_actions and any(action_matches(pattern, action) for pattern in self.not_actions):
            return False
        if self.resources and not _on_resource(self.resources, resource, keys):
            return False
        if self.not_resources and _on_resource(self.not_resources, resource, keys):
            return False
        return all(condition.holds(keys) for condition in self.conditions)

    def is_for(self, kind: str, principal: str) -> bool:
        """Whether it is about that principal: ("Service", "lambda.amazonaws.com"), ("AWS", a role's ARN)."""
        account = principal.split(":")[4] if principal.startswith("arn:") else principal
        names = {principal, "*", *((account, f"arn:aws:iam::{account}:root") if kind == "AWS" else ())}
        return any(name in names and wanted in (kind, "*") for wanted, name in self.principals)


def _on_resource(patterns: tuple[str, ...], resource: str, keys: Keys) -> bool:
    filled = (conditions.filled_in(pattern, keys) for pattern in patterns)
    return any(pattern is not None and arn_matches(pattern, resource) for pattern in filled)


@lru_cache(1024)
def parse(text: str, trust: bool = False, name: str = "") -> tuple[Statement, ...]:
    """The statements of a document: of a role's trust policy (`trust`), or of a policy called `name`.

    Raises MalformedPolicyDocument that says which statement breaks which rule.
    """
    try:
        document = read(text)
    except ValueError as problem:
        raise MalformedPolicyDocument(f"The policy is not in valid JSON format: {problem}.") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise MalformedPolicyDocument("Syntax errors in policy: it must be an object with a Statement.")
    if document.get("Version", VERSIONS[1]) not in VERSIONS:
        raise MalformedPolicyDocument(f"The policy must contain a valid version string, not {document['Version']!r}.")
    written = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    statements = tuple(_statement(index, item, trust, name) for index, item in enumerate(written, 1))
    names = [statement.name for statement in statements]
    double = sorted({item for item in names if names.count(item) > 1})
    if double:
        raise MalformedPolicyDocument(f"Statement IDs (SID) in a single policy must be unique: {', '.join(double)}.")
    return statements


def _statement(index: int, written: Any, trust: bool, policy: str) -> Statement:
    if not isinstance(written, dict):
        raise MalformedPolicyDocument(f"Statement {index} is no object.")
    name = str(written.get("Sid") or index)
    where = f"Statement {name}"
    unknown = sorted(set(written) - ELEMENTS)
    if unknown:
        raise MalformedPolicyDocument(f"{where} has the unknown element {unknown[0]}.")
    if written.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyDocument(f"{where}: Effect must be Allow or Deny, not {written.get('Effect')!r}.")
    if ("Action" in written) == ("NotAction" in written):
        raise MalformedPolicyDocument(f"{where} must contain actions: one of Action and NotAction.")
    if trust:
        if "Resource" in written or "NotResource" in written:
            raise MalformedPolicyDocument(f"{where}: a trust policy has no Resource.")
        if "Principal" not in written:
            raise MalformedPolicyDocument(f"{where}: a trust policy needs a Principal.")
    elif ("Resource" in written) == ("NotResource" in written):
        raise MalformedPolicyDocument(f"{where} must contain resources: one of Resource and NotResource.")
    elif "Principal" in written or "NotPrincipal" in written:
        raise MalformedPolicyDocument(f"{where}: a role's policy has no Principal.")
    try:
        parsed = conditions.parse(written.get("Condition", {}))
    except ValueError as problem:
        raise MalformedPolicyDocument(f"{where}: {problem}") from None
    actions, not_actions = _texts(written, "Action", where), _texts(written, "NotAction", where)
    for action in actions + not_actions:
        if action != "*" and ":" not in action:
            raise MalformedPolicyDocument(f"{where}: Actions/Conditions must be prefaced by a vendor, not {action!r}.")
    resources, not_resources = _texts(written, "Resource", where), _texts(written, "NotResource", where)
    for resource in resources + not_resources:
        if resource != "*" and resource.count(":") < 5:
            raise MalformedPolicyDocument(f'{where}: Resource {resource} must be in ARN format or "*".')
    return Statement(
        name=name,
        allows=written["Effect"] == "Allow",
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        conditions=parsed,
        principals=_principals(written.get("Principal"), where),
        policy=policy,
    )


def _texts(written: Json, element: str, where: str) -> tuple[str, ...]:
    if element not in written:
        return ()
    values = written[element] if isinstance(written[element], list) else [written[element]]
    if not values or not all(isinstance(value, str) for value in values):
        raise MalformedPolicyDocument(f"{where}: {element} must be a string or a list of strings, and not empty.")
    return tuple(values)


def _principals(written: Any, where: str) -> tuple[tuple[str, str], ...]:
    if written is None:
        return ()
    if written == "*":
        return (("*", "*"),)
    if not isinstance(written, dict):
        raise MalformedPolicyDocument(f"{where}: Principal must be * or an object.")
    return tuple((kind, name) for kind in written for name in _texts(written, kind, where))
