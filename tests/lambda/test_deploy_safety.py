"""What keeps a bad model from serving: canary and alarms, the smoke test, the way back, and the state event."""

import pytest
from botocore.exceptions import ReadTimeoutError
from deploy_support import ALARMS, EVENT, NEWER, PACKAGE, PENDING, RESOURCE, clients_of, deploy, new_world, state_event
from deployment import Deployment
from failures import SmokeTestFailed, UpdateRolledBack
from fake_sagemaker import Crash, World, refused
from record import Record

LONG_PREFIX = "s3://bucket/" + "captured%(old)/" * 30  # more than one tag holds, and no letters alone
CAREFULLY = {"canary_percent": 10, "canary_wait_seconds": 120}
CALLS_OF_A_REFUSED_UPDATE = 23


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture
def bad() -> World:
    """A world where the first package serves, and the newer one's model takes beagles for pugs."""
    world = new_world()
    world.breeds[NEWER] = "pug"
    deploy(world)
    world.calls = []
    return world


def served(world: World) -> str:
    """The model package behind the endpoint."""
    config = world.configs[world.endpoints["dogs"]["EndpointConfigName"]]
    model = world.models[config["ProductionVariants"][0]["ModelName"]]
    return model["PrimaryContainer"]["Environment"]["MODEL_PACKAGE_ARN"]


def smoke_tests(world: World) -> int:
    return sum(name == "InvokeEndpoint" for name, _ in world.calls)


# Canary and alarms


def test_a_canary_takes_its_share_for_its_time_and_the_alarms_can_bring_the_old_fleet_back(world):
    deploy(world, **CAREFULLY, min_instances=2)
    deploy(world, **CAREFULLY, min_instances=2, model_package_arn=NEWER)
    config = world.arguments("UpdateEndpoint")["DeploymentConfig"]
    assert config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        "WaitIntervalInSeconds": 120,
    }
    assert config["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] == 120
    assert config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] > 240
    assert [alarm["AlarmName"] for alarm in config["AutoRollbackConfiguration"]["Alarms"]] == ALARMS


