"""The deploy function: reconcile against SageMaker's calls in memory, the handler against moto."""

import json

import boto3
import pytest
from calls import Backoff, Clients
from deploy_support import (
    ARCHIVE,
    CONTAINER,
    EVENT,
    NEWER,
    PACKAGE,
    PENDING,
    REJECTED,
    RELEASES,
    RESOURCE,
    SHA256,
    UNVERSIONED,
    clients_of,
    deploy,
    new_world,
)
from deployment import Deployment
from endpoint import next_move
from failures import CallRefused, EndpointFailed, InvalidEvent, PackageRefused, UpdateRolledBack
from fake_sagemaker import Crash, World, refused
from moto import mock_aws

ALL_CREATED = [
    *("PutObject", "CreateModel", "CreateEndpointConfig", "PutMetricAlarm", "PutMetricAlarm", "PutMetricAlarm"),
    *("CreateEndpoint", "AddTags", "RegisterScalableTarget", "PutScalingPolicy"),
]
SERVED = {
    "Image": "image:1",
    "ModelDataUrl": f"{RELEASES}/1/{SHA256}/model.tar.gz",
    "Environment": {"A": "b", "MODEL_SHA256": SHA256, "MODEL_PACKAGE_ARN": PACKAGE},
}
UPDATED = ["AddTags", "UpdateEndpoint", "AddTags"]  # the desired state, the update, the smoke test's verdict
CALLS_OF_A_FIRST_DEPLOYMENT, CALLS_OF_AN_UPDATE = 25, 23


@pytest.fixture
def world() -> World:
    return new_world()


def test_the_first_deployment_creates_model_config_endpoint_and_scaling_in_this_order(world):
    report = deploy(world)
    assert report.status == "InService"
    assert report.changes.split(",") == world.changing_calls() == ALL_CREATED
    assert report.endpoint_arn.endswith("endpoint/dogs")
    assert world.models[report.model_name]["PrimaryContainer"] == SERVED
    variant = world.configs[report.endpoint_config_name]["ProductionVariants"][0]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
    assert world.targets[RESOURCE]["MaxCapacity"] == 3
    tracking = world.arguments("PutScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    assert tracking == {
        "TargetValue": 300.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 60,
    }


def test_the_same_input_again_makes_no_changing_call(world):
    deploy(world)
    before, world.calls = world.state(), []
    report = deploy(world)
    assert world.changing_calls() == []
    assert world.state() == before
    assert (report.status, report.changes) == ("InService", "")


def test_numbers_may_arrive_as_text_or_floats(world):
    deploy(world)
    world.calls = []
    deploy(
        world, min_instances="1", max_instances=3.0, target_invocations_per_instance="300.0", scale_in_cooldown="300"
    )
    assert world.changing_calls() == []


@pytest.mark.parametrize("after", [False, True], ids=["before AWS acts", "after AWS has acted"])
@pytest.mark.parametrize("crash_at", range(CALLS_OF_A_FIRST_DEPLOYMENT))
def test_a_first_deployment_cut_off_at_any_call_is_finished_by_the_same_call(world, crash_at, after):
    straight = new_world()
    deploy(straight)
    assert len(straight.calls) == CALLS_OF_A_FIRST_DEPLOYMENT
    world.crash_at, world.after = crash_at, after
    with pytest.raises(Crash):
        deploy(world)
    world.crash_at = None
    assert deploy(world).status == "InService"
    assert world.state() == straight.state()
    world.calls = []
    deploy(world)
    assert world.changing_calls() == []


@pytest.mark.parametrize("after", [False, True], ids=["before AWS acts", "after AWS has acted"])
@pytest.mark.parametrize("crash_at", range(CALLS_OF_AN_UPDATE))
def test_an_update_cut_off_at_any_call_is_finished_by_the_same_call(world, crash_at, after):
    straight = new_world()
    for one in (straight, world):
        deploy(one)
        one.calls = []
    deploy(straight, model_package_arn=NEWER, scale_in_cooldown=600)
    assert len(straight.calls) == CALLS_OF_AN_UPDATE
    world.crash_at, world.after = crash_at, after
    with pytest.raises(Crash):
        deploy(world, model_package_arn=NEWER, scale_in_cooldown=600)
    world.crash_at = None
    deploy(world, model_package_arn=NEWER, scale_in_cooldown=600)
    assert world.state() == straight.state()


