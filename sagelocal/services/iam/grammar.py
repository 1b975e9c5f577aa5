"""What is refused when a policy is stored: what AWS refuses, and by its name what would not be evaluated here.

A document that is stored already is only parsed (policy.py): AWS's own policies have keys that mean nothing here.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

import re
from collections.abc import Iterator

from sagelocal.core.json import Json
from sagelocal.services.iam import keys, policy
from sagelocal.services.iam.conditions import NEGATED, READERS, Condition
from sagelocal.services.iam.policy import IDENTITY, RESOURCE, TRUST, MalformedPolicyDocument, Statement

TOP_ELEMENTS = {"Version", "Id", "Statement"}
ACTION = re.compile(r"\*|(?:\*|[a-zA-Z0-9.-]+):[a-zA-Z0-9*?_-]+")
SID = re.compile(r"[A-Za-z0-9]*")
PRINCIPALS = {
    "AWS": re.compile(
        r"\*|\d{12}|arn:aws[a-z-]*:iam::\d{12}:(?:root|(?:role|user)/[\w+=,.@/-]+)"
        r"|arn:aws[a-z-]*:sts::\d{12}:(?:assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+)"
    ),
    "Service": re.compile(r"[a-z0-9.-]+\.(?:amazonaws|amazon)\.com(?:\.cn)?"),
    "Federated": re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(?:saml|oidc)-provider/.+|[a-z0-9.-]+"),
}


def check(text: str, kind: str = IDENTITY) -> tuple[Statement, ...]:
    """The statements of a document that may be stored. Raises MalformedPolicyDocument."""
    problem = next(_problems(policy.read(text), kind), None)
    if problem:
        raise MalformedPolicyDocument(problem)
    statements = policy.parse(text, kind)
    problem = next((p for statement in statements for p in _statement_problems(statement, kind)), None)
    if problem:
        raise MalformedPolicyDocument(problem)
    return statements


def _problems(document: Json, kind: str) -> Iterator[str]:
    for unknown in sorted(set(document) - TOP_ELEMENTS):
        yield f"Syntax errors in policy: unknown element {unknown}."
    if not isinstance(document.get("Id", ""), str):
        yield "Syntax errors in policy: Id must be a string."
    written = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    if not written:
        yield "Syntax errors in policy: Statement must not be empty."
    for statement in written:
        sid = statement.get("Sid") if isinstance(statement, dict) else None
        if isinstance(sid, str) and kind != RESOURCE and not SID.fullmatch(sid):
            yield f"Statement IDs (SID) must be alpha-numeric ([0-9A-Za-z]*), not {sid!r}."


def _statement_problems(statement: Statement, kind: str) -> Iterator[str]:
    where = f"Statement {statement.name}"
    for action in statement.actions + statement.not_actions:
        if not ACTION.fullmatch(action):
            yield f"{where}: {action!r} is no action. Actions/Condition can contain only one colon."
        if kind == TRUST and not action.lower().startswith("sts:"):
            yield (
                f"{where}: Trust Policy statement actions can only be sts:AssumeRole, sts:AssumeRoleWithSAML, and "
                f"sts:AssumeRoleWithWebIdentity, not {action}."
            )
    for resource in statement.resources + statement.not_resources:
        if resource != "*" and re.search(r"[*?]|^$", resource.split(":")[2] if resource.count(":") > 1 else ""):
            yield f"{where}: {resource}: Resource vendor must be fully qualified and cannot contain regexes."
    if kind != IDENTITY and not statement.principals:
        yield f"{where}: Principal must name somebody."
    for kind_of_principal, name in statement.principals:
        known = PRINCIPALS.get(kind_of_principal)
        if kind_of_principal != "*" and known is None:
            yield f"{where}: {kind_of_principal} principals are not evaluated here."
        elif known and not known.fullmatch(name):
            yield f'{where}: Invalid principal in policy: "{kind_of_principal}":"{name}"'
    for condition in statement.conditions:
        problem = keys.refusal(condition, statement.allows) or _value_problem(condition)
        if problem:
            yield f"{where}: {problem}"


def _value_problem(condition: Condition) -> str:
    """A value that its operator cannot read would never match."""
    if not condition.values:
        return f"{condition.operator} of {condition.written_key} has no value."
    read = READERS.get(NEGATED.get(condition.operator, condition.operator))
    if condition.operator == "Null":
        read = READERS["Bool"]
    for value in condition.values:
        try:
            if read:
                read(value)
        except (ValueError, OverflowError) as problem:
            return f"{condition.operator} of {condition.written_key} cannot have the value {value!r}: {problem}."
    return ""
