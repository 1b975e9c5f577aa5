"""The deploy function's answer to who the champion is."""

import pytest
from botocore.exceptions import ClientError
from champion import Search, find
from deploy_support import GROUP, clients_of
from failures import InvalidEvent
from fake_sagemaker import World, refused

CANDIDATE = "s3://bucket/models/new/output/model.tar.gz"
EVENT = {"action": "champion", "model_package_group": "pawline-dogs", "candidate": CANDIDATE}


def archive(name: str) -> str:
    return f"s3://bucket/models/{name}/output/model.tar.gz"


def world_of(*packages: tuple[str, str], missing: tuple[str, ...] = ()) -> World:
    """(approval, archive's name) of versions 1, 2, …; the archives are there but for the missing ones."""
    made = {
        f"{GROUP}/{version}": {
            "ModelApprovalStatus": approval,
            "InferenceSpecification": {"Containers": [{"Image": "image:1", "ModelDataUrl": archive(name)}]},
        }
        for version, (approval, name) in enumerate(packages, 1)
    }
    world = World(made)
    for _, name in packages:
        if name not in missing:
            world.objects["bucket", archive(name).removeprefix("s3://bucket/")] = b"a model"
    return world


def champion_of(world: World):
    return find(Search.from_event(EVENT), clients_of(world))


def test_it_is_the_newest_approved_one():
    found = champion_of(
        world_of(("Approved", "a"), ("Approved", "b"), ("Rejected", "c"), ("PendingManualApproval", "d"))
    )
    assert (found.model_data, found.model_package_arn) == (archive("b"), f"{GROUP}/2")


def test_the_candidate_itself_is_passed_over_so_that_a_repeated_run_asks_for_the_same_evaluation():
    before = champion_of(world_of(("Approved", "a")))
    after = champion_of(world_of(("Approved", "a"), ("Approved", "new"), ("Approved", "new")))
    assert before.model_data == after.model_data == archive("a")


def test_where_there_is_none_the_candidate_stands_in():
    for world in (world_of(), world_of(("Approved", "new")), world_of(("Rejected", "a"))):
        found = champion_of(world)
        assert (found.model_data, found.model_package_arn) == (CANDIDATE, "")
        assert "no other approved model" in found.message


def test_one_whose_archive_is_gone_is_passed_over_and_counted():
    found = champion_of(world_of(("Approved", "a"), ("Approved", "b"), missing=("b",)))
    assert found.model_data == archive("a")
    assert "archives of 1 newer ones are gone" in found.message


def test_many_packages_are_read_page_by_page():
    world = world_of(("Approved", "a"), *[("Approved", "new")] * 5)
    assert champion_of(world).model_data == archive("a")
    assert [name for name, _ in world.calls].count("ListModelPackages") > 1


def test_nothing_is_changed():
    world = world_of(("Approved", "a"))
    champion_of(world)
    assert world.changing_calls() == []


def test_a_call_that_is_refused_is_not_taken_for_no_champion():
    world = world_of(("Approved", "a"))
    world.list_model_packages = lambda **_: (_ for _ in ()).throw(
        refused("ListModelPackages", "not authorized", "AccessDeniedException")
    )
    with pytest.raises(ClientError, match="not authorized"):
        champion_of(world)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"candidate": "https://bucket/model.tar.gz"}, "candidate is"),
        ({"candidate": None}, "candidate is None"),
        ({"model_package_group": "no group"}, "model_package_group is 'no group'"),
        ({"endpoint_name": "dogs"}, "Unknown field 'endpoint_name'"),
    ],
)
def test_an_event_that_is_none_is_refused_with_the_field(changes, reason):
    with pytest.raises(InvalidEvent, match=reason):
        Search.from_event(EVENT | changes)


def test_the_handler_answers_with_text_alone(deploy_handler, context, monkeypatch):
    monkeypatch.setattr(deploy_handler, "clients", lambda: clients_of(world_of(("Approved", "a"))))
    answer = deploy_handler.lambda_handler(EVENT, context)
    assert answer == {
        "model_data": archive("a"),
        "model_package_arn": f"{GROUP}/1",
        "message": f"The champion is {GROUP}/1.",
    }