def test_a_new_package_updates_blue_green_and_keeps_the_scaled_count(world):
    old = deploy(world)
    world.calls = []
    new = deploy(world, model_package_arn=NEWER)
    assert world.changing_calls() == ["PutObject", "CreateModel", "CreateEndpointConfig", *UPDATED]
    arguments = world.arguments("UpdateEndpoint")
    assert arguments["RetainAllVariantProperties"] is True
    assert "BlueGreenUpdatePolicy" in arguments["DeploymentConfig"]
    assert new.endpoint_config_name != old.endpoint_config_name
    assert world.endpoints["dogs"]["EndpointConfigName"] == new.endpoint_config_name


@pytest.mark.parametrize(
    "changes, calls",
    [
        ({"max_instances": 5}, ["AddTags", "RegisterScalableTarget"]),
        ({"min_instances": 2}, ["AddTags", "RegisterScalableTarget"]),
        ({"target_invocations_per_instance": 500}, ["AddTags", "PutScalingPolicy"]),
        ({"scale_out_cooldown": 30}, ["AddTags", "PutScalingPolicy"]),
        ({"max_latency_milliseconds": 500}, ["PutMetricAlarm", "AddTags"]),
        ({"canary_percent": 10, "canary_wait_seconds": 60}, ["AddTags"]),
        ({"instance_type": "ml.m5.xlarge"}, ["CreateEndpointConfig", *UPDATED]),
        ({"data_capture_s3_uri": "s3://bucket/captured"}, ["CreateEndpointConfig", *UPDATED]),
        ({"data_capture_s3_uri": "s3://bucket/captured", "data_capture_percent": 0}, ["AddTags"]),
        ({"serving_image": "registry/ray:1"}, ["CreateModel", "CreateEndpointConfig", *UPDATED]),
        ({"tags": {"team": "dogs"}}, ["AddTags"]),
        ({"wait_seconds": 10}, []),
    ],
)
def test_only_what_differs_is_changed(world, changes, calls):
    deploy(world)
    world.calls = []
    deploy(world, **changes)
    assert world.changing_calls() == calls


def test_a_package_that_waits_for_approval_is_no_error_and_changes_nothing(world):
    report = deploy(world, model_package_arn=PENDING)
    assert report.status == "AwaitingApproval"
    assert world.changing_calls() == []
    assert all(isinstance(value, str) for value in report.to_dict().values())


@pytest.mark.parametrize("arn, words", [(REJECTED, "mistakes cats for dogs"), (UNVERSIONED, "no approval status")])
def test_a_package_that_may_not_be_deployed_is_refused_with_the_reason(world, arn, words):
    with pytest.raises(PackageRefused, match=words):
        deploy(world, model_package_arn=arn)
    assert world.changing_calls() == []


def test_an_endpoint_that_fails_is_reported_with_sagemakers_reason_and_replaced_by_the_next_call(world):
    world.fails_with = "The primary container did not pass the ping health check."
    with pytest.raises(EndpointFailed, match="did not pass the ping health check"):
        deploy(world)
    assert world.targets == {}
    world.calls = []
    report = deploy(world)
    assert report.status == "InService"
    assert world.changing_calls() == [
        *("DeleteEndpoint", "CreateEndpoint", "AddTags", "RegisterScalableTarget", "PutScalingPolicy")
    ]


def test_a_failed_update_says_that_the_old_configuration_serves(world):
    old = deploy(world)
    world.fails_with = "New fleet unhealthy"
    with pytest.raises(UpdateRolledBack, match=f"New fleet unhealthy.*{old.endpoint_config_name} still serves"):
        deploy(world, model_package_arn=NEWER)
    assert world.endpoints["dogs"]["EndpointStatus"] == "InService"
    assert world.endpoints["dogs"]["EndpointConfigName"] == old.endpoint_config_name


def test_when_time_runs_out_the_report_says_creating_and_the_next_call_sets_up_scaling(world):
    world.polls = 100
    report = deploy(world, seconds=5)
    assert (report.status, world.targets) == ("Creating", {})
    assert "still Creating" in report.message
    world.endpoints["dogs"]["_polls"] = 1
    world.calls = []
    assert deploy(world).status == "InService"
    assert world.changing_calls() == ["AddTags", "RegisterScalableTarget", "PutScalingPolicy"]


def test_an_update_that_an_earlier_call_began_and_that_fails_is_reported_not_repeated(world):
    deploy(world)
    world.polls = 8
    assert deploy(world, seconds=3, model_package_arn=NEWER).status == "Updating"
    world.fails_with, world.calls = "New fleet unhealthy", []
    with pytest.raises(UpdateRolledBack):
        deploy(world, model_package_arn=NEWER)
    assert world.changing_calls() == []


def test_another_deployment_under_way_is_reported_and_left_alone(world):
    deploy(world)
    world.polls = 100
    deploy(world, seconds=3, model_package_arn=NEWER)
    world.calls = []
    report = deploy(world, seconds=3)
    assert report.status == "Updating"
    assert "by another deployment" in report.message
    assert world.changing_calls() == []


