"""Objects as files: every key is findable, none leads out of its bucket."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.services.s3 import objects, pages, tree

ODD_KEYS = ["a", "a/b", "a/", "a.txt", "../x", "/abs", "a//b", "a%b", "a%", "a/b/c", "x/../../y", ".", "é", "a-b/c"]
ODD_KEYS += ["//", "//z", "a/%2E", "a/%", "nul\0l", "..", "a b+c"]


@pytest.fixture
def bucket(context: Context) -> str:
    objects.create_bucket(context, "odd")
    return "s3://odd/"


def test_keys_that_no_path_could_hold_are_kept_listed_and_read_back(context: Context, bucket: str):
    for key in ODD_KEYS:
        objects.write_bytes(context, bucket + key, key.encode())
    assert objects.keys(context, bucket) == sorted(ODD_KEYS)
    assert [objects.read_bytes(context, bucket + key).decode() for key in ODD_KEYS] == ODD_KEYS
    inside = context.state_dir / "s3" / "odd"
    assert all(objects.path(context, bucket + key).resolve().is_relative_to(inside) for key in ODD_KEYS)
    for prefix in ("a", "a/", "/", "//", "..", "x/", "a/b"):
        assert objects.keys(context, bucket + prefix) == sorted(key for key in ODD_KEYS if key.startswith(prefix))


def test_a_bucket_whose_objects_are_gone_has_no_directories_left(context: Context, bucket: str):
    for key in ODD_KEYS:
        objects.write_bytes(context, bucket + key, b"x")
    for key in ODD_KEYS:
        assert tree.remove(context, "odd", key)
    assert list((context.state_dir / "s3" / "odd").iterdir()) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab/.%\0é", min_size=1, max_size=8), min_size=1, max_size=8, unique=True))
def test_any_set_of_keys_lists_in_the_order_of_s3_from_any_point(context: Context, bucket: str, some: list[str]):
    for key in some:
        objects.write_bytes(context, bucket + key, key.encode())
    try:
        for after in ["", *some]:
            listed = pages.page(context, "odd", pages.Asked("", after=after), 1000)
            assert [name.decode() for name, *_ in listed] == sorted(key for key in some if key > after)
        assert all(objects.read_bytes(context, bucket + key) == key.encode() for key in some)
    finally:
        for key in some:
            tree.remove(context, "odd", key)


def test_an_object_that_is_replaced_leaves_earlier_links_as_they_were(context: Context, bucket: str, tmp_path: Path):
    objects.write_bytes(context, bucket + "data", b"first")
    objects.link_in(context, bucket + "data", tmp_path / "job" / "data")
    objects.write_bytes(context, bucket + "data", b"second")
    assert (tmp_path / "job" / "data").read_bytes() == b"first"
    assert objects.read_bytes(context, bucket + "data") == b"second"


def test_a_stored_file_is_linked_and_read_only(context: Context, bucket: str, tmp_path: Path):
    (tmp_path / "model.tar.gz").write_bytes(b"weights")
    objects.store_file(context, bucket + "model.tar.gz", tmp_path / "model.tar.gz")
    stored = objects.path(context, bucket + "model.tar.gz")
    assert os.path.samefile(stored, tmp_path / "model.tar.gz")
    assert stored.stat().st_mode & 0o777 == 0o400


def test_a_stored_symlink_becomes_the_file_it_points_to(context: Context, bucket: str, tmp_path: Path):
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    objects.store_file(context, bucket + "linked", tmp_path / "link")
    assert not objects.path(context, bucket + "linked").is_symlink()


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 64, "Upper", "under_score", "-a-", "a-", ".ab", "a..b", "192.168.0.1", "1.2.3.4", "999.999.999.999"]
    + ["xn--a", "sthree-a", "sthree-configurator-a", "amzn-s3-demo-bucket", "a-s3alias", "a--ol-s3", "a.mrap"]
    + ["a--use1-az4--x-s3", "a--table-s3", "a b", "a\nb", "aé9", "..", "a/b", ""],
)
def test_a_bucket_has_no_name_that_s3_would_refuse(context: Context, name: str):
    with pytest.raises(tree.InvalidBucketName):
        objects.create_bucket(context, name)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "1.2.3", "1.2.3.4.5", "a.b-c.9", "192.168.0.1a", "xn-a", "s3alias"])
def test_a_bucket_may_have_any_other_name(context: Context, name: str):
    objects.create_bucket(context, name)
    assert tree.existing_bucket(context, name).is_dir()


def test_what_is_missing_is_named(context: Context, bucket: str):
    with pytest.raises(objects.NoSuchKey, match="s3://odd/nothing"):
        objects.read_bytes(context, bucket + "nothing")
    with pytest.raises(objects.NoSuchBucket, match="no-such-bucket"):
        objects.keys(context, "s3://no-such-bucket/x")
    with pytest.raises(ValidationException, match="file:///etc"):
        objects.parse_uri("file:///etc")
    with pytest.raises(objects.KeyTooLong):
        objects.write_bytes(context, bucket + "x" * 1025, b"")
    with pytest.raises(tree.InvalidBucketName):
        objects.create_bucket(context, "../outside")
    assert not objects.exists(context, "s3://no-such-bucket/x")
