"""docs/aws.md: the permissions it gives people are enough for the calls that the commands make."""

import ast
import fnmatch
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "aws.md").read_text()
POLICIES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
MAX_MANAGED_POLICY = 6144  # characters, white space not counted

# IAM names some permissions otherwise than the operations they are for.
IAM_SERVICES = {"servicequotas": ["service-quotas"], "sagemaker": ["sagemaker", "sagemaker-runtime"]}
IAM_PREFIX = {service: prefix for prefix, services in IAM_SERVICES.items() for service in services}
IAM_NAME = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "lambda:Invoke": "lambda:InvokeFunction",
}
NO_OPERATION = {"iam:PassRole", "lambda:InvokeFunctionUrl", *IAM_NAME.values()}
FREE = {"sts:GetCallerIdentity"}
WITH_A_KEY = {"kms:ScheduleKeyDeletion"}  # in the text, for those who have a key

SET_UP = {"changeset.py", "destroy.py", "functions.py", "infra.py", "inventory.py"}
ON_THIS_MACHINE = {"local.py"}


@cache
def operations(service: str) -> dict[str, str]:
    """A service's operations by the names that their methods have in Python."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}


def actions(policy: dict) -> Iterator[str]:
    for statement in policy["Statement"]:
        given = statement["Action"]
        yield from [given] if isinstance(given, str) else given


@cache
def calls(path: Path) -> frozenset[str]:
    """IAM actions of the calls in a file: names of operations of the services whose clients it has."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    words = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    words |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    services = set(re.findall(r'client\("([a-z0-9-]+)"', path.read_text()))
    services |= {"s3"} & {node.arg for node in nodes if isinstance(node, ast.arg)}
    found = {
        f"{IAM_PREFIX.get(service, service)}:{operations(service)[word]}"
        for service in services
        for word in words & set(operations(service))
    }
    return frozenset(IAM_NAME.get(action, action) for action in found) - FREE - WITH_A_KEY


FILES = [path for path in sorted((ROOT / "pipeline").rglob("*.py")) if path.name not in ON_THIS_MACHINE]


@pytest.mark.parametrize("path", [path for path in FILES if calls(path)], ids=lambda path: path.name)
def test_the_calls_that_a_command_makes_are_allowed(path: Path):
    given = POLICIES if path.name in SET_UP else POLICIES[1:]
    allowed = [pattern for policy in given for pattern in actions(policy)]
    assert [a for a in sorted(calls(path)) if not any(fnmatch.fnmatch(a, pattern) for pattern in allowed)] == []


def test_the_comparison_sees_calls_that_are_known_to_be_made():
    assert {"ec2:RunInstances", "ssm:GetParameter"} <= calls(ROOT / "pipeline" / "ec2.py")
    assert "s3:PutObject" in calls(ROOT / "pipeline" / "upload.py")


@pytest.mark.parametrize("policy", POLICIES, ids=["set up", "work"])
def test_a_policy_fits_into_a_managed_policy(policy: dict):
    assert len(re.sub(r"\s", "", json.dumps(policy))) <= MAX_MANAGED_POLICY


def test_who_works_with_it_gets_no_wildcard_among_actions():
    assert not [action for action in actions(POLICIES[1]) if "*" in action]


def test_every_action_exists():
    unknown = []
    for action in {a for policy in POLICIES for a in actions(policy) if "*" not in a} - NO_OPERATION:
        prefix, name = action.split(":")
        services = IAM_SERVICES.get(prefix, [prefix])
        if not any(name in operations(service).values() for service in services):
            unknown.append(action)
    assert unknown == []