def test_after_another_deployment_has_ended_in_time_this_one_is_made(world):
    deploy(world)
    world.polls = 6
    deploy(world, seconds=2, model_package_arn=NEWER)
    report = deploy(world)
    assert report.status == "InService"
    assert world.endpoints["dogs"]["EndpointConfigName"] == report.endpoint_config_name


def test_a_model_that_another_call_has_just_created_is_used(world, monkeypatch):
    made_meanwhile = world.create_model

    def create_twice(**arguments):
        made_meanwhile(**arguments)
        return made_meanwhile(**arguments)

    monkeypatch.setattr(world, "create_model", create_twice)
    report = deploy(world)
    assert report.status == "InService"
    assert "CreateModel" not in report.changes


def test_an_endpoint_where_only_a_person_can_help_is_left_as_it_is(world):
    deploy(world)
    world.endpoints["dogs"] |= {"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "both fleets unhealthy"}
    with pytest.raises(EndpointFailed, match="UpdateRollbackFailed: both fleets unhealthy"):
        deploy(world)


def test_a_serverless_endpoint_has_memory_and_concurrency_and_no_scaling(world):
    report = deploy(world, instance_type="serverless", serverless_memory_mb=2048, serverless_max_concurrency="4")
    variant = world.configs[report.endpoint_config_name]["ProductionVariants"][0]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 4}
    assert "InitialInstanceCount" not in variant
    assert world.targets == {}
    deploy(world, instance_type="serverless", model_package_arn=NEWER)
    assert "DeploymentConfig" not in world.arguments("UpdateEndpoint")


def test_a_scalable_target_left_by_a_deleted_endpoint_is_taken_from_its_serverless_successor(world):
    deploy(world)
    del world.endpoints["dogs"]
    report = deploy(world, instance_type="serverless")
    assert "DeregisterScalableTarget" in report.changes
    assert world.targets == {}


def test_turning_instances_serverless_is_refused_before_sagemaker_is_asked(world):
    deploy(world)
    with pytest.raises(EndpointFailed, match="cannot turn it serverless"):
        deploy(world, instance_type="serverless")
    assert "UpdateEndpoint" not in world.changing_calls()


def test_another_serving_image_takes_the_packages_archive_and_environment(world):
    report = deploy(world, serving_image="registry/ray:1")
    assert world.models[report.model_name]["PrimaryContainer"] == SERVED | {"Image": "registry/ray:1"}


def test_a_scale_out_slower_than_the_scale_in_is_warned_about(world):
    assert "gives capacity back faster" in deploy(world, scale_out_cooldown=600).message
    assert "Warning" not in deploy(world, scale_out_cooldown=300).message


def test_tags_are_put_on_all_that_is_created(world):
    deploy(world, tags={"team": "dogs"})
    for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        assert {"Key": "team", "Value": "dogs"} in world.arguments(operation)["Tags"]


def test_names_depend_on_content_only_and_fit_sagemakers_limit():
    one = Deployment.from_event(EVENT)
    assert one.model_name == Deployment.from_event(EVENT | {"max_instances": 9}).model_name
    assert one.model_name.startswith("dogs-1-")
    longest = Deployment.from_event(EVENT | {"endpoint_name": "d" * 48, "model_package_arn": PACKAGE + "2345"})
    assert len(longest.model_name) == len(longest.config_name) + 4 == 63
    assert one.model_name != Deployment.from_event(EVENT | {"endpoint_name": "cats"}).model_name


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_package_arn": None}, "model_package_arn is missing"),
        ({"model_package_arn": "pawline-dogs"}, "model_package_arn is 'pawline-dogs'"),
        ({"endpoint_name": "dogs_1"}, "endpoint_name is 'dogs_1'"),
        ({"endpoint_name": "d" * 49}, "endpoint_name is"),
        ({"endpoint_name": "dogs--1"}, "single hyphens"),
        ({"model_role_arn": "pawline"}, "model_role_arn is 'pawline'"),
        ({"instance_type": "m5.large"}, "instance_type is 'm5.large'.*ml.m5.large"),
        ({"min_instances": 0}, "min_instances is 0.*from 1"),
        ({"min_instances": "two"}, "min_instances is 'two'.*number"),
        ({"min_instances": 1.5}, "min_instances is 1.5.*whole"),
        ({"min_instances": True}, "min_instances is True"),
        ({"min_instances": [1]}, r"min_instances is \[1\]"),
        ({"min_instances": 4}, "max_instances is 3, below min_instances 4"),
        ({"target_invocations_per_instance": "nan"}, "target_invocations_per_instance is 'nan'"),
        ({"target_invocations_per_instance": -5}, "target_invocations_per_instance is -5"),
        ({"scale_in_cooldown": ""}, "scale_in_cooldown is missing"),
        ({"data_capture_s3_uri": "/tmp"}, "data_capture_s3_uri is '/tmp'"),
        ({"data_capture_s3_uri": "s3://bucket/x", "instance_type": "serverless"}, "cannot capture data"),
        ({"serverless_memory_mb": 512}, "serverless_memory_mb is 512"),
        ({"serverless_memory_mb": 3000}, "serverless_memory_mb is 3000.*multiple of 1024"),
        ({"canary_percent": 51}, "canary_percent is 51.*to 50"),
        ({"canary_wait_seconds": -1}, "canary_wait_seconds is -1"),
        ({"max_latency_milliseconds": 0}, "max_latency_milliseconds is 0"),
        ({"schedules": []}, "Unknown field 'schedules'"),
        ({"tags": {"deploy:tested": "x"}}, "not for you"),
        ({"tags": {f"key{n}": "" for n in range(16)}}, "room for 15"),
        ({"wait_seconds": 1e6}, "wait_seconds is"),
        ({"tags": "team=dogs"}, "tags is 'team=dogs'"),
        ({"max_instance": 3}, "Unknown field 'max_instance'"),
    ],
)
def test_a_bad_field_is_named_with_what_is_wrong_with_it(changes, words):
    with pytest.raises(InvalidEvent, match=words):
        Deployment.from_event(EVENT | changes)


