"""The IAM and STS services as an unmodified boto3 sees them, and what roles may do on the real server."""

import json
import os
import signal
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from werkzeug.test import Client

from sagelocal.core import lifecycle
from sagelocal.core.caller import Caller
from sagelocal.gateway.server import Application
from sagelocal.services.iam import matching, permissions, policy, sessions
from tests.signing import signed

ACCOUNT = "123456789012"
OURS = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}


def trust(*services: str) -> str:
    of_services = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [OURS, *([of_services] if services else [])]})


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | s for s in statements]})


@pytest.fixture
def iam(client):
    return client("iam")


@pytest.fixture
def role(iam):
    """role(statement, …, trusts=(service, …)) -> the ARN of a new role."""

    def make(*statements: dict, trusts: tuple[str, ...] = ()) -> str:
        name = f"role-{uuid.uuid4().hex[:12]}"
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(*trusts))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return arn

    return make


@pytest.fixture
def acting(server, client):
    """acting(role ARN, service) -> a client that signs with the role's session."""

    def make(arn: str, service: str):
        given = client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return boto3.client(
            service,
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    return make


def used(server, method: str = "GET") -> dict:
    answer = server.ask(method, "/_sagelocal/iam/used")
    return json.loads(answer) if method == "GET" else {}


def test_a_role_and_its_policies_are_made_read_and_deleted(iam):
    made = iam.create_role(
        RoleName="reader",
        Path="/pawline/",
        AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"),
        Tags=[{"Key": "project", "Value": "pawline"}],
    )["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/pawline/reader"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    iam.put_role_policy(RoleName="reader", PolicyName="reads", PolicyDocument=json.dumps(policy))
    iam.tag_role(RoleName="reader", Tags=[{"Key": "owner", "Value": "me & you <us>"}])
    kept = iam.get_role(RoleName="reader")["Role"]
    assert kept["AssumeRolePolicyDocument"]["Statement"][1]["Principal"] == {"Service": ["sagemaker.amazonaws.com"]}
    assert kept["Tags"] == [{"Key": "project", "Value": "pawline"}, {"Key": "owner", "Value": "me & you <us>"}]
    assert iam.get_role_policy(RoleName="reader", PolicyName="reads")["PolicyDocument"] == policy
    assert iam.list_role_policies(RoleName="reader")["PolicyNames"] == ["reads"]
    assert "reader" in [r["RoleName"] for r in iam.get_paginator("list_roles").paginate().build_full_result()["Roles"]]
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="reader")
    iam.delete_role_policy(RoleName="reader", PolicyName="reads")
    iam.delete_role(RoleName="reader")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="reader")


def test_a_managed_policy_works_while_it_is_attached(iam, role, acting):
    arn = role()
    name = arn.rpartition("/")[2]
    made = iam.create_policy(
        PolicyName="lists", PolicyDocument=document({"Action": "sagemaker:ListModels", "Resource": "*"})
    )["Policy"]
    iam.attach_role_policy(RoleName=name, PolicyArn=made["Arn"])
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": "lists", "PolicyArn": made["Arn"]}
    ]
    assert acting(arn, "sagemaker").list_models()["Models"] == []
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_policy(PolicyArn=made["Arn"])
    iam.create_policy_version(
        PolicyArn=made["Arn"],
        SetAsDefault=True,
        PolicyDocument=document({"Action": "sagemaker:ListEndpoints", "Resource": "*"}),
    )
    assert not iam.get_policy_version(PolicyArn=made["Arn"], VersionId="v1")["PolicyVersion"]["IsDefaultVersion"]
    with pytest.raises(ClientError, match="sagemaker:ListModels"):
        acting(arn, "sagemaker").list_models()
    iam.detach_role_policy(RoleName=name, PolicyArn=made["Arn"])
    with pytest.raises(ClientError, match="sagemaker:ListEndpoints"):
        acting(arn, "sagemaker").list_endpoints()
    iam.delete_policy(PolicyArn=made["Arn"])


