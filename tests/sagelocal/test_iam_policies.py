"""Policies: which statement applies to which call, and what is no policy."""

import json

import pytest

from sagelocal.core.errors import AwsError
from sagelocal.services.iam import policy, roles
from sagelocal.services.iam.evaluation import DENIED, NOT_ALLOWED, OUTSIDE_BOUNDARY, decide
from sagelocal.services.iam.policy import Call, keys_of

BUCKET = "arn:aws:s3:::pawline"
OBJECT = f"{BUCKET}/pawline/raw/a.jpg"
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/pawline"
COMMON = {"aws:principalaccount": ("123456789012",), "aws:requestedregion": ("us-east-1",)}


def parsed(*statements: dict) -> tuple:
    full = [{"Effect": "Allow", "Action": "*", "Resource": "*"} | statement for statement in statements]
    for statement in full:
        for element in ("Action", "Resource"):
            if f"Not{element}" in statement:
                del statement[element]
    return policy.parse(json.dumps({"Version": "2012-10-17", "Statement": full}), name="p")


def allowed(statement: dict, action: str, resource: str = "*", **keys: object) -> bool:
    named = {name.replace("__", ":").replace("_", "-"): value for name, value in keys.items()}
    return decide(parsed(statement), Call(action, resource, keys_of(named)), COMMON).allowed


