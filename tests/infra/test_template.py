"""infra/template.yaml: least privilege by its shape, names as the settings have them, small enough to send."""

import json
import re

from pipeline import definition, infra, parameters
from pipeline.settings import Settings
from sagelocal.services.cloudformation import template
from steps.base import CACHE
from tests.infra.rendered import SETTINGS, listed, statements

# Actions without a resource type. Source: service authorization reference.
NEED_A_STAR = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "sagemaker:ListModels",
    "sagemaker:ListEndpointConfigs",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "ec2:CreateNetworkInterface",  # Lambda's own check of a function in a VPC asks for these on every resource
    "ec2:DescribeNetworkInterfaces",
    "ec2:DeleteNetworkInterface",
}


def test_it_can_be_sent_without_a_bucket():
    assert len(infra.TEMPLATE.read_bytes()) < template.MAX_INLINE_BYTES


def test_there_is_a_role_for_every_actor(resources):
    names = {role for role, _ in statements(resources)}
    assert names == {
        f"pawline-{name}"
        for name in (
            *("pipeline", "job", "train", "evaluate", "model", "deploy", "predict", "scheduler", "retrain", "ec2"),
        )
    }
    assert all(Settings().role(name.removeprefix("pawline-")).endswith(f"role/{name}") for name in names)


def test_no_role_may_do_more_than_it_names(resources):
    found = statements(resources)
    assert len(found) > 30
    for role, statement in found:
        where = f"{role}/{statement.get('Sid')}"
        assert re.fullmatch(r"[A-Za-z]+", statement["Sid"]), where
        assert not any("*" in action for action in listed(statement["Action"])), where
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= NEED_A_STAR, where
        assert all(re.match(r"\*$|arn:aws:[a-z0-9-]+:|<", resource) for resource in listed(statement["Resource"])), (
            where
        )


def test_statement_names_are_unique_in_a_role(resources):
    names = [(role, statement["Sid"]) for role, statement in statements(resources)]
    assert len(names) == len(set(names))


def test_roles_are_passed_only_to_the_service_that_they_are_for(resources):
    passing = [statement for _, statement in statements(resources) if "iam:PassRole" in listed(statement["Action"])]
    services = {
        role: statement["Condition"]["StringEquals"]["iam:PassedToService"]
        for statement in passing
        for role in listed(statement["Resource"])
    }
    assert len(passing) == 3
    assert services == {
        **{f"<{name}.Arn>": "sagemaker.amazonaws.com" for name in ("JobRole", "TrainRole", "EvaluateRole")},
        "<ModelRole.Arn>": "sagemaker.amazonaws.com",
        "<SchedulerRole.Arn>": "scheduler.amazonaws.com",
    }


def test_nobody_but_this_account_can_make_a_service_assume_a_role(resources):
    for body in resources.values():
        if body["Type"] == "AWS::IAM::Role":
            (trust,) = body["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            service = trust["Principal"]["Service"]
            if service not in ("lambda.amazonaws.com", "ec2.amazonaws.com"):  # these check the account by themselves
                assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_the_bucket_is_private_encrypted_versioned_and_tls_only(resources):
    bucket = resources["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    rule = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    assert rule["SSEAlgorithm"] == "aws:kms"
    (deny,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_only_a_run_needs_expires_and_data_models_code_and_cache_stay(resources):
    rules = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix"): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    folders = ("runs", "trials", "tensors", "checkpoints", "captured")
    assert {prefix: int(days) for prefix, days in expiring.items()} == {f"pawline/{name}/": 35 for name in folders}


def test_intermediate_data_outlives_the_cache_that_refers_to_it():
    cache_days = int(re.fullmatch(r"P(\d+)D", CACHE.expire_after)[1])
    days = template.load(infra.TEMPLATE.read_text())["Parameters"]["IntermediateDays"]
    assert days["MinValue"] > cache_days
    assert days["Default"] > cache_days


def test_an_approval_deploys_as_the_pipeline_does_by_default():
    declared = template.load(infra.TEMPLATE.read_text())["Parameters"]
    names = [name for name in parameters.BY_NAME if name in declared]
    assert len(names) == 12
    assert {n: declared[n]["Default"] for n in names} == {n: parameters.BY_NAME[n].default for n in names}


def test_an_approval_sends_the_deploy_function_an_event_that_it_knows(resources):
    (target,) = resources["ModelApproved"]["Properties"]["Targets"]
    sent = set(re.findall(r'"(\w+)":', target["InputTransformer"]["InputTemplate"]))
    found = json.loads(definition.definition(SETTINGS))["Steps"]
    (gate,) = [step for step in found if step["Name"] == "Gate"]
    (deploy,) = [step for step in gate["Arguments"]["IfSteps"] if step["Name"] == "Deploy"]
    assert sent == set(deploy["Arguments"])
    assert target["Arn"] == "<DeployAlias.Ref>"


def test_an_endpoint_that_comes_into_service_is_finished_by_the_deploy_function(resources):
    rule = resources["EndpointReady"]["Properties"]
    assert rule["EventPattern"]["detail"] == {"EndpointName": ["pawline"], "EndpointStatus": ["IN_SERVICE"]}
    assert rule["Targets"][0]["Arn"] == "<DeployAlias.Ref>"
    assert "Input" not in str(rule["Targets"])
    assert resources["EndpointReadyMayDeploy"]["Properties"]["SourceArn"] == "<EndpointReady.Arn>"


def test_logs_do_not_stay_for_ever_and_failed_events_are_kept(resources):
    groups = [body for body in resources.values() if body["Type"] == "AWS::Logs::LogGroup"]
    assert {group["Properties"]["RetentionInDays"] for group in groups} == {"30"}
    assert resources["Schedule"]["Properties"]["Target"]["DeadLetterConfig"] == {"Arn": "<DeadLetterQueue.Arn>"}
    assert resources["Schedule"]["Properties"]["State"] == "DISABLED"


def test_new_data_starts_nothing_unless_asked_to(resources):
    declared = template.load(infra.TEMPLATE.read_text())
    asked = {name for name, body in declared["Resources"].items() if body.get("Condition") == "Retrains"}
    assert declared["Parameters"]["RetrainOnNewData"]["Default"] == "false"
    assert asked == {n for n in resources if n.startswith(("Retrain", "NewData"))}
    assert resources["Bucket"]["Properties"]["NotificationConfiguration"]["EventBridgeConfiguration"]


def test_image_repositories_come_from_the_image_addresses():
    image = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13-cpu"
    assert infra.repository_arn(SETTINGS, image) == "arn:aws:ecr:eu-west-1:763104351884:repository/pytorch"
    assert infra.repository_arn(SETTINGS, "python:3").endswith(":123456789012:repository/python")
