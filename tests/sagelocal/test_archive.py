"""An account becomes one file, and the file an account."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import boto3
import pytest

from sagelocal.core import archive, lifecycle
from sagelocal.core.json import Json
from sagelocal.core.store import Kind, Store
from tests.sagelocal.lambda_functions import packed
from tests.sagelocal.test_cli import refused, sagelocal

THING = Kind[Json]("thing")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The archive of an account without a server."""
    state_dir = tmp_path / "small"
    store = Store(state_dir / "state.db")
    store.insert(THING, "one", {"Path": f"{state_dir}/lambda/f", "Text": "1"})
    store.close()
    (state_dir / "s3" / "bucket").mkdir(parents=True)
    (state_dir / "s3" / "bucket" / "key").write_text("text")
    archive.save(state_dir, tmp_path / "small.tar")
    return tmp_path / "small.tar"


def test_an_account_is_the_same_in_another_directory(tmp_path):
    first = lifecycle.ensure(tmp_path / "first" / ".sagelocal")

    def client(service: str, server: lifecycle.Running = first):
        return boto3.client(service, endpoint_url=server.url, region_name="us-east-1")

    (tmp_path / "second").mkdir()
    try:
        client("s3").create_bucket(Bucket="empty")
        client("s3").create_bucket(Bucket="kept")
        client("s3").put_object(Bucket="kept", Key="a/dog", Body=b"wow", ContentType="image/jpeg", Metadata={"b": "c"})
        upload = {"Bucket": "kept", "Key": "parts"}
        number = client("s3").create_multipart_upload(**upload)["UploadId"]
        part = client("s3").upload_part(**upload, UploadId=number, PartNumber=1, Body=b"x" * 100)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        etag = client("s3").complete_multipart_upload(**upload, UploadId=number, MultipartUpload=parts)["ETag"]
        client("lambda").create_function(
            FunctionName="greet",
            Role="arn:aws:iam::123456789012:role/lambda",
            Runtime="python3.12",
            Handler="app.handler",
            Code={"ZipFile": packed({"app.py": "def handler(event, context): return 'hello'"})},
        )
        made = json.loads(sagelocal(tmp_path / "first", "snapshot", "--json").stdout)
        assert Path(made["path"]).stat().st_size == made["bytes"]
        assert Path(made["path"]).stat().st_mode & 0o777 == 0o600
    finally:
        lifecycle.stop(tmp_path / "first" / ".sagelocal")
    (tmp_path / "first" / ".sagelocal").rename(tmp_path / "away")
    assert "is the account of" in sagelocal(tmp_path / "second", "restore", made["path"]).stdout
    second = lifecycle.ensure(tmp_path / "second" / ".sagelocal")
    try:
        s3 = client("s3", second)
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["empty", "kept"]
        dog = s3.get_object(Bucket="kept", Key="a/dog")
        assert (dog["Body"].read(), dog["ContentType"], dog["Metadata"]) == (b"wow", "image/jpeg", {"b": "c"})
        assert s3.head_object(**upload)["ETag"] == etag
        assert json.load(client("lambda", second).invoke(FunctionName="greet")["Payload"]) == "hello"
    finally:
        lifecycle.stop(tmp_path / "second" / ".sagelocal")


def test_without_a_server_too_and_paths_in_documents_are_corrected(small, tmp_path):
    archive.restore(small, tmp_path / "new")
    store = Store(tmp_path / "new" / "state.db")
    assert store.get(THING, "one") == {"Path": f"{tmp_path}/new/lambda/f", "Text": "1"}
    store.close()
    assert (tmp_path / "new" / "s3" / "bucket" / "key").read_text() == "text"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["s3", "server.lock", "state.db"]


def test_a_state_that_is_there_is_not_replaced(small, tmp_path):
    done = sagelocal(tmp_path, "restore", "small.tar", "--state-dir", "small")
    refused(done, "has a state already", "Choose another --state-dir")


def member(name: str, **more: object) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        one = tarfile.TarInfo(name)
        for key, value in more.items():
            setattr(one, key, value)
        tar.addfile(one)
    return made.getvalue()


BAD = {
    "no tar": lambda good: b"hello" * 1000,
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "cut off between two members": lambda good: good[: good.index(b"s3/bucket/key") // 512 * 512],
    "damaged": lambda good: good.replace(b'"Text": "1"', b'"Text": "2"'),
    "another tar": lambda good: member("state.db"),
    "a path above": lambda good: member("../evil"),
    "a full path": lambda good: member("/evil"),
    "a link": lambda good: member("s3/link", type=tarfile.SYMTYPE, linkname="/etc"),
    "not of an account": lambda good: member(archive.ABOUT),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_whole_archive_is_refused_and_nothing_is_left_of_it(small, tmp_path, bad):
    small.write_bytes(BAD[bad](small.read_bytes()))
    with pytest.raises(archive.BadArchive, match="archive of an account"):
        archive.restore(small, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["server.lock"]


def test_the_command_says_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "photos.tar").write_bytes(b"no tar" * 1000)
    refused(sagelocal(tmp_path, "restore", "photos.tar"), "no whole archive of an account", "Give what")
    refused(sagelocal(tmp_path, "restore", "gone.tar"), "There is no file gone.tar", "Give what")


@pytest.mark.parametrize(
    ("path", "why"), [("small.tar", "there already"), ("gone/x.tar", "cannot be"), ("small/s3/x.tar", "cannot be")]
)
def test_a_snapshot_is_written_only_where_nothing_is(small, tmp_path, path, why):
    refused(sagelocal(tmp_path, "snapshot", path, "--state-dir", "small"), why)


def test_a_disk_without_room_for_a_snapshot_is_named_and_nothing_is_left_there(small, tmp_path):
    (tmp_path / "disk").mkdir()
    limited = 'ulimit -f 4; exec "$@"'  # blocks of 1 or of half a KiB: less than any state.db
    command = ["bash", "-c", limited, "bash", sys.executable, "-m", "sagelocal", "snapshot", "disk/x.tar"]
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    words = [*command, "--state-dir", "small"]
    done = subprocess.run(words, cwd=tmp_path, env=uncovered, capture_output=True, text=True)  # coverage writes more
    refused(done, "x.tar was not written: ", "give another path")
    assert os.listdir(tmp_path / "disk") == []


def test_there_is_no_snapshot_of_nothing(tmp_path):
    refused(sagelocal(tmp_path, "snapshot"), "There is no state in")