def test_a_policy_of_aws_can_be_attached(iam, role, acting):
    arn = role()
    iam.attach_role_policy(RoleName=arn.rpartition("/")[2], PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerReadOnly")
    assert acting(arn, "sagemaker").list_models()["Models"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        acting(arn, "sagemaker").create_model_package_group(ModelPackageGroupName="g")


def test_an_instance_profile_holds_one_role(iam, role):
    name = role().rpartition("/")[2]
    iam.create_instance_profile(InstanceProfileName="machine")
    iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName=name)
    assert iam.get_instance_profile(InstanceProfileName="machine")["InstanceProfile"]["Roles"][0]["RoleName"] == name
    for refused in (
        lambda: iam.delete_role(RoleName=name),
        lambda: iam.delete_instance_profile(InstanceProfileName="machine"),
    ):
        with pytest.raises(iam.exceptions.DeleteConflictException):
            refused()
    iam.remove_role_from_instance_profile(InstanceProfileName="machine", RoleName=name)
    iam.delete_instance_profile(InstanceProfileName="machine")


def test_a_malformed_or_too_long_policy_is_refused(iam, role):
    name = role().rpartition("/")[2]
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException, match="prefaced by a vendor"):
        wrong = document({"Action": "GetObject", "Resource": "*"})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=wrong)
    with pytest.raises(iam.exceptions.LimitExceededException, match="10240"):
        actions = [f"s3:Action{number:05d}" for number in range(900)]
        long = document({"Action": actions, "Resource": "*"})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=long)
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []


def test_who_asks_is_the_owner_or_a_session_of_a_role(client, role, acting):
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    arn = role()
    said = acting(arn, "sts").get_caller_identity()
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rpartition('/')[2]}/test"
    assert said["Account"] == ACCOUNT


def test_a_role_is_assumed_only_by_whom_it_trusts(client, iam, role, acting):
    trusting = iam.create_role(
        RoleName="for-lambda-only",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ]
            }
        ),
    )["Role"]["Arn"]
    for arn in (trusting, f"arn:aws:iam::{ACCOUNT}:role/nobody"):
        with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
            client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
    other = role()
    with pytest.raises(ClientError, match="sts:AssumeRole on resource"):
        acting(role(), "sts").assume_role(RoleArn=other, RoleSessionName="chained")
    first = role({"Action": "sts:AssumeRole", "Resource": other})
    assert acting(first, "sts").assume_role(RoleArn=other, RoleSessionName="chained")["Credentials"]


def test_a_role_may_do_what_it_is_allowed_and_is_told_what_not(role, acting):
    group = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/iam-*"
    arn = role({"Action": "sagemaker:CreateModelPackageGroup", "Resource": group})
    sagemaker = acting(arn, "sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="iam-one")
    with pytest.raises(ClientError) as refused:
        sagemaker.create_model_package_group(ModelPackageGroupName="other")
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"] == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rpartition('/')[2]}/test is not authorized to perform: "
        f"sagemaker:CreateModelPackageGroup on resource: arn:aws:sagemaker:us-east-1:{ACCOUNT}:"
        "model-package-group/other because no identity-based policy allows the "
        "sagemaker:CreateModelPackageGroup action"
    )


def test_an_explicit_deny_is_told_as_such(role, acting):
    arn = role({"Action": "sagemaker:*", "Resource": "*"}, {"Effect": "Deny", "Action": "*:List*", "Resource": "*"})
    with pytest.raises(ClientError, match="sagemaker:ListModels .*with an explicit deny in an identity-based policy"):
        acting(arn, "sagemaker").list_models()


def test_a_role_is_passed_on_only_with_passrole_and_only_to_its_service(role, acting):
    job = role(trusts=("sagemaker.amazonaws.com",))
    definition = json.dumps({"Version": "2020-12-01", "Steps": [_fail_step()]})
    request = {"PipelineName": "passed", "PipelineDefinition": definition, "RoleArn": job}
    create = {"Action": "sagemaker:*", "Resource": "*"}
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    for refused in (
        role(create),
        role(create, {"Action": "iam:PassRole", "Resource": job, "Condition": to_lambda}),
        role(create, {"Action": "iam:PassRole", "Resource": f"{job}-other"}),
    ):
        with pytest.raises(ClientError, match=f"iam:PassRole on resource: {job} because"):
            acting(refused, "sagemaker").create_pipeline(**request)
    passing = role(create, {"Action": "iam:PassRole", "Resource": job, "Condition": to_sagemaker})
    assert acting(passing, "sagemaker").create_pipeline(**request)["PipelineArn"]