def test_a_single_instance_has_no_canary_but_the_old_one_is_kept_for_as_long(world):
    deploy(world, **CAREFULLY)
    deploy(world, **CAREFULLY, model_package_arn=NEWER)
    policy = world.arguments("UpdateEndpoint")["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert policy["TerminationWaitInSeconds"] == 240


def test_without_a_canary_an_update_waits_for_nothing(world):
    deploy(world)
    deploy(world, model_package_arn=NEWER)
    policy = world.arguments("UpdateEndpoint")["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy == {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
    }


def test_the_alarms_watch_errors_and_latency_and_are_there_before_the_endpoint(world):
    deploy(world, max_latency_milliseconds=500)
    operations = world.changing_calls()
    assert operations.index("CreateEndpoint") > max(i for i, name in enumerate(operations) if name == "PutMetricAlarm")
    metrics = {alarm["MetricName"]: alarm for alarm in world.alarms.values()}
    assert set(metrics) == {"Invocation5XXErrors", "InvocationModelErrors", "ModelLatency"}
    assert metrics["ModelLatency"]["Threshold"] == 500_000  # microseconds
    assert {alarm["TreatMissingData"] for alarm in metrics.values()} == {"notBreaching"}
    dimensions = {d["Name"]: d["Value"] for d in metrics["ModelLatency"]["Dimensions"]}
    assert dimensions == {"EndpointName": "dogs", "VariantName": "AllTraffic"}


def test_an_alarm_that_goes_off_during_the_canary_leaves_the_old_model_serving(world):
    deploy(world, **CAREFULLY, min_instances=2)
    world.fails_with = "One or more alarms were breached: dogs-5xx"
    with pytest.raises(UpdateRolledBack, match="dogs-5xx.*still serves"):
        deploy(world, **CAREFULLY, min_instances=2, model_package_arn=NEWER)
    assert served(world) == PACKAGE
    assert world.endpoints["dogs"]["EndpointStatus"] == "InService"


def test_an_alarm_that_the_old_model_has_tripped_does_not_stop_the_one_that_mends_it(world):
    deploy(world)
    world.alarms["dogs-5xx"]["StateValue"] = "ALARM"
    deploy(world, model_package_arn=NEWER)
    alarms = world.arguments("UpdateEndpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [alarm["AlarmName"] for alarm in alarms] == ALARMS[1:]


# The smoke test


def test_the_photo_of_the_evaluation_is_sent_once_and_its_verdict_remembered(world):
    report = deploy(world)
    assert "smoke test was passed: beagle (0.90)" in report.message
    assert world.arguments("InvokeEndpoint")["Body"] == b"a JPEG"
    assert world.arguments("InvokeEndpoint")["ContentType"] == "image/jpeg"
    assert world.tags()["deploy:tested"] == report.endpoint_config_name
    world.calls = []
    deploy(world)
    assert smoke_tests(world) == 0


def test_a_model_that_does_not_know_the_dog_is_taken_back_and_the_old_one_serves_again(bad):
    old = bad.endpoints["dogs"]["EndpointConfigName"]
    with pytest.raises(SmokeTestFailed, match=f"took a photo of beagle for pug.*{old} serves again"):
        deploy(bad, model_package_arn=NEWER)
    assert served(bad) == PACKAGE
    updates = [arguments for name, arguments in bad.calls if name == "UpdateEndpoint"]
    assert [update["RetainAllVariantProperties"] for update in updates] == [True, True]


def test_a_refused_model_is_refused_again_without_touching_the_endpoint(bad):
    for _ in range(2):
        with pytest.raises(SmokeTestFailed):
            deploy(bad, model_package_arn=NEWER)
    bad.calls = []
    with pytest.raises(SmokeTestFailed, match=f"{NEWER} failed: it took a photo of beagle for pug.*take the tag"):
        deploy(bad, model_package_arn=NEWER)
    assert (bad.changing_calls(), smoke_tests(bad), served(bad)) == ([], 0, PACKAGE)


def test_a_refused_model_is_tried_again_when_its_tag_is_taken_off(bad):
    with pytest.raises(SmokeTestFailed):
        deploy(bad, model_package_arn=NEWER)
    del bad.breeds[NEWER], bad.endpoints["dogs"]["_tags"]["deploy:refused"]
    assert deploy(bad, model_package_arn=NEWER).status == "InService"
    assert served(bad) == NEWER


def test_after_a_refused_model_the_old_one_is_deployed_as_if_nothing_had_been(bad):
    with pytest.raises(SmokeTestFailed):
        deploy(bad, model_package_arn=NEWER)
    bad.calls = []
    assert deploy(bad).status == "InService"
    assert bad.changing_calls() == ["AddTags"]
    assert smoke_tests(bad) == 0


@pytest.mark.parametrize("after", [False, True], ids=["before AWS acts", "after AWS has acted"])
@pytest.mark.parametrize("crash_at", range(CALLS_OF_A_REFUSED_UPDATE))
def test_a_refused_update_cut_off_at_any_call_ends_with_the_old_model_by_the_same_call(bad, crash_at, after):
    straight = new_world()
    straight.breeds = bad.breeds
    deploy(straight)
    straight.calls = []
    with pytest.raises(SmokeTestFailed):
        deploy(straight, model_package_arn=NEWER)
    assert len(straight.calls) == CALLS_OF_A_REFUSED_UPDATE
    bad.crash_at, bad.after = crash_at, after
    with pytest.raises(Crash):
        deploy(bad, model_package_arn=NEWER)
    bad.crash_at = None
    with pytest.raises(SmokeTestFailed):
        deploy(bad, model_package_arn=NEWER)
    assert bad.state() == straight.state()


def test_a_first_model_that_fails_stays_to_be_looked_into_but_never_counts_as_in_service(world):
    world.breeds[PACKAGE] = "pug"
    for _ in range(2):
        with pytest.raises(SmokeTestFailed, match="nothing to go back to"):
            deploy(world)
    assert "dogs" in world.endpoints
    assert world.targets == {}
    assert smoke_tests(world) == 1
    assert deploy(world, model_package_arn=NEWER).status == "InService"
    assert RESOURCE in world.targets


def test_when_time_runs_out_on_the_way_back_the_next_call_waits_for_it(bad):
    bad.polls = 8
    with pytest.raises(SmokeTestFailed, match="is being put back"):
        deploy(bad, seconds=13, model_package_arn=NEWER)
    assert bad.endpoints["dogs"]["EndpointStatus"] == "Updating"
    with pytest.raises(SmokeTestFailed):
        deploy(bad, model_package_arn=NEWER)
    assert served(bad) == PACKAGE


def test_the_way_back_leads_past_a_model_that_was_never_tested(bad):
    good = bad.endpoints["dogs"]["EndpointConfigName"]
    untested = {"model_package_arn": NEWER, "instance_type": "ml.m5.xlarge"}
    bad.polls = 8
    assert deploy(bad, seconds=5, **untested).status == "Updating"
    bad.endpoints["dogs"]["_polls"] = 1
    bad.polls = 2
    with pytest.raises(SmokeTestFailed):
        deploy(bad, model_package_arn=NEWER)
    assert bad.endpoints["dogs"]["EndpointConfigName"] == good


def test_a_previous_configuration_that_is_gone_is_said_to_be_gone(bad):
    del bad.configs[bad.endpoints["dogs"]["EndpointConfigName"]]
    with pytest.raises(SmokeTestFailed, match="is gone, so the refused one still serves"):
        deploy(bad, model_package_arn=NEWER)


@pytest.mark.parametrize(
    "error, words",
    [
        (refused("InvokeEndpoint", "Received server error (500)", "ModelError"), r"server error \(500\)"),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1"), "no answer in time"),
    ],
)
def test_a_model_that_fails_to_answer_is_asked_three_times_and_refused(bad, error, words):
    bad.breeds[NEWER] = error
    with pytest.raises(SmokeTestFailed, match=words):
        deploy(bad, model_package_arn=NEWER)
    assert smoke_tests(bad) == 3
    assert served(bad) == PACKAGE


def test_a_call_that_aws_refuses_is_no_verdict_on_the_model(bad):
    bad.breeds[NEWER] = refused("InvokeEndpoint", "not authorized", "AccessDeniedException")
    with pytest.raises(type(bad.breeds[NEWER]), match="not authorized"):
        deploy(bad, model_package_arn=NEWER)
    assert served(bad) == NEWER
    bad.breeds[NEWER] = "beagle"
    assert deploy(bad, model_package_arn=NEWER).status == "InService"


@pytest.mark.parametrize(
    "evaluation, words",
    [
        (None, "cannot be read (NoSuchKey)"),
        (b'{"pawline": {}}', "names no photo"),
        (b"accuracy: 0.9", "names no photo"),
        (b'{"smoke_test": {"file": "../other/smoke.jpg", "breed": "beagle"}}', "names no photo"),
        (b'{"smoke_test": {"file": "gone.jpg", "breed": "beagle"}}', "gone.jpg cannot be read"),
    ],
)
def test_a_package_without_a_photo_is_deployed_untested_and_the_report_says_why(world, evaluation, words):
    key = ("bucket", "runs/1/evaluation/evaluation.json")
    world.objects.pop(key)
    if evaluation is not None:
        world.objects[key] = evaluation
    report = deploy(world)
    assert report.status == "InService"
    assert "There was no smoke test" in report.message
    assert words in report.message
    assert smoke_tests(world) == 0


# What is remembered


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data_capture_s3_uri": LONG_PREFIX, "scale_in_cooldown": 86_400, "target_invocations_per_instance": "0.5"},
        {"serving_image": "registry.example/ray:1@sha256", "data_capture_s3_uri": "s3://bucket/captured"},
        {"model_role_arn": "arn:aws:iam::123456789012:role/a,b=c", "tags": {"team": "dogs"}, **CAREFULLY},
        {"instance_type": "serverless", "serverless_memory_mb": 2048},
    ],
)
def test_the_wishes_come_back_from_the_tags_as_they_were(world, changes):
    deploy(world, **changes)
    record = Record.of(world.describe_endpoint("dogs"), clients_of(world))
    assert record.deployment("dogs") == Deployment.from_event(EVENT | changes)


