"""`pawline doctor`, against the embedded server."""

from dataclasses import replace

import boto3
import pytest

from pipeline import doctor, infra
from pipeline.cloud import Cloud
from pipeline.doctor import Finding
from pipeline.errors import UserError


@pytest.fixture(scope="module")
def cloud(bare: Cloud) -> Cloud:
    infra.ensure(bare)
    return bare


def examine(cloud: Cloud, **values) -> list[Finding]:
    return doctor.examine(lambda: cloud, values)


def of(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def test_an_empty_account_fails_with_the_way_out_for_each_thing_that_is_missing(bare: Cloud):
    findings = examine(bare)
    assert not doctor.healthy(findings)
    failed = [finding for finding in findings if finding.state == "fail"]
    assert {finding.check for finding in failed} >= {"bucket", "role pipeline", "role job", "role scheduler"}
    assert all(finding.fix for finding in failed)


def test_no_credentials_is_a_finding_and_not_a_crash():
    def connect() -> Cloud:
        raise UserError("AWS does not know who you are.", "Sign in.")

    assert doctor.examine(connect, {}) == [Finding("credentials", "fail", "AWS does not know who you are.", "Sign in.")]


def test_an_account_that_is_set_up_is_healthy(cloud: Cloud):
    findings = examine(cloud)
    assert doctor.healthy(findings), doctor.as_data(findings)
    assert [finding.check for finding in findings if finding.state == "warn"] == ["Debugger"]
    assert len(of(findings, "quota")) == 3 and len(of(findings, "permissions of role pipeline")) == 1
    doctor.show(findings)


def test_a_quota_that_is_too_small_fails_and_one_that_may_become_so_warns(cloud: Cloud):
    findings = examine(cloud, MaxParallelTuningJobs=30, EndpointMaxInstances=15)
    states = {finding.seen.partition(":")[0]: finding.state for finding in of(findings, "quota")}
    assert states == {
        "ml.m5.2xlarge for processing job usage": "pass",
        "ml.m5.2xlarge for training job usage": "fail",
        "ml.m5.xlarge for endpoint usage": "warn",
    }


def test_a_granted_quota_is_seen(cloud: Cloud):
    quotas = cloud.client("service-quotas")
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    name = "ml.g5.xlarge for training job usage"
    code = next(q["QuotaCode"] for page in pages for q in page["Quotas"] if q["QuotaName"] == name)
    quotas.request_service_quota_increase(ServiceCode="sagemaker", QuotaCode=code, DesiredValue=0)
    found = of(examine(cloud, TrainingInstanceType="ml.g5.xlarge"), "quota")
    assert [finding.state for finding in found if "ml.g5.xlarge" in finding.seen] == ["fail"]
    quotas.request_service_quota_increase(ServiceCode="sagemaker", QuotaCode=code, DesiredValue=2)
    found = of(examine(cloud, TrainingInstanceType="ml.g5.xlarge"), "quota")
    assert [finding.state for finding in found if "ml.g5.xlarge" in finding.seen] == ["pass"]


def test_a_serverless_endpoint_needs_no_quota_of_instances(cloud: Cloud):
    found = of(examine(cloud, EndpointInstanceType="serverless"), "quota")
    assert len(found) == 2 and not any("endpoint" in finding.seen for finding in found)


def test_an_instance_type_that_sagemaker_does_not_have_fails(cloud: Cloud):
    found = of(examine(cloud, TrainingInstanceType="ml.m99.huge"), "quota")
    assert any(finding.state == "fail" and "ml.m99.huge" in finding.seen for finding in found)


def test_an_image_that_is_not_there_fails_and_one_outside_ecr_warns(cloud: Cloud):
    image = cloud.settings.training_image.replace("/pytorch:", "/tensorflow:")
    other = replace(cloud, settings=replace(cloud.settings, training_image=image, serving_image="docker.io/x:1"))
    findings = examine(other)
    assert of(findings, "image training")[0].state == "fail" and image in of(findings, "image training")[0].seen
    assert of(findings, "image serving")[0].state == "warn"


def test_a_role_that_the_service_may_not_assume_fails(cloud: Cloud):
    iam = cloud.client("iam")
    trust = iam.get_role(RoleName="pawline-job")["Role"]["AssumeRolePolicyDocument"]
    wrong = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
    wrong += ' "Principal": {"Service": "ec2.amazonaws.com"}}]}'
    iam.update_assume_role_policy(RoleName="pawline-job", PolicyDocument=wrong)
    try:
        assert of(examine(cloud), "role job")[0].state == "fail"
    finally:
        import json

        iam.update_assume_role_policy(RoleName="pawline-job", PolicyDocument=json.dumps(trust))


def test_a_permission_that_a_role_lost_is_named_with_action_and_resource(cloud: Cloud):
    """Last: it takes the role's policy away."""
    cloud.client("iam").delete_role_policy(RoleName="pawline-predict", PolicyName="predict")
    found = of(examine(cloud), "permissions of role predict")[0]
    assert found.state == "fail" and "sagemaker:InvokeEndpoint" in found.seen and ":endpoint/pawline" in found.seen


def test_a_role_that_may_not_ask_gets_warnings_and_no_crash(cloud: Cloud):
    """The doctor run by somebody with next to no permissions."""
    trust = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
    trust += ' "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}]}'
    arn = cloud.client("iam").create_role(RoleName="guest", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    given = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="guest")["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
    findings = examine(Cloud(cloud.settings, session))
    assert of(findings, "credentials")[0].seen.endswith("assumed-role/guest/guest")
    assert of(findings, "roles")[0].state == "warn" and "GetRole" in of(findings, "roles")[0].seen
    assert of(findings, "quotas")[0].state == "warn"
    assert of(findings, "bucket")[0].state == "fail"
