"""Scaling beyond target tracking, and deleting an endpoint with all that was made for it."""

import pytest
from deletion import Deletion
from deploy_support import ALARMS, EVENT, NEWER, RESOURCE, clients_of, delete_all, deploy, new_world
from events import STATE_CHANGE
from failures import InvalidEvent
from fake_sagemaker import Crash, World

MORNING = {"schedule": "cron(0 8 ? * MON-FRI *)", "min": 2, "max": 6}
EVENING = {"schedule": "cron(0 20 ? * MON-FRI *)", "min": 1, "max": 3}
STEPS = {"scaling_policy": "step", "scaling_steps": [{"above": 0, "add": 1}, {"above": 300, "add": 3}]}
CALLS_OF_STEPS, CALLS_OF_A_DELETION = 28, 15


@pytest.fixture
def world() -> World:
    return new_world()


def test_steps_scale_by_two_policies_that_alarms_set_off(world):
    deploy(world, **STEPS)
    assert set(world.policies) == {"dogs-scale-out", "dogs-scale-in"}
    out = world.policies["dogs-scale-out"]["StepScalingPolicyConfiguration"]
    assert out["Cooldown"] == 60
    assert out["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 300.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 300.0, "ScalingAdjustment": 3},
    ]
    alarm = world.alarms["dogs-scale-out"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("InvocationsPerInstance", "Sum", 300)
    assert alarm["AlarmActions"] == [world.policies["dogs-scale-out"]["PolicyARN"]]
    back = world.alarms["dogs-scale-in"]
    assert (back["ComparisonOperator"], back["Threshold"]) == ("LessThanThreshold", 150)
    assert back["TreatMissingData"] == "breaching"  # without requests there is no metric
    world.calls = []
    deploy(world, **STEPS)
    assert world.changing_calls() == []


def test_changing_to_steps_and_back_leaves_nothing_of_the_other(world):
    deploy(world)
    tracking = world.state()
    deploy(world, **STEPS)
    assert "dogs-invocations-per-instance" not in world.policies
    deploy(world)
    assert (world.state()["policies"], world.state()["alarms"]) == (tracking["policies"], tracking["alarms"])


@pytest.mark.parametrize("after", [False, True], ids=["before AWS acts", "after AWS has acted"])
@pytest.mark.parametrize("crash_at", range(CALLS_OF_STEPS))
def test_steps_cut_off_at_any_call_are_finished_by_the_same_call(world, crash_at, after):
    straight = new_world()
    deploy(straight, **STEPS, schedules=[MORNING])
    assert len(straight.calls) == CALLS_OF_STEPS
    world.crash_at, world.after = crash_at, after
    with pytest.raises(Crash):
        deploy(world, **STEPS, schedules=[MORNING])
    world.crash_at = None
    deploy(world, **STEPS, schedules=[MORNING])
    assert world.state() == straight.state()


def test_schedules_are_made_changed_and_taken_away_and_those_of_others_stay(world):
    theirs = {"ScheduledActionName": "theirs", "ResourceId": RESOURCE}
    world.schedules["theirs"] = theirs
    deploy(world, schedules=[MORNING, EVENING])
    made = {each["Schedule"]: each["ScalableTargetAction"] for each in world.schedules.values() if each is not theirs}
    assert made == {
        MORNING["schedule"]: {"MinCapacity": 2, "MaxCapacity": 6},
        EVENING["schedule"]: {"MinCapacity": 1, "MaxCapacity": 3},
    }
    world.calls = []
    deploy(world, schedules=[EVENING, MORNING | {"max": 9}])
    assert sorted(world.changing_calls()) == ["AddTags", "DeleteScheduledAction", "PutScheduledAction"]
    deploy(world)
    assert world.schedules == {"theirs": theirs}


def test_bounds_that_a_schedule_has_set_are_not_put_back_by_the_next_call(world):
    deploy(world, schedules=[MORNING, EVENING])
    world.targets[RESOURCE] |= {"MinCapacity": 2, "MaxCapacity": 6}
    world.calls = []
    deploy(world, schedules=[MORNING, EVENING])
    assert world.changing_calls() == []
    deploy(world)
    assert world.targets[RESOURCE]["MaxCapacity"] == 3


# Deleting


@pytest.fixture
def full() -> World:
    """An endpoint with two models, steps and a schedule, and neighbours whose names begin with its own."""
    world = new_world()
    deploy(world, **STEPS, schedules=[MORNING])
    deploy(world, **STEPS, schedules=[MORNING], model_package_arn=NEWER)
    for name in ("dogs-2", "dogs-staging"):
        deploy(world, endpoint_name=name)
    world.calls = []
    return world


def test_deleting_takes_all_that_was_made_and_says_so(full):
    report = delete_all(full)
    assert report.status == "Deleted"
    assert "DeregisterScalableTarget,DeleteEndpoint,DeleteAlarms" in report.changes
    assert report.message.count("model dogs-") == report.message.count("configuration dogs-") == 2
    assert all(name in report.message for name in [*ALARMS, "dogs-scale-in"])
    neighbours = new_world()
    for name in ("dogs-2", "dogs-staging"):
        deploy(neighbours, endpoint_name=name)
    assert full.state() == neighbours.state()
    full.calls = []
    again = delete_all(full)
    assert (again.status, again.changes, full.changing_calls()) == ("Deleted", "", [])


@pytest.mark.parametrize("after", [False, True], ids=["before AWS acts", "after AWS has acted"])
@pytest.mark.parametrize("crash_at", range(CALLS_OF_A_DELETION))
def test_a_deletion_cut_off_at_any_call_is_finished_by_the_same_call(world, crash_at, after):
    straight = new_world()
    for one in (straight, world):
        deploy(one)
        deploy(one, model_package_arn=NEWER)
        one.calls = []
    delete_all(straight)
    assert len(straight.calls) == CALLS_OF_A_DELETION
    world.crash_at, world.after = crash_at, after
    with pytest.raises(Crash):
        delete_all(world)
    world.crash_at = None
    assert delete_all(world).status == "Deleted"
    assert world.state() == new_world().state()


def test_an_endpoint_that_is_being_changed_is_deleted_when_that_has_ended(world):
    world.polls = 8
    deploy(world, seconds=3)
    assert delete_all(world).status == "Deleted"
    assert world.state() == new_world().state()


def test_when_time_runs_out_the_next_deletion_goes_on(world):
    deploy(world)
    world.polls = 20
    report = delete_all(world, seconds=5)
    assert (report.status, "Delete it again" in report.message) == ("Deleting", True)
    assert world.configs
    assert delete_all(world).status == "Deleted"
    assert world.state() == new_world().state()


@pytest.mark.parametrize(
    "event, words",
    [
        ({"action": "remove", "endpoint_name": "dogs"}, "action is .remove.*delete or champion"),
        ({"action": "delete"}, "endpoint_name is None"),
        ({"action": "delete", "endpoint_name": "dogs", "force": True}, "Unknown field 'force'"),
        ({"action": "delete", "endpoint_name": "dogs", "wait_seconds": "long"}, "wait_seconds is 'long'"),
    ],
)
def test_a_bad_wish_to_delete_is_refused_with_what_is_wrong_with_it(event, words):
    with pytest.raises(InvalidEvent, match=words):
        Deletion.from_event(event)


def test_the_handler_deletes_and_takes_events(deploy_handler, context, world, monkeypatch):
    monkeypatch.setattr(deploy_handler, "clients", lambda: clients_of(world))
    world.polls = 1
    assert deploy_handler.lambda_handler(EVENT, context)["status"] == "InService"
    event = {"detail-type": STATE_CHANGE, "detail": {"EndpointName": "dogs", "EndpointStatus": "IN_SERVICE"}}
    assert deploy_handler.lambda_handler(event, context)["changes"] == ""
    assert deploy_handler.lambda_handler({"action": "delete", "endpoint_name": "dogs"}, context)["status"] == "Deleted"