@pytest.mark.parametrize(
    ("statement", "action", "resource", "expected"),
    [
        ({"Action": "s3:GetObject"}, "s3:GetObject", OBJECT, True),
        ({"Action": "s3:getobject"}, "s3:GetObject", OBJECT, True),
        ({"Action": "s3:Get*"}, "s3:GetObject", OBJECT, True),
        ({"Action": "s3:Get?bject"}, "s3:GetObject", OBJECT, True),
        ({"Action": "s3:Get"}, "s3:GetObject", OBJECT, False),
        ({"Action": ["s3:PutObject", "s3:GetObject"]}, "s3:GetObject", OBJECT, True),
        ({"Action": "sagemaker:*"}, "s3:GetObject", OBJECT, False),
        ({"NotAction": "s3:PutObject"}, "s3:GetObject", OBJECT, True),
        ({"NotAction": "s3:*"}, "s3:GetObject", OBJECT, False),
        ({"Resource": OBJECT}, "s3:GetObject", OBJECT, True),
        ({"Resource": f"{BUCKET}/*"}, "s3:GetObject", OBJECT, True),
        ({"Resource": f"{BUCKET}/*"}, "s3:ListBucket", BUCKET, False),
        ({"Resource": f"{BUCKET}/*.png"}, "s3:GetObject", OBJECT, False),
        ({"Resource": f"{BUCKET}/PAWLINE/*"}, "s3:GetObject", OBJECT, False),
        ({"Resource": [BUCKET, f"{BUCKET}/*"]}, "s3:ListBucket", BUCKET, True),
        ({"NotResource": f"{BUCKET}/*"}, "s3:GetObject", OBJECT, False),
        ({"NotResource": f"{BUCKET}/other/*"}, "s3:GetObject", OBJECT, True),
        ({"Resource": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/paw*"}, "sagemaker:X", ENDPOINT, True),
        ({"Resource": "arn:aws:sagemaker:*:*:endpoint/pawline"}, "sagemaker:X", ENDPOINT, True),
        ({"Resource": "arn:aws:sagemaker:*:endpoint/pawline:x:y"}, "sagemaker:X", ENDPOINT, False),
        ({"Resource": "arn:aws:sagemaker:us-west-2:123456789012:endpoint/*"}, "sagemaker:X", ENDPOINT, False),
        ({"Resource": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/*"}, "sagemaker:X", ENDPOINT, False),
        ({"Resource": ENDPOINT}, "sagemaker:ListEndpoints", "*", False),
        (
            {"Resource": "arn:aws:sagemaker:${aws:RequestedRegion}:${aws:PrincipalAccount}:endpoint/*"},
            "sagemaker:X",
            ENDPOINT,
            True,
        ),
        ({"Resource": "arn:aws:sagemaker:us-east-1:${aws:username}:endpoint/*"}, "sagemaker:X", ENDPOINT, False),
        ({"Resource": f"{BUCKET}/${{*}}"}, "s3:GetObject", OBJECT, False),
        ({"Resource": f"{BUCKET}/${{*}}"}, "s3:GetObject", f"{BUCKET}/*", True),
    ],
)
def test_a_statement_applies_by_action_and_resource(statement, action, resource, expected):
    assert allowed(statement, action, resource) is expected


@pytest.mark.parametrize(
    ("condition", "keys", "expected"),
    [
        ({"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}, {"iam__PassedToService": "x"}, False),
        ({"StringEquals": {"iam:PassedToService": "x"}}, {"iam__PassedToService": "x"}, True),
        ({"StringEquals": {"IAM:passedtoservice": "x"}}, {"iam__PassedToService": "x"}, True),
        ({"StringEquals": {"iam:PassedToService": ["y", "x"]}}, {"iam__PassedToService": "x"}, True),
        ({"StringEquals": {"iam:PassedToService": "X"}}, {"iam__PassedToService": "x"}, False),
        ({"StringEqualsIgnoreCase": {"k": "X"}}, {"k": "x"}, True),
        ({"StringEquals": {"k": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"k": "x"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "x"}}, {"k": "y"}, False),
        ({"StringNotEquals": {"k": "x"}}, {"k": "y"}, True),
        ({"StringNotEquals": {"k": ["x", "y"]}}, {"k": "y"}, False),
        ({"StringNotEquals": {"k": "x"}}, {}, True),
        ({"StringLike": {"s3:prefix": "pawline/*"}}, {"s3__prefix": "pawline/raw/"}, True),
        ({"StringLike": {"s3:prefix": ["a/*", ""]}}, {"s3__prefix": "pawline/raw/"}, False),
        ({"StringLike": {"s3:prefix": "pawline/*"}}, {}, False),
        ({"StringNotLike": {"k": "a*"}}, {"k": "abc"}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:*:*:pipeline/*"}}, {"aws__SourceArn": ENDPOINT}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:*:*:endpoint/*"}}, {"aws__SourceArn": ENDPOINT}, True),
        ({"ArnEquals": {"aws:SourceArn": ENDPOINT}}, {"aws__SourceArn": ENDPOINT}, True),
        ({"ArnNotEquals": {"aws:SourceArn": ENDPOINT}}, {"aws__SourceArn": ENDPOINT}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws__SecureTransport": "true"}, False),
        ({"Bool": {"aws:SecureTransport": True}}, {"aws__SecureTransport": "true"}, True),
        ({"BoolIfExists": {"aws:SecureTransport": "true"}}, {}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3__max_keys": "9"}, True),
        ({"NumericLessThan": {"s3:max-keys": 10}}, {"s3__max_keys": "10"}, False),
        ({"NumericGreaterThanEquals": {"k": 10}}, {"k": "10"}, True),
        ({"NumericLessThan": {"k": 10}}, {"k": "many"}, False),
        ({"DateGreaterThan": {"k": "2026-01-01T00:00:00Z"}}, {"k": "2026-02-01T00:00:00Z"}, True),
        ({"IpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, True),
        ({"NotIpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, False),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "x"}, False),
        ({"Null": {"k": "false"}}, {"k": "x"}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a", "b"]}}, {"k": ["b", "c"]}, True),
        ({"ForAnyValue:StringEquals": {"k": "a"}}, {"k": ["b", "c"]}, False),
        ({"ForAnyValue:StringEquals": {"k": "a"}}, {}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["b", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["b", "a"]}, True),
        ({"ForAllValues:StringEquals": {"k": "a"}}, {}, True),
        ({"StringEquals": {"k": "${aws:PrincipalAccount}"}}, {"k": "123456789012"}, True),
        ({"StringEquals": {"k": "x", "l": "y"}}, {"k": "x"}, False),
        ({"StringEquals": {"k": "x"}, "Null": {"l": "true"}}, {"k": "x"}, True),
    ],
)
def test_a_condition_holds_or_not(condition, keys, expected):
    assert allowed({"Condition": condition}, "s3:ListBucket", BUCKET, **keys) is expected


def test_an_explicit_deny_wins_over_any_allow():
    statements = parsed({}, {"Effect": "Deny", "Action": "s3:Put*", "Sid": "NoWrites"})
    decision = decide(statements, Call("s3:PutObject", OBJECT), COMMON)
    assert (decision.allowed, decision.refusal, decision.statements[0].name) == (False, DENIED, "NoWrites")
    assert decision.why("s3:PutObject") == "with an explicit deny in an identity-based policy"
    assert decide(statements, Call("s3:GetObject", OBJECT), COMMON).allowed


def test_nothing_is_allowed_without_a_statement():
    decision = decide((), Call("s3:GetObject", OBJECT), COMMON)
    assert (decision.allowed, decision.refusal) == (False, NOT_ALLOWED)


def test_every_statement_that_allows_a_call_is_named():
    statements = parsed({"Sid": "All"}, {"Sid": "Reads", "Action": "s3:Get*"}, {"Sid": "Other", "Action": "sqs:*"})
    decision = decide(statements, Call("s3:GetObject", OBJECT), COMMON)
    assert [statement.name for statement in decision.statements] == ["All", "Reads"]


def test_a_permissions_boundary_limits_what_the_policies_allow():
    boundary = parsed({"Action": "s3:*"})
    assert decide(parsed({}), Call("s3:GetObject", OBJECT), COMMON, boundary).allowed
    assert decide(parsed({}), Call("sqs:SendMessage"), COMMON, boundary).refusal == OUTSIDE_BOUNDARY
    assert decide((), Call("s3:GetObject", OBJECT), COMMON, boundary).refusal == NOT_ALLOWED


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not in valid JSON"),
        ("[]", "an object with a Statement"),
        ('{"Version": "2020-01-01", "Statement": []}', "valid version string"),
        ('{"Statement": ["x"]}', "Statement 1 is no object"),
        ('{"Statement": {"Sid": "A", "Effect": "allow"}}', "Statement A: Effect must be Allow or Deny"),
        ('{"Statement": {"Effect": "Allow", "Resource": "*"}}', "must contain actions"),
        ('{"Statement": {"Effect": "Allow", "Action": "s3:*"}}', "must contain resources"),
        ('{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": []}}', "not empty"),
        ('{"Statement": {"Effect": "Allow", "Action": "GetObject", "Resource": "*"}}', "prefaced by a vendor"),
        ('{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "pawline/*"}}', "ARN format"),
        ('{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}}', "no Principal"),
        (
            '{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Resources": "*"}}',
            "element Resources",
        ),
        (
            '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringIs": {"k": "x"}}}}',
            "Unknown condition operator StringIs",
        ),
        (
            '{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"k": {}}}}}',
            "Condition value {}",
        ),
        (
            '{"Statement": [{"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},'
            ' {"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}',
            "must be unique: A",
        ),
    ],
)
def test_a_malformed_policy_is_refused_with_what_is_wrong(document, said):
    with pytest.raises(AwsError) as refused:
        policy.parse(document)
    assert refused.value.code == "MalformedPolicyDocument"
    assert said in refused.value.message


def test_every_policy_that_aws_publishes_is_understood():
    texts = roles.aws_managed()
    assert len(texts) > 1000
    for name, text in texts.items():
        assert policy.parse(text), name
