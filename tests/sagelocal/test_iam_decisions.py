"""Decisions that AWS's documentation gives or follows from, as data: iam_decisions.json.

Each entry has a page of AWS's documentation, the policies of a role (`identity`, `boundary`, `session`), the policy of
the resource (`resource`, or `trust` of a role), and calls with their decision. The caller is a session of one role.
"""

import json
from pathlib import Path

import pytest

from sagelocal.core.caller import Caller
from sagelocal.services.iam import grammar, policy
from sagelocal.services.iam.evaluation import Resource, decide
from sagelocal.services.iam.policy import Call, keys_of

ACCOUNT = "123456789012"
CALLER = Caller(f"arn:aws:iam::{ACCOUNT}:role/tester", "s")
COMMON = {"aws:viaawsservice": ("false",)}
ENTRIES = json.loads((Path(__file__).parent / "iam_decisions.json").read_text())
ROWS = [(entry, case) for entry in ENTRIES for case in entry["cases"]]


def statements(entry: dict, name: str, kind: str = policy.IDENTITY) -> tuple:
    if not entry.get(name):
        return ()
    version = entry.get("version", "2012-10-17")
    document = {"Statement": entry[name]} | ({"Version": version} if version else {})
    return grammar.check(json.dumps(document), kind)


def decision(entry: dict, case: dict) -> str:
    trust = "trust" in entry
    theirs = statements(entry, "trust", policy.TRUST) or statements(entry, "resource", policy.RESOURCE)
    decided = decide(
        statements(entry, "identity"),
        Call(case["action"], case["resource"], keys_of(case["keys"])),
        COMMON,
        statements(entry, "boundary") if "boundary" in entry else None,
        statements(entry, "session") if "session" in entry else None,
        Resource(theirs, CALLER, ACCOUNT, required=trust) if theirs else None,
    )
    return "allowed" if decided.allowed else decided.refusal


@pytest.mark.parametrize(("entry", "case"), ROWS)
def test_the_decision_is_the_one_that_aws_documents(entry, case):
    assert decision(entry, case) == case["decision"], entry["page"]


def test_there_are_at_least_150_of_them():
    assert len(ROWS) >= 150
