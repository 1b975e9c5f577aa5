"""Uploads to the embedded S3 under content-addressed keys."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline import bundle, definition, settings, upload
from pipeline.errors import UserError

BUCKET = "uploads"


@pytest.fixture(scope="module")
def s3(client):
    client("s3").create_bucket(Bucket=BUCKET)
    return client("s3")


@pytest.fixture
def account() -> settings.Settings:
    return replace(settings.from_environment({}), bucket=BUCKET)


def keys(s3, prefix: str) -> dict[str, object]:
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix.removeprefix(f"s3://{BUCKET}/"))
    return {entry["Key"]: entry["LastModified"] for entry in listed.get("Contents", [])}


def make_zip(path: Path, text: str = "a") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("train/a/1.jpg"), text)
    return path


def make_folder(path: Path) -> Path:
    (path / "a").mkdir(parents=True)
    for index in range(3):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(path / "a" / f"{index}.jpg")
    return path


def test_the_same_archive_under_another_path_has_the_same_address_and_is_not_sent_again(s3, account, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    first = upload.upload_data(s3, account, str(make_zip(tmp_path / "dogs.zip")))
    before = keys(s3, first)
    assert upload.upload_data(s3, account, str(make_zip(tmp_path / "elsewhere" / "dogs.zip"))) == first
    assert keys(s3, first) == before
    assert len(before) == 1


def test_another_archive_has_another_address(s3, account, tmp_path):
    first = upload.upload_data(s3, account, str(make_zip(tmp_path / "dogs.zip")))
    assert upload.upload_data(s3, account, str(make_zip(tmp_path / "dogs.zip", "b"))) != first


def test_a_folder_is_uploaded_file_by_file_and_completed_after_an_interruption(s3, account, tmp_path):
    folder = make_folder(tmp_path / "photos")
    prefix = upload.upload_data(s3, account, str(folder))
    found = keys(s3, prefix)
    assert {key.rpartition("/")[2] for key in found} == {"0.jpg", "1.jpg", "2.jpg"}
    lost = sorted(found)[1]
    s3.delete_object(Bucket=BUCKET, Key=lost)
    assert upload.upload_data(s3, account, str(folder)) == prefix
    assert set(keys(s3, prefix)) == set(found)


def test_the_bundle_is_there_as_files_and_as_an_archive(s3, account):
    prefix = upload.upload_code(s3, account)
    found = {key.removeprefix(prefix.removeprefix(f"s3://{BUCKET}/")) for key in keys(s3, prefix)}
    assert {"sourcedir.tar.gz", "src/train.py", "src/breeds/data/manifest.py", "src/endpoint/requirements.txt"} <= found
    assert not [key for key in found if "__pycache__" in key]


def test_code_that_was_read_once_is_what_is_uploaded_and_what_the_definition_names(s3, account, tmp_path):
    (tmp_path / "train.py").write_text("print(1)")
    code = bundle.read(tmp_path)
    (tmp_path / "train.py").write_text("print(2)")
    prefix = upload.upload_code(s3, account, code)
    uploaded = s3.get_object(Bucket=BUCKET, Key=f"{prefix.removeprefix(f's3://{BUCKET}/')}src/train.py")
    assert uploaded["Body"].read() == b"print(1)"
    assert f"{prefix}src/" in definition.definition(account, code)


def test_the_cache_of_prepare_holds_an_object_before_the_first_run_and_loses_nothing_later(s3, account):
    upload.upload_code(s3, account)
    (readme,) = keys(s3, account.prepare_cache_uri)
    assert readme.endswith("/cache/prepare/README.txt")
    found_out = readme.replace("README.txt", "1-256px-100000000/whole-0123456789abcdef.txt")
    s3.put_object(Bucket=BUCKET, Key=found_out, Body=b"")
    upload.upload_code(s3, account)
    assert set(keys(s3, account.prepare_cache_uri)) == {readme, found_out}


def test_a_bundle_of_the_same_files_is_the_same_to_the_byte():
    first, second = bundle.read(), bundle.read()
    assert first.sha256 == second.sha256
    assert first.archive() == second.archive()


def test_a_changed_byte_changes_the_bundles_address(tmp_path):
    (tmp_path / "train.py").write_text("print(1)")
    before = bundle.read(tmp_path).sha256
    (tmp_path / "train.py").write_text("print(2)")
    assert bundle.read(tmp_path).sha256 != before


def test_random_weights_are_a_note_of_the_seed(s3, account):
    prefix = upload.upload_weights(s3, account, "random", "resnet18")
    assert [key.rpartition("/")[2] for key in keys(s3, prefix)] == ["random.json"]


def test_a_state_dict_is_uploaded_once(s3, account, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "net.pth")
    prefix = upload.upload_weights(s3, account, str(tmp_path / "net.pth"), "resnet18")
    before = keys(s3, prefix)
    assert upload.upload_weights(s3, account, str(tmp_path / "net.pth"), "resnet18") == prefix
    assert keys(s3, prefix) == before


def test_an_s3_prefix_is_taken_as_it_is_if_something_lies_there(s3, account):
    s3.put_object(Bucket=BUCKET, Key="theirs/dogs.zip", Body=b"x")
    assert upload.upload_data(s3, account, f"s3://{BUCKET}/theirs/") == f"s3://{BUCKET}/theirs/"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: str(path / "nothing.zip"), "There is no data at"),
        (lambda path: str(path / "text.zip"), "neither a zip nor a tar"),
        (lambda path: str(path / "notes"), "holds no photos"),
        (lambda path: f"s3://{BUCKET}/nowhere/", "There is nothing at"),
        (lambda path: "s3://no-such-bucket/dogs/", "cannot be read"),
        (lambda path: "https://127.0.0.1:1/dogs.zip", "could not be fetched"),
    ],
)
def test_what_cannot_be_a_data_set_is_refused(s3, account, tmp_path, make, message):
    (tmp_path / "text.zip").write_text("not an archive")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(UserError, match=message):
        upload.upload_data(s3, account, make(tmp_path))


def test_a_file_that_torch_did_not_write_is_no_weights(s3, account, tmp_path):
    (tmp_path / "net.pth").write_text("<html>")
    with pytest.raises(UserError, match=r"not a file that torch\.save wrote"):
        upload.upload_weights(s3, account, str(tmp_path / "net.pth"), "resnet18")
