"""Deleting an endpoint with all that was made for it."""

import pytest
from deletion import Deletion
from deploy_support import ALARMS, EVENT, NEWER, clients_of, delete_all, deploy, new_world
from events import STATE_CHANGE
from failures import InvalidEvent
from fake_sagemaker import Crash, World

CALLS_OF_A_DELETION = 15


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture
def full() -> World:
    """An endpoint with two models, and neighbours whose names begin with its own."""
    world = new_world()
    deploy(world)
    deploy(world, model_package_arn=NEWER)
    for name in ("dogs-2", "dogs-staging"):
        deploy(world, endpoint_name=name)
    world.calls = []
    return world


def test_deleting_takes_all_that_was_made_and_says_so(full):
    report = delete_all(full)
    assert report.status == "Deleted"
    assert "DeregisterScalableTarget,DeleteEndpoint,DeleteAlarms" in report.changes
    assert report.message.count("model dogs-") == report.message.count("configuration dogs-") == 2
    assert all(name in report.message for name in ALARMS)
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