def test_a_wish_that_is_the_default_again_comes_back_as_the_default(world):
    deploy(world, data_capture_s3_uri=LONG_PREFIX, max_latency_milliseconds=100)
    deploy(world)
    record = Record.of(world.describe_endpoint("dogs"), clients_of(world))
    assert record.deployment("dogs") == Deployment.from_event(EVENT)


# The state event


def test_the_event_finishes_what_a_call_could_not_wait_for(world):
    world.polls = 100
    assert deploy(world, seconds=5, max_instances=7).status == "Creating"
    world.endpoints["dogs"]["_polls"] = 1
    world.calls = []
    report = state_event(world)
    assert report.status == "InService"
    assert world.changing_calls() == ["AddTags", "RegisterScalableTarget", "PutScalingPolicy"]
    assert world.targets[RESOURCE]["MaxCapacity"] == 7
    world.calls = []
    assert state_event(world).changes == ""
    assert world.changing_calls() == []


def test_the_event_of_a_bad_model_puts_the_old_one_back_and_its_own_event_ends_there(bad):
    bad.polls = 8
    assert deploy(bad, seconds=5, model_package_arn=NEWER).status == "Updating"
    bad.endpoints["dogs"]["_polls"] = 1
    with pytest.raises(SmokeTestFailed, match="serves again"):
        state_event(bad)
    bad.calls = []
    report = state_event(bad)
    assert (report.status, bad.changing_calls(), served(bad)) == ("Ignored", [], PACKAGE)
    assert "was refused: it took a photo of beagle for pug" in report.message


