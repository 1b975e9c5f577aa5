"""Session policies, trust, resources' policies and tags on the real server, and what is refused when it is stored."""

import json
import time
import uuid

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.signing import signed
from tests.waiting import HANG

ACCOUNT = "123456789012"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def allow(action: object, resource: object = "*", **more: object) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trusting(principal: object, action: object = "sts:AssumeRole") -> dict:
    return {"Effect": "Allow", "Principal": principal, "Action": action}


@pytest.fixture
def role(client):
    """role(statement, …, trust=[statement, …], **CreateRole) -> the ARN of a new role that the account may assume."""

    def make(*statements: dict, trust: list[dict] | None = None, **more: object) -> str:
        name = f"role-{uuid.uuid4().hex[:12]}"
        trusted = document(*(trust or [trusting({"AWS": ROOT}, ["sts:AssumeRole", "sts:TagSession"])]))
        arn = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusted, **more)["Role"]["Arn"]
        if statements:
            client("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return arn

    return make


@pytest.fixture
def become(server, client):
    """become(role ARN, by=STS client, **AssumeRole) -> a function from a service to a client of the role's session."""

    def make(arn: str, by: object = None, **more: object):
        assumed = (by or client("sts")).assume_role(RoleArn=arn, RoleSessionName="sess", **more)["Credentials"]
        given = {
            "aws_access_key_id": assumed["AccessKeyId"],
            "aws_secret_access_key": assumed["SecretAccessKey"],
            "aws_session_token": assumed["SessionToken"],
        }
        return lambda service: boto3.client(service, endpoint_url=server.url, region_name="us-east-1", **given)

    return make


@pytest.fixture
def bucket(client):
    name = f"iam-{uuid.uuid4().hex[:12]}"
    client("s3").create_bucket(Bucket=name)
    client("s3").put_object(Bucket=name, Key="k", Body=b"x")
    yield name
    client("s3").delete_bucket_policy(Bucket=name)


def refused(call, code: str = "AccessDenied", said: str = "") -> None:
    with pytest.raises(ClientError) as problem:
        call()
    error = problem.value.response["Error"]
    assert error["Code"] == code, error
    assert said in error["Message"], error


def test_a_session_may_do_what_its_policies_and_its_role_allow_together(role, become, bucket):
    arn = role(allow("s3:*"))
    listing = become(arn, Policy=document(allow(["s3:ListAllMyBuckets", "sqs:*"])))
    assert listing("s3").list_buckets()["Buckets"]
    why = "because no session policy allows the s3:GetObject action"
    refused(lambda: listing("s3").get_object(Bucket=bucket, Key="k"), said=why)
    why = "because no identity-based policy allows"
    refused(lambda: listing("sqs").list_queues(), "AccessDeniedException", why)
    without_delete = become(arn, Policy=document(allow("s3:*"), allow("s3:DeleteObject") | {"Effect": "Deny"}))
    assert without_delete("s3").get_object(Bucket=bucket, Key="k")
    why = "with an explicit deny in a session policy"
    refused(lambda: without_delete("s3").delete_object(Bucket=bucket, Key="k"), said=why)
    reading = become(arn, PolicyArns=[{"arn": READ_ONLY}])
    assert reading("s3").get_object(Bucket=bucket, Key="k")
    refused(lambda: reading("s3").put_object(Bucket=bucket, Key="z", Body=b""))


def test_a_sessions_policies_are_checked_and_not_too_long(client, role):
    arn, sts = role(allow("s3:*")), client("sts")

    def assume(**more: object):
        return lambda: sts.assume_role(RoleArn=arn, RoleSessionName="sess", **more)

    refused(assume(Policy="{not json"), "MalformedPolicyDocument")
    refused(assume(Policy=document(allow("s3:*") | {"Principal": "*"})), "MalformedPolicyDocument")
    refused(assume(Policy=document(allow("s3:*", f"arn:aws:s3:::{'a' * 2048}"))), "ValidationError")
    long = {"Policy": document(allow("s3:*", f"arn:aws:s3:::{'a' * 1800}")), "PolicyArns": [{"arn": READ_ONLY}] * 4}
    refused(assume(**long), "PackedPolicyTooLarge")
    refused(assume(PolicyArns=[{"arn": "arn:aws:iam::aws:policy/None"}]), "MalformedPolicyDocument")
    refused(assume(TransitiveTagKeys=["a"], Tags=[{"Key": "a", "Value": "b"}]), "ValidationError", "TransitiveTagKeys")


def test_a_bucket_policy_allows_and_denies(client, role, become, bucket):
    s3, everything = client("s3"), become(role(allow("s3:*")))("s3")
    nothing_arn = role()
    nothing = become(nothing_arn)("s3")

    def put(**statement: object) -> None:
        rest = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        s3.put_bucket_policy(Bucket=bucket, Policy=document(rest | statement))

    put(Effect="Deny", Principal="*")
    why = "with an explicit deny in a resource-based policy"
    refused(lambda: everything.get_object(Bucket=bucket, Key="k"), said=why)
    refused(lambda: s3.get_object(Bucket=bucket, Key="k"), said=why)
    everything.put_object(Bucket=bucket, Key="other", Body=b"")
    put(Effect="Deny", Principal="*", Action="s3:*", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    refused(lambda: s3.list_objects_v2(Bucket=bucket), said=why)
    refused(lambda: everything.delete_bucket_policy(Bucket=bucket), said=why)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"]
    put(Effect="Allow", Principal={"AWS": nothing_arn})
    assert nothing.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    refused(lambda: nothing.put_object(Bucket=bucket, Key="k", Body=b""))
    put(Effect="Allow", Principal={"AWS": ACCOUNT})
    refused(lambda: nothing.get_object(Bucket=bucket, Key="k"))
    put(Effect="Deny", Principal="*", Action="s3:DeleteObject")
    failed = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert [(error["Key"], error["Code"]) for error in failed] == [("k", "AccessDenied")]


def test_a_request_without_a_signature_may_read_what_a_bucket_lets_everybody_read(server, client, bucket):
    config = Config(signature_version=UNSIGNED)
    anybody = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=config)
    for call in (
        lambda: anybody.get_object(Bucket=bucket, Key="k"),
        lambda: anybody.put_object(Bucket=bucket, Key="k", Body=b"y"),
        lambda: anybody.list_objects_v2(Bucket=bucket),
        lambda: anybody.list_buckets(),
        lambda: anybody.create_bucket(Bucket="iam-by-nobody"),
        lambda: anybody.get_bucket_policy(Bucket=bucket),
        lambda: anybody.delete_bucket(Bucket=bucket),
        lambda: anybody.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}),
    ):
        refused(call)
    reading = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    client("s3").put_bucket_policy(Bucket=bucket, Policy=document(reading))
    assert anybody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    refused(lambda: anybody.get_object(Bucket=bucket, Key="none"))
    refused(lambda: anybody.put_object(Bucket=bucket, Key="k", Body=b"y"))
    client("s3").put_bucket_policy(Bucket=bucket, Policy=document(reading | {"Principal": {"AWS": ACCOUNT}}))
    refused(lambda: anybody.get_object(Bucket=bucket, Key="k"))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:role/*"}}, "Invalid principal"),
        ({"Principal": {"CanonicalUser": "79a59d"}}, "CanonicalUser principals are not evaluated"),
        ({"Principal": {}}, "Principal must name somebody"),
        ({}, "needs a Principal"),
        ({"NotPrincipal": {"AWS": ROOT}}, "NotPrincipal is not evaluated here"),
        ({"Principal": "*", "Resource": "arn:aws:s3:::another/*"}, "invalid resource"),
        ({"Principal": "*", "Resource": "*"}, "invalid resource"),
        ({"Principal": "*", "Action": "sqs:SendMessage"}, "invalid action"),
        ({"Principal": "*", "Condition": {"StringIs": {"aws:SourceIp": "x"}}}, "Unknown condition operator"),
        ({"Principal": "*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "x"}}}, "not evaluated here"),
    ],
)
def test_a_bucket_policy_that_would_not_be_obeyed_is_refused(client, bucket, statement, said):
    whole = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"} | statement
    policy = document(whole)
    refused(lambda: client("s3").put_bucket_policy(Bucket=bucket, Policy=policy), "MalformedPolicy", said)


@pytest.mark.parametrize("text", ["{not json", "", " {}", "[]", "{}", '{"Statement": []}', '{"a":' * 5000])
def test_what_is_no_policy_is_no_bucket_policy(client, bucket, text):
    refused(lambda: client("s3").put_bucket_policy(Bucket=bucket, Policy=text), "MalformedPolicy")


def test_a_functions_policy_lets_a_role_call_it(client, role, become, create_function):
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return 1\n")
    name, arn = create_function(packed.getvalue()), role()
    acting = become(arn)("lambda")
    refused(lambda: acting.invoke(FunctionName=name), "AccessDeniedException")
    client("lambda").add_permission(
        FunctionName=name, StatementId="role", Action="lambda:InvokeFunction", Principal=arn
    )
    assert acting.invoke(FunctionName=name)["Payload"].read() == b"1"
    refused(lambda: acting.get_function(FunctionName=name), "AccessDeniedException")


def test_a_role_of_the_account_is_assumed_by_whom_its_trust_names(role, become):
    asking = role()
    named = role(trust=[trusting({"AWS": asking})])
    by = become(asking)("sts")
    assert become(named, by)("sts").get_caller_identity()["Arn"].endswith("/sess")
    delegated = role()
    refused(lambda: become(delegated, by), said="because no identity-based policy allows the sts:AssumeRole action")
    allowed = become(role(allow("sts:AssumeRole", delegated)))("sts")
    assert become(delegated, allowed)
    service = role(trust=[trusting({"Service": "lambda.amazonaws.com"})])
    why = "because no resource-based policy allows the sts:AssumeRole action"
    refused(lambda: become(service, become(role(allow("sts:*")))("sts")), said=why)
    refused(lambda: become(service), said=why)


def test_a_source_identity_stays_in_all_sessions_that_follow(role, become):
    trust = [trusting({"AWS": ROOT}, ["sts:AssumeRole", "sts:SetSourceIdentity"])]
    named = {"StringEquals": {"aws:SourceIdentity": "ann"}}
    last = role(allow("sqs:ListQueues", Condition=named), trust=trust)
    by = become(role(allow("sts:*"), trust=trust), SourceIdentity="ann")("sts")
    assert become(last, by)("sqs").list_queues()
    assert become(last, by, SourceIdentity="ann")("sqs").list_queues()
    refused(lambda: become(last, by, SourceIdentity="bob"), said="cannot be changed")


def test_a_role_cannot_pass_one_that_does_not_exist(role, become):
    """Nothing is refused to a role that was never created: the caller's code would do more than the caller may."""
    absent = f"arn:aws:iam::{ACCOUNT}:role/absent"
    asking = become(role(allow(["iam:PassRole", "sagemaker:*", "scheduler:*", "lambda:*"])))
    model = {"ModelName": "passed", "ExecutionRoleArn": absent}
    refused(lambda: asking("sagemaker").create_model(**model), "ValidationException", "Could not assume role")
    target = {"Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f", "RoleArn": absent}
    schedule = {"Name": "s", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    refused(lambda: asking("scheduler").create_schedule(**schedule, Target=target), "ValidationException", "assume")
    function = {"FunctionName": "f", "Runtime": "python3.12", "Handler": "a.b", "Code": {"ZipFile": b""}}
    refused(
        lambda: asking("lambda").create_function(**function, Role=absent),
        "InvalidParameterValueException",
        "cannot be assumed",
    )


TWO_OPERATIONS = [
    ("POST", "k?uploads&tagging"),
    ("POST", "k?tagging&uploadId=u"),
    ("PUT", "k?partNumber=1&uploadId=u&acl"),
    ("GET", "?location&list-type=2"),
    ("GET", "?location&versions"),
    ("GET", "?uploads&versions"),
    ("PUT", "?tagging&policy"),
    ("DELETE", "?cors&policy"),
    ("POST", "?delete&tagging"),
    ("GET", "?location&restore"),
]


@pytest.mark.parametrize(("method", "named"), TWO_OPERATIONS)
def test_a_request_to_s3_that_names_two_operations_is_refused(server, bucket, method, named):
    """One was allowed, the other would be done."""
    url = f"{server.url}/{bucket}/{named}"
    answer = requests.request(method, url, headers=signed(method, url, "s3"), timeout=HANG)
    assert (answer.status_code, "Conflicting query string parameters" in answer.text) == (400, True)


def test_a_chained_session_lasts_an_hour_at_most(role, become):
    long = role(MaxSessionDuration=7200)
    assert become(long, DurationSeconds=7200)
    by = become(role(allow("sts:AssumeRole")))("sts")
    refused(lambda: become(long, by, DurationSeconds=3700), "ValidationError", "role chaining")


def test_tags_of_a_role_and_of_its_session_are_the_principals(client, role, become, bucket):
    condition = {"StringEquals": {"aws:PrincipalTag/team": "red"}}
    arn = role(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Condition=condition))
    refused(lambda: become(arn)("s3").get_object(Bucket=bucket, Key="k"))
    session = become(arn, Tags=[{"Key": "Team", "Value": "red"}])
    assert session("s3").get_object(Bucket=bucket, Key="k")
    client("iam").tag_role(RoleName=arn.rpartition("/")[2], Tags=[{"Key": "team", "Value": "red"}])
    assert become(arn)("s3").get_object(Bucket=bucket, Key="k")
    other = become(arn, Tags=[{"Key": "team", "Value": "blue"}])
    refused(lambda: other("s3").get_object(Bucket=bucket, Key="k"))
    untagged = role(trust=[trusting({"AWS": ROOT})])
    refused(lambda: become(untagged, Tags=[{"Key": "a", "Value": "b"}]), said="sts:TagSession")


def test_tags_of_a_resource_are_conditions(client, role, become):
    mine = {"StringEquals": {"aws:ResourceTag/owner": "me"}}
    acting = become(role(allow("sagemaker:DescribeModelPackageGroup", Condition=mine)))("sagemaker")
    for name, owner in (("tagged-mine", "me"), ("tagged-yours", "you")):
        tags = [{"Key": "owner", "Value": owner}]
        client("sagemaker").create_model_package_group(ModelPackageGroupName=name, Tags=tags)
    assert acting.describe_model_package_group(ModelPackageGroupName="tagged-mine")
    denied = "AccessDeniedException"
    refused(lambda: acting.describe_model_package_group(ModelPackageGroupName="tagged-yours"), denied)
    refused(lambda: acting.describe_model_package_group(ModelPackageGroupName="tagged-none"), denied)


CONDITION = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document(CONDITION | {"Sid": "With space"}), "alpha-numeric"),
        (document(), "must not be empty"),
        (json.dumps({"Version": "2012-10-17", "Statement": [CONDITION], "Extra": 1}), "unknown element Extra"),
        ('{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Effect": "Deny"}}', "Effect is there twice"),
        (document(CONDITION | {"Condition": {"NullIfExists": {"aws:TagKeys": "true"}}}), "NullIfExists"),
        (document(CONDITION | {"Condition": {"IpAddress": {"aws:SourceIp": "here"}}}), "'here'"),
        (document(CONDITION | {"Condition": {"NumericEquals": {"s3:max-keys": "many"}}}), "'many'"),
        (document(CONDITION | {"Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}), "'soon'"),
        (document(CONDITION | {"Condition": {"Bool": {"aws:SecureTransport": "perhaps"}}}), "'perhaps'"),
        (document(CONDITION | {"Condition": {"StringEquals": {"aws:SourceIp": []}}}), "no value"),
        (document(CONDITION | {"Condition": {"StringEquals": {"team": "x"}}}), "prefaced by a vendor"),
        (
            document(CONDITION | {"Condition": {"StringEquals": {"aws:NoSuchKey": "x"}}}),
            "aws:NoSuchKey is not evaluated",
        ),
        (document(CONDITION | {"Condition": {"StringEquals": {"sagemaker:VpcSubnets": "x"}}}), "is not evaluated"),
        (
            document(CONDITION | {"Effect": "Deny", "Condition": {"StringEquals": {"kms:ViaService": "x"}}}),
            "kms:ViaService",
        ),
        (document(CONDITION | {"Condition": {"StringNotEquals": {"ec2:Vpc": "x"}}}), "ec2:Vpc"),
        (document(CONDITION | {"Action": "s3:Get:Object"}), "one colon"),
        (document(CONDITION | {"Resource": "arn:aws:s*:::b"}), "fully qualified"),
        (document(CONDITION | {"Resource": "b/*"}), "ARN format"),
        ('{"Statement":' + "[" * 100_000, "levels of lists"),
    ],
)
def test_what_is_not_evaluated_is_refused_by_its_name_when_it_is_stored(client, role, text, said):
    name = role().rpartition("/")[2]
    put = {"RoleName": name, "PolicyName": "p", "PolicyDocument": text}
    refused(lambda: client("iam").put_role_policy(**put), "MalformedPolicyDocument", said)
    refused(lambda: client("iam").create_policy(PolicyName="p", PolicyDocument=text), "MalformedPolicyDocument", said)
    assert client("iam").list_role_policies(RoleName=name)["PolicyNames"] == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (trusting({"AWS": "arn:aws:iam::1:role/x"}), "Invalid principal"),
        (trusting({"Service": "sagemaker"}), "Invalid principal"),
        (trusting({"AWS": ROOT}, "s3:GetObject"), "actions can only be sts:AssumeRole"),
        ({"Effect": "Allow", "NotPrincipal": "*", "Action": "sts:AssumeRole"}, "NotPrincipal"),
        (trusting({"AWS": ROOT}) | {"Resource": "*"}, "no Resource"),
        (trusting({"AWS": ROOT}) | {"Condition": {"StringEquals": {"sts:NoSuchKey": "x"}}}, "sts:NoSuchKey"),
    ],
)
def test_a_trust_policy_that_would_not_be_obeyed_is_refused(client, statement, said):
    request = {"RoleName": "untrusted", "AssumeRolePolicyDocument": document(statement)}
    refused(lambda: client("iam").create_role(**request), "MalformedPolicyDocument", said)


def test_a_condition_that_can_only_make_an_allow_not_hold_is_kept(client, role):
    allowed = allow("kms:Decrypt", Condition={"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}})
    arn = role(allowed, allow("s3:*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}))
    found = client("iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=["kms:Decrypt", "s3:GetObject"])
    results = found["EvaluationResults"]
    assert [result["EvalDecision"] for result in results] == ["implicitDeny", "implicitDeny"]
    assert results[0]["MissingContextValues"] == ["kms:viaservice"]


def test_a_simulation_has_the_policies_that_it_is_given(client, role):
    iam, arn = client("iam"), role()
    bucket_policy = document({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject", "Resource": "*"})

    def decided(call, **more: object) -> str:
        return call(ActionNames=["s3:GetObject"], **more)["EvaluationResults"][0]["EvalDecision"]

    given = {"PolicyInputList": [document(allow("s3:*"))]}
    boundary = {"PermissionsBoundaryPolicyInputList": [document(allow("sqs:*"))]}
    principal = {"PolicySourceArn": arn}
    assert decided(iam.simulate_principal_policy, **principal) == "implicitDeny"
    assert decided(iam.simulate_principal_policy, **principal, **given) == "allowed"
    assert decided(iam.simulate_principal_policy, **principal, **given, **boundary) == "implicitDeny"
    assert decided(iam.simulate_principal_policy, **principal, ResourcePolicy=bucket_policy) == "allowed"
    assert decided(iam.simulate_custom_policy, **given) == "allowed"
    refused(lambda: decided(iam.simulate_custom_policy, PolicyInputList=["{"]), "InvalidInput")


def test_a_pattern_of_many_stars_is_decided_at_once(client, role, become, bucket):
    hostile = f"arn:aws:s3:::{bucket}/{'*a' * 25}b"
    condition = {"StringLike": {"s3:prefix": "*a" * 25 + "b"}}
    acting = become(role(allow("s3:*", hostile), allow("s3:ListBucket", Condition=condition)))("s3")
    begin = time.monotonic()
    refused(lambda: acting.get_object(Bucket=bucket, Key="a" * 200))
    refused(lambda: acting.list_objects_v2(Bucket=bucket, Prefix="a" * 200))
    assert time.monotonic() - begin < 10


def test_the_tags_of_a_request_are_conditions(role, become):
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": "team"}, "StringEquals": {"aws:RequestTag/team": "red"}}
    making = ["sagemaker:CreateModelPackageGroup", "sagemaker:AddTags"]
    acting = become(role(allow(making, Condition=only)))("sagemaker")

    def create(**tags: str):
        given = [{"Key": key, "Value": value} for key, value in tags.items()]
        return acting.create_model_package_group(ModelPackageGroupName=f"g-{uuid.uuid4().hex}", Tags=given)

    assert create(team="red")
    refused(lambda: create(team="blue"), "AccessDeniedException")
    refused(lambda: create(team="red", cost="1"), "AccessDeniedException")


def test_a_stacks_role_has_its_boundary_and_tags_and_follows_them(client):
    cloudformation, iam = client("cloudformation"), client("iam")
    for name in ("first", "second"):
        iam.create_policy(PolicyName=f"boundary-{name}", PolicyDocument=document(allow("s3:*")))
    base = {"RoleName": "bounded", "AssumeRolePolicyDocument": json.loads(document(trusting({"AWS": ROOT})))}

    def deploy(operation: str, **properties: object) -> dict:
        resource = {"Type": "AWS::IAM::Role", "Properties": base | properties}
        template = json.dumps({"Resources": {"Role": resource}})
        request = {"StackName": "bounded", "TemplateBody": template, "Capabilities": ["CAPABILITY_NAMED_IAM"]}
        getattr(cloudformation, f"{operation}_stack")(**request)
        cloudformation.get_waiter(f"stack_{operation}_complete").wait(
            StackName="bounded", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        return iam.get_role(RoleName="bounded")["Role"]

    def boundary(name: str) -> str:
        return f"arn:aws:iam::{ACCOUNT}:policy/boundary-{name}"

    made = deploy("create", PermissionsBoundary=boundary("first"), Tags=[{"Key": "team", "Value": "red"}])
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary("first")
    assert made["Tags"] == [{"Key": "team", "Value": "red"}]
    changed = deploy("update", PermissionsBoundary=boundary("second"), Description="d", MaxSessionDuration=7200)
    assert changed["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary("second")
    assert (changed.get("Tags", []), changed["Description"], changed["MaxSessionDuration"]) == ([], "d", 7200)
    assert "PermissionsBoundary" not in deploy("update", Description="d")
    nowhere = {"RoleName": "bounded", "PermissionsBoundary": boundary("none")}
    refused(lambda: iam.put_role_permissions_boundary(**nowhere), "NoSuchEntity")