def _fail_step() -> dict:
    return {"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}


def test_a_role_that_does_not_trust_the_service_cannot_be_given_to_it(client, role):
    arn = role(trusts=("lambda.amazonaws.com",))
    definition = json.dumps({"Version": "2020-12-01", "Steps": [_fail_step()]})
    with pytest.raises(ClientError, match="allows principal 'sagemaker.amazonaws.com' to assume the role"):
        client("sagemaker").create_pipeline(PipelineName="untrusted", PipelineDefinition=definition, RoleArn=arn)
    for_sagemaker = role(trusts=("sagemaker.amazonaws.com",))
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        client("lambda").create_function(
            FunctionName="untrusted", Runtime="python3.12", Handler="a.b", Role=for_sagemaker, Code={"ZipFile": b"x"}
        )


def test_objects_are_reached_by_bucket_prefix_and_condition(client, role, acting):
    owner = client("s3")
    owner.create_bucket(Bucket="iam-objects")
    owner.put_object(Bucket="iam-objects", Key="mine/a", Body=b"a")
    owner.put_object(Bucket="iam-objects", Key="yours/b", Body=b"b")
    bucket = "arn:aws:s3:::iam-objects"
    arn = role(
        {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{bucket}/mine/*"},
        {"Action": "s3:ListBucket", "Resource": bucket, "Condition": {"StringLike": {"s3:prefix": "mine/*"}}},
    )
    s3 = acting(arn, "s3")
    assert s3.get_object(Bucket="iam-objects", Key="mine/a")["Body"].read() == b"a"
    s3.put_object(Bucket="iam-objects", Key="mine/c", Body=b"c")
    assert s3.list_objects_v2(Bucket="iam-objects", Prefix="mine/")["KeyCount"] == 2
    for call, action in (
        (lambda: s3.get_object(Bucket="iam-objects", Key="yours/b"), "s3:GetObject"),
        (lambda: s3.put_object(Bucket="iam-objects", Key="yours/b", Body=b""), "s3:PutObject"),
        (lambda: s3.delete_object(Bucket="iam-objects", Key="mine/a"), "s3:DeleteObject"),
        (lambda: s3.list_objects_v2(Bucket="iam-objects", Prefix="yours/"), "s3:ListBucket"),
        (lambda: s3.list_buckets(), "s3:ListAllMyBuckets"),
        (
            lambda: s3.copy_object(Bucket="iam-objects", Key="mine/b", CopySource="iam-objects/yours/b"),
            "s3:GetObject",
        ),
        (lambda: s3.put_bucket_policy(Bucket="iam-objects", Policy="{}"), "s3:PutBucketPolicy"),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert f"not authorized to perform: {action} on resource: " in refused.value.response["Error"]["Message"]
    keys = {"Objects": [{"Key": "mine/a"}]}
    assert s3.delete_objects(Bucket="iam-objects", Delete=keys)["Errors"][0]["Code"] == "AccessDenied"
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="iam-objects", Key="mine/none")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "iam-objects", "Key": "yours/b"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(presigned)
    blind = acting(role({"Action": "s3:GetObject", "Resource": f"{bucket}/*"}), "s3")
    with pytest.raises(ClientError, match="AccessDenied.*s3:ListBucket"):
        blind.get_object(Bucket="iam-objects", Key="mine/none")


def test_requests_that_moto_answers_are_checked_too(client, role, acting):
    url = client("sqs").create_queue(QueueName="iam-queue")["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:iam-queue"
    arn = role(
        {"Action": "sqs:SendMessage", "Resource": queue},
        {
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "Pawline"}},
        },
    )
    acting(arn, "sqs").send_message(QueueUrl=url, MessageBody="hello")
    with pytest.raises(ClientError, match=f"sqs:ReceiveMessage on resource: {queue}"):
        acting(arn, "sqs").receive_message(QueueUrl=url)
    point = [{"MetricName": "m", "Value": 1.0}]
    acting(arn, "cloudwatch").put_metric_data(Namespace="Pawline", MetricData=point)
    with pytest.raises(ClientError, match="cloudwatch:PutMetricData"):
        acting(arn, "cloudwatch").put_metric_data(Namespace="Other", MetricData=point)
    with pytest.raises(ClientError, match="ec2:DescribeInstances"):
        acting(arn, "ec2").describe_instances()
    with pytest.raises(ClientError, match="sns:ListTopics"):
        acting(arn, "sns").list_topics()


def test_what_is_simulated_is_what_is_enforced(iam, role):
    arn = role({"Action": "s3:*", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"})
    found = iam.simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=["s3:GetObject", "s3:DeleteBucket", "sqs:SendMessage"]
    )["EvaluationResults"]
    assert [result["EvalDecision"] for result in found] == ["allowed", "explicitDeny", "implicitDeny"]
    assert found[0]["MatchedStatements"][0]["SourcePolicyId"] == "own"


def test_it_is_shown_which_statement_each_call_needed(server, role, acting):
    arn = role(
        {"Sid": "Models", "Action": ["sagemaker:ListModels", "sagemaker:CreateModel"], "Resource": "*"},
        {"Sid": "All", "Action": "sagemaker:List*", "Resource": "*"},
        {"Sid": "Unused", "Action": "sqs:SendMessage", "Resource": "*"},
    )
    used(server, "DELETE")
    sagemaker = acting(arn, "sagemaker")
    sagemaker.list_models()
    sagemaker.list_endpoints()
    with pytest.raises(ClientError):
        sagemaker.describe_model(ModelName="m")
    shown = used(server)
    name = arn.rpartition("/")[2]
    statements = {statement["sid"]: statement for statement in shown["roles"][name]}
    assert [call["action"] for call in statements["Models"]["allowed"]] == ["sagemaker:ListModels"]
    assert statements["Models"]["only_here"] == []
    assert statements["Models"]["unused_actions"] == ["sagemaker:CreateModel"]
    assert [call["action"] for call in statements["All"]["only_here"]] == ["sagemaker:ListEndpoints"]
    assert statements["Unused"]["allowed"] == []
    refused = [entry for entry in shown["refused"] if entry["role"] == name]
    assert [entry["action"] for entry in refused] == ["sagemaker:DescribeModel"]


def test_roles_and_sessions_survive_a_killed_server(tmp_path):
    first = lifecycle.ensure(tmp_path)
    owner = {"region_name": "us-east-1", "endpoint_url": first.url}
    boto3.client("iam", **owner).create_role(RoleName="kept", AssumeRolePolicyDocument=trust())
    arn = f"arn:aws:iam::{ACCOUNT}:role/kept"
    given = boto3.client("sts", **owner).assume_role(RoleArn=arn, RoleSessionName="kept")["Credentials"]
    os.kill(first.pid, signal.SIGKILL)
    second = lifecycle.ensure(tmp_path)
    try:
        sagemaker = boto3.client(
            "sagemaker",
            endpoint_url=second.url,
            region_name="us-east-1",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )
        with pytest.raises(ClientError, match="assumed-role/kept/kept is not authorized"):
            sagemaker.list_models()
    finally:
        lifecycle.stop(tmp_path)


def test_an_expired_session_is_refused_in_the_services_own_format(context):
    given = sessions.assume(context, Caller(f"arn:aws:iam::{ACCOUNT}:role/short", "s"), seconds=-1)
    expired = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    server = Client(Application(context, on_stop=lambda: None))
    for service, headers in (("sagemaker", {"X-Amz-Target": "SageMaker.ListModels"}), ("s3", {})):
        sent = signed("GET", f"{context.url}/", service, headers=headers, by=expired)
        answer = server.get("/", base_url=context.url, headers=sent)
        assert answer.status_code == 400
        assert "ExpiredToken" in answer.text and answer.text.startswith("<" if service == "s3" else "{")
    with pytest.raises(sessions.InvalidClientTokenId):
        sessions.caller_of(context, "AKIAUNKNOWN")
    assert sessions.caller_of(context, sessions.owner(context).access_key) is None


def test_a_policy_is_read_once_however_often_it_is_asked(context):
    trusted = trust("sagemaker.amazonaws.com")
    arn = context.call("iam", "CreateRole", RoleName="quick", AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    many = [{"Action": f"s3:Action{n}", "Resource": f"arn:aws:s3:::b/{n}/*"} for n in range(20)]
    wanted = {"Action": "sagemaker:DescribeEndpoint", "Resource": "*"}
    context.call("iam", "PutRolePolicy", RoleName="quick", PolicyName="p", PolicyDocument=document(*many, wanted))
    acting, request = context.as_role(arn), {"EndpointName": "e"}
    permissions.authorize(acting, "sagemaker", "DescribeEndpoint", request)
    read, compiled = policy.parse.cache_info().misses, matching.glob.cache_info().misses
    for _ in range(100):
        permissions.authorize(acting, "sagemaker", "DescribeEndpoint", request)
    assert (policy.parse.cache_info().misses, matching.glob.cache_info().misses) == (read, compiled)