def test_the_event_does_not_begin_an_update_again_that_was_rolled_back(world):
    deploy(world)
    world.fails_with = "New fleet unhealthy"
    with pytest.raises(UpdateRolledBack):
        deploy(world, model_package_arn=NEWER)
    world.calls = []
    assert state_event(world).status == "Ignored"
    assert world.changing_calls() == []


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "FAILED", "ROLLING_BACK", "DELETING"])
def test_only_an_endpoint_in_service_is_finished(world, status):
    assert state_event(world, status).status == "Ignored"
    assert world.calls == []


def test_an_endpoint_that_somebody_else_made_is_left_alone(world):
    deploy(world)
    world.endpoints["dogs"]["_tags"] = {"team": "cats"}
    world.calls = []
    assert "did not make it" in state_event(world).message
    assert "no longer in service" in state_event(world, name="gone").message
    assert world.changing_calls() == []


def test_a_package_whose_approval_was_taken_back_is_not_finished(world):
    deploy(world)
    world.packages[PACKAGE] = world.packages[PENDING] | {"ModelApprovalStatus": "Rejected"}
    world.calls = []
    assert state_event(world).status == "Ignored"
    assert world.changing_calls() == []


def test_a_bad_first_model_is_left_alone_by_the_events_of_its_endpoint(world):
    world.breeds[PACKAGE] = "pug"
    with pytest.raises(SmokeTestFailed):
        deploy(world)
    world.calls = []
    assert state_event(world).status == "Ignored"
    assert world.changing_calls() == []
