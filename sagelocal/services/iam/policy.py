"""A policy document: statements that allow or deny actions on resources.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagelocal.core import json as core_json
from sagelocal.core.caller import Caller
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.iam import conditions
from sagelocal.services.iam.conditions import Condition, Keys
from sagelocal.services.iam.matching import action_matches, resource_matches

VERSIONS = ("2012-10-17", "2008-10-17")
IDENTITY, TRUST, RESOURCE = "identity", "trust", "resource"  # whose policy a document is
TO_SESSION, TO_ROLE, TO_ACCOUNT, TO_NOBODY = "session", "role", "account", ""  # whom a Principal means by a caller
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

    def is_about(self, action: str) -> bool:
        if self.not_actions:
            return not any(action_matches(pattern, action) for pattern in self.not_actions)
        return any(action_matches(pattern, action) for pattern in self.actions)

    def applies(self, action: str, resource: str, keys: Keys) -> bool:
        if not self.is_about(action):
            return False
        if self.resources and not _on_resource(self.resources, resource, keys):
            return False
        if self.not_resources and _on_resource(self.not_resources, resource, keys):
            return False
        return all(condition.holds(keys) for condition in self.conditions)

    def is_for_service(self, service: str) -> bool:
        """Whether it is about a service, such as lambda.amazonaws.com."""
        return any(name in (service, "*") and kind in ("Service", "*") for kind, name in self.principals)

    def reach(self, caller: Caller | None, account: str) -> str:
        """As what it is about a caller (None: the account's root): as that session or as anybody, as a session of a
        role, as somebody of an account, or not at all.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        """
        names = {name for kind, name in self.principals if kind in ("AWS", "*")}
        own = caller.account if caller else account
        of_account = names & {own, f"arn:aws:iam::{own}:root"}
        if "*" in names or (caller is None and of_account) or (caller and caller.arn in names):
            return TO_SESSION
        if caller and caller.role_arn in names:
            return TO_ROLE
        return TO_ACCOUNT if of_account else TO_NOBODY


def _on_resource(patterns: tuple[str, ...], resource: str, keys: Keys) -> bool:
    filled = (conditions.filled_in(pattern, keys) for pattern in patterns)
    return any(pattern is not None and resource_matches(pattern, resource) for pattern in filled)


EVERYTHING = Statement("everything", True, ("*",), (), ("*",), (), ())  # what the account's root may do


@lru_cache(1024)
def parse(text: str, kind: str = IDENTITY, name: str = "") -> tuple[Statement, ...]:
    """The statements of a document; `kind`: whose it is. `name`: what the policy is called.

    Raises MalformedPolicyDocument that says which statement breaks which rule.
    """
    document = read(text)
    version = document.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise MalformedPolicyDocument(f"The policy must contain a valid version string, not {version!r}.")
    written = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    variables = version == VERSIONS[0]
    statements = tuple(_statement(index, item, kind, name, variables) for index, item in enumerate(written, 1))
    names = [item["Sid"] for item in written if item.get("Sid")]
    double = sorted({item for item in names if names.count(item) > 1})
    if double:
        raise MalformedPolicyDocument(f"Statement IDs (SID) in a single policy must be unique: {', '.join(double)}.")
    return statements


def read(text: str) -> Json:
    """The object of a document. Raises MalformedPolicyDocument."""
    try:
        document = core_json.read(text, object_pairs_hook=_object)
    except ValueError as problem:
        raise MalformedPolicyDocument(f"The policy is not in valid JSON format: {problem}.") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise MalformedPolicyDocument("Syntax errors in policy: it must be an object with a Statement.")
    return document


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for name, value in pairs:
        if name in found:
            raise MalformedPolicyDocument(f"Syntax errors in policy: {name} is there twice in one object.")
        found[name] = value
    return found


def _statement(index: int, written: Any, kind: str, policy: str, variables: bool) -> Statement:
    if not isinstance(written, dict):
        raise MalformedPolicyDocument(f"Statement {index} is no object.")
    if not isinstance(written.get("Sid", ""), str):
        raise MalformedPolicyDocument(f"Statement {index}: Sid must be a string.")
    name = written.get("Sid") or str(index)
    where = f"Statement {name}"
    unknown = sorted(set(written) - ELEMENTS)
    if unknown:
        raise MalformedPolicyDocument(f"{where} has the unknown element {unknown[0]}.")
    if written.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyDocument(f"{where}: Effect must be Allow or Deny, not {written.get('Effect')!r}.")
    if ("Action" in written) == ("NotAction" in written):
        raise MalformedPolicyDocument(f"{where} must contain actions: one of Action and NotAction.")
    _check_elements(written, kind, where)
    try:
        parsed = conditions.parse(written.get("Condition", {}), variables)
    except ValueError as problem:
        raise MalformedPolicyDocument(f"{where}: {problem}") from None
    actions, not_actions = _texts(written, "Action", where), _texts(written, "NotAction", where)
    for action in actions + not_actions:
        if action != "*" and ":" not in action:
            raise MalformedPolicyDocument(f"{where}: Actions/Conditions must be prefaced by a vendor, not {action!r}.")
    resources, not_resources = _texts(written, "Resource", where), _texts(written, "NotResource", where)
    for resource in resources + not_resources:
        if resource != "*" and not (resource.startswith("arn:") and (resource.count(":") >= 5 or "::" not in resource)):
            raise MalformedPolicyDocument(f'{where}: Resource {resource} must be in ARN format or "*".')
    if not variables:
        resources = tuple(map(conditions.without_variables, resources))
        not_resources = tuple(map(conditions.without_variables, not_resources))
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


def _check_elements(written: Json, kind: str, where: str) -> None:
    """Which elements a statement must have, may have and must not have."""
    if "NotPrincipal" in written and kind != IDENTITY:
        raise MalformedPolicyDocument(
            f"{where}: NotPrincipal is not evaluated here; name those in Principal who are meant."
        )
    if kind == IDENTITY and ("Principal" in written or "NotPrincipal" in written):
        raise MalformedPolicyDocument(f"{where}: a role's policy has no Principal.")
    if kind != IDENTITY and "Principal" not in written:
        raise MalformedPolicyDocument(f"{where}: a {kind} policy needs a Principal.")
    if kind == TRUST and ("Resource" in written or "NotResource" in written):
        raise MalformedPolicyDocument(f"{where}: a trust policy has no Resource.")
    if kind != TRUST and ("Resource" in written) == ("NotResource" in written):
        raise MalformedPolicyDocument(f"{where} must contain resources: one of Resource and NotResource.")


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