def test_an_event_that_is_no_object_is_refused():
    with pytest.raises(InvalidEvent, match="not an object"):
        Deployment.from_event([EVENT])


def test_the_first_looks_come_fast_and_later_ones_every_five_seconds():
    now, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    backoff = Backoff(60.0, sleep=sleep, clock=lambda: now[0])
    while backoff.pause():
        pass
    assert pauses[0] == 0.2
    assert max(pauses) == 5.0
    assert sum(pauses) == pytest.approx(60.0)


@pytest.mark.parametrize(
    "status, move",
    [
        ("InService", "done"),
        ("Creating", "wait"),
        ("Updating", "wait"),
        ("SystemUpdating", "wait"),
        ("RollingBack", "wait"),
        ("Deleting", "wait"),
        ("Failed", "delete"),
    ],
)
def test_each_endpoint_status_has_one_next_move(status, move):
    assert next_move({"EndpointName": "dogs", "EndpointStatus": status, "EndpointConfigName": "c"}, "c") == move


def approved_package(sagemaker) -> str:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="models/run/output/model.tar.gz", Body=ARCHIVE)
    sagemaker.create_model_package_group(ModelPackageGroupName="pawline-dogs")
    return sagemaker.create_model_package(
        ModelPackageGroupName="pawline-dogs",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [CONTAINER],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]


@mock_aws
def test_the_handler_deploys_through_boto3_and_a_second_call_changes_nothing(deploy_handler, context, monkeypatch):
    monkeypatch.setenv("RELEASES_URI", RELEASES)
    event = EVENT | {"model_package_arn": approved_package(boto3.client("sagemaker"))}
    first = deploy_handler.lambda_handler(event, context)
    assert first["status"] == "InService"
    assert first["changes"].split(",") == ALL_CREATED
    json.dumps(first)
    second = deploy_handler.lambda_handler(event, context)
    assert (second["status"], second["changes"]) == ("InService", "")
    scaling = boto3.client("application-autoscaling")
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=RESOURCE)["ScalingPolicies"]
    assert policies[0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 300.0


def test_a_call_that_aws_refuses_fails_the_step_with_the_call_and_the_reason(deploy_handler, context, monkeypatch):
    class NoRights:
        def describe_model_package(self, **_):
            raise refused("DescribeModelPackage", "not authorized", "AccessDeniedException")

    monkeypatch.setattr(deploy_handler, "clients", lambda: Clients(NoRights(), None, None, None, None, RELEASES))
    with pytest.raises(CallRefused, match="DescribeModelPackage was refused.*lacks this permission"):
        deploy_handler.lambda_handler(EVENT, context)


def test_the_handler_waits_no_longer_than_the_function_may_run(deploy_handler, context, world, monkeypatch):
    world.polls = 10**6
    monkeypatch.setattr(deploy_handler, "clients", lambda: clients_of(world))
    monkeypatch.setattr(deploy_handler, "FINISHING_SECONDS", 29.5)
    assert deploy_handler.lambda_handler(EVENT, context)["status"] == "Creating"
    assert context.get_remaining_time_in_millis() > 28_000
