"""What is served is what was evaluated, from where no job can write."""

import hashlib
import json
import os

import boto3
import pytest
from calls import Calls, Clients
from champion import Search, find
from deploy_support import ARCHIVE, CONTAINER, NEWER, PACKAGE, RELEASES, SHA256, clients_of, deploy, new_world
from failures import PackageRefused
from fake_sagemaker import World
from release import release

SOURCE = ("bucket", "models/run/output/model.tar.gz")
COPY = ("bucket", f"releases/1/{SHA256}/model.tar.gz")
LARGE = 20 << 20  # three parts of an upload


@pytest.fixture
def world() -> World:
    return new_world()


def registered(world: World, **environment: str) -> None:
    container = CONTAINER | {"Environment": environment}
    world.packages[PACKAGE] = world.packages[PACKAGE] | {"InferenceSpecification": {"Containers": [container]}}


def test_an_archive_that_changed_after_its_evaluation_is_refused_before_anything_is_made(world):
    world.objects[SOURCE] = b"another model"
    with pytest.raises(PackageRefused, match=f"not the archive that was evaluated.*{SHA256} was registered"):
        deploy(world)
    assert world.changing_calls() == [] and COPY not in world.objects


def test_a_change_of_the_archive_after_the_first_deployment_changes_nothing_that_serves(world):
    deploy(world)
    world.objects[SOURCE] = b"another model"
    deploy(world, instance_type="ml.m5.xlarge")
    assert world.objects[COPY] == ARCHIVE


def test_an_archive_that_is_gone_is_said_so_and_not_needed_once_it_was_copied(world):
    deploy(world)
    archive = world.objects.pop(SOURCE)
    assert deploy(world, serving_image="registry/ray:1").status == "InService"
    del world.objects[COPY]
    with pytest.raises(PackageRefused, match="model.tar.gz is gone"):
        deploy(world, serving_image="registry/ray:2")
    world.objects[SOURCE] = archive
    assert deploy(world, serving_image="registry/ray:2").status == "InService"


@pytest.mark.parametrize("digest", [None, "", "../../code", "0a"])
def test_a_package_without_the_hash_is_refused_with_what_to_register(world, digest):
    registered(world, **({} if digest is None else {"MODEL_SHA256": digest}))
    with pytest.raises(PackageRefused, match="does not say which archive was evaluated.*MODEL_SHA256="):
        deploy(world)
    assert world.changing_calls() == []


def test_a_hash_in_capital_letters_is_the_same_hash(world):
    registered(world, MODEL_SHA256=SHA256.upper())
    assert deploy(world).status == "InService"
    assert COPY in world.objects


def test_the_version_number_of_a_group_that_was_made_anew_does_not_bring_the_old_model_back(world):
    deploy(world)
    new = hashlib.sha256(b"new").hexdigest()
    world.objects[SOURCE] = b"new"
    registered(world, MODEL_SHA256=new)
    world.models.clear()
    deploy(world)
    assert world.objects["bucket", f"releases/1/{new}/model.tar.gz"] == b"new"


def test_the_champion_is_read_where_it_serves_from(world):
    deploy(world, model_package_arn=NEWER)
    search = Search(model_package_group="pawline-dogs", candidate="s3://bucket/models/new/output/model.tar.gz")
    assert find(search, clients_of(world)).model_data == f"{RELEASES}/2/{SHA256}/model.tar.gz"


@pytest.fixture(scope="module")
def s3(server):
    client = boto3.client("s3", endpoint_url=server.url)
    client.create_bucket(Bucket="large")
    return client


def release_of(s3, content: bytes, digest: str, to: str) -> str:
    """Release a model package whose archive has that content."""
    s3.put_object(Bucket="large", Key="models/a/model.tar.gz", Body=content)
    container = {"ModelDataUrl": "s3://large/models/a/model.tar.gz", "Environment": {"MODEL_SHA256": digest}}
    package = {"ModelPackageArn": PACKAGE, "InferenceSpecification": {"Containers": [container]}}
    return release(package, Calls(Clients(None, None, None, s3, None, f"s3://large/{to}"), None))


@pytest.mark.parametrize("size", [0, 1, 8 << 20, LARGE + 7])
def test_archives_of_all_sizes_are_copied_to_the_byte(s3, size):
    content = os.urandom(size)
    uri = release_of(s3, content, hashlib.sha256(content).hexdigest(), "releases")
    assert s3.get_object(Bucket="large", Key=uri.removeprefix("s3://large/"))["Body"].read() == content


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_of_a_wrong_archive_nothing_is_left_not_even_a_part(s3, size):
    with pytest.raises(PackageRefused, match="not the archive that was evaluated"):
        release_of(s3, os.urandom(size), "0" * 64, "wrong")
    assert "Contents" not in s3.list_objects_v2(Bucket="large", Prefix="wrong/")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="large")


def test_the_reason_fits_the_answer_of_a_lambda_step(world):
    world.objects[SOURCE] = b"another model"
    with pytest.raises(PackageRefused) as refused:
        deploy(world)
    assert len(json.dumps(str(refused.value))) < 1000
