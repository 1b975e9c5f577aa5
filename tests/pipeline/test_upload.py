"""Uploads to the embedded S3 under content-addressed keys."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline import bundle, content, definition, functions, settings, upload
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


def body(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def stored_by_somebody(s3, key: str, content: bytes, how: dict) -> None:
    """Another object of the same size under a key that is made from content."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=content[:-1] + b"!", **how)


@pytest.mark.parametrize("how", [{}, {"ChecksumAlgorithm": "SHA256"}], ids=["without a hash", "with its own hash"])
@pytest.mark.parametrize("name", ["sourcedir.tar.gz", "src/train.py", "src/breeds/data/manifest.py"])
def test_code_that_somebody_overwrote_is_put_right_before_a_job_reads_it(s3, account, name, how):
    prefix = upload.upload_code(s3, account).removeprefix(f"s3://{BUCKET}/")
    right = body(s3, prefix + name)
    stored_by_somebody(s3, prefix + name, right, how)
    upload.upload_code(s3, account)
    assert body(s3, prefix + name) == right


def test_a_file_that_somebody_put_among_the_code_is_named_and_not_run(s3, account, tmp_path):
    (tmp_path / "train.py").write_text("print('alone')")
    code = bundle.read(tmp_path)
    prefix = upload.upload_code(s3, account, code).removeprefix(f"s3://{BUCKET}/")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}src/json.py", Body=b"evil")
    with pytest.raises(UserError, match=r"src/json\.py is not ours"):
        upload.upload_code(s3, account, code)


def test_a_functions_zip_that_somebody_overwrote_is_put_right(s3, account):
    packed = functions.packages(account)
    functions.upload(s3, account, packed)
    before = {each.key: s3.head_object(Bucket=BUCKET, Key=each.key)["LastModified"] for each in packed}
    stored_by_somebody(s3, packed[0].key, packed[0].content, {})
    functions.upload(s3, account, packed)
    assert all(body(s3, each.key) == each.content for each in packed)
    assert all(s3.head_object(Bucket=BUCKET, Key=e.key)["LastModified"] == before[e.key] for e in packed[1:])


def test_a_photo_of_a_folder_that_somebody_overwrote_is_put_right_and_one_that_was_added_is_named(
    s3, account, tmp_path
):
    prefix = upload.upload_data(s3, account, str(make_folder(tmp_path / "dogs"))).removeprefix(f"s3://{BUCKET}/")
    right = (tmp_path / "dogs" / "a" / "1.jpg").read_bytes()
    stored_by_somebody(s3, f"{prefix}a/1.jpg", right, {})
    upload.upload_data(s3, account, str(tmp_path / "dogs"))
    assert body(s3, f"{prefix}a/1.jpg") == right
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}a/cat.jpg", Body=b"x")
    with pytest.raises(UserError, match=r"a/cat\.jpg is not ours"):
        upload.upload_data(s3, account, str(tmp_path / "dogs"))


@pytest.mark.parametrize("size", [0, 5, content.PART - 1, content.PART, 2 * content.PART + 3])
def test_a_file_of_any_size_is_sent_once_and_again_where_another_one_is_there(s3, tmp_path, size):
    path, key, sent = tmp_path / "file", f"sizes/{size}", []
    path.write_bytes(b"ab" * (size // 2) + b"c" * (size % 2))
    for _ in range(2):
        content.put_file(s3, BUCKET, key, path, sent.append)
    assert sum(sent) == size
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"x" * size + b"!")
    content.put_file(s3, BUCKET, key, path, sent.append)
    assert sum(sent) == 2 * size
    assert body(s3, key) == path.read_bytes()


class OverwrittenMeanwhile:
    """An S3 in which somebody replaces each file as soon as it was uploaded."""

    def __init__(self, s3):
        self.head_object, self._s3 = s3.head_object, s3

    def upload_file(self, name, bucket, key, **how):
        self._s3.upload_file(name, bucket, key, **how)
        self._s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def test_a_file_that_is_replaced_while_it_is_sent_is_not_taken_for_ours(s3, tmp_path):
    (tmp_path / "file").write_bytes(b"ours")
    with pytest.raises(UserError, match="is not what"):
        content.put_file(OverwrittenMeanwhile(s3), BUCKET, "replaced", tmp_path / "file")
