"""A state directory that an earlier version left as .embedded becomes .sagelocal, once."""

import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from sagelocal.core import lifecycle, lock, takeover
from tests.sagelocal.lambda_functions import packed


@pytest.fixture
def state_dir(tmp_path: Path):
    yield tmp_path / ".sagelocal"
    lifecycle.stop(tmp_path / ".sagelocal")


@pytest.fixture
def earlier(state_dir: Path) -> Path:
    """What an earlier version left: a bucket and a function, and paths that name the directory as it was then."""
    running = lifecycle.ensure(state_dir)
    s3 = boto3.client("s3", endpoint_url=running.url)
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="a", Body=b"b")
    boto3.client("lambda", endpoint_url=running.url).create_function(
        FunctionName="greet",
        Role="arn:aws:iam::123456789012:role/lambda",
        Runtime="python3.12",
        Handler="app.handler",
        Code={"ZipFile": packed({"app.py": "def handler(event, context): return 'hello'"})},
    )
    lifecycle.stop(state_dir)
    old = state_dir.rename(state_dir.with_name(".embedded"))
    with closing(sqlite3.connect(old / "state.db")) as database, database:
        database.execute("CREATE TABLE documents (kind TEXT, name TEXT, created REAL, body TEXT)")
        database.execute(
            "INSERT INTO documents SELECT kind, name, created, replace(body, ?, '/where/it/was/.embedded/') "
            "FROM document",
            (f"{state_dir}/",),
        )
        moved = "SELECT count(*) FROM documents WHERE body LIKE '%/where/it/was/%'"
        assert database.execute(moved).fetchone() == (1,)
        database.execute("DROP TABLE document")
        database.execute("PRAGMA user_version=1")
    return old


def test_it_is_taken_over_once_and_said_and_all_of_it_still_works(earlier, state_dir, capfd):
    running = lifecycle.ensure(state_dir)
    assert f"{earlier} was taken over: its state is in {state_dir} now." in capfd.readouterr().err
    assert not earlier.exists()
    s3 = boto3.client("s3", endpoint_url=running.url)
    assert s3.get_object(Bucket="kept", Key="a")["Body"].read() == b"b"
    answer = boto3.client("lambda", endpoint_url=running.url).invoke(FunctionName="greet")
    assert json.load(answer["Payload"]) == "hello"
    lifecycle.stop(state_dir)
    lifecycle.ensure(state_dir)
    assert "taken over" not in capfd.readouterr().err


def test_commands_at_the_same_time_take_it_over_together(earlier, state_dir):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: lifecycle.ensure(state_dir), range(4)))) == 1
    assert not earlier.exists()


def test_not_while_its_server_still_runs(earlier, state_dir, monkeypatch):
    monkeypatch.setattr(takeover, "PATIENCE", 0.0)
    (earlier / "server.json").write_text('{"url": "http://127.0.0.1:1", "pid": 4711}')
    held = lock.hold(earlier)
    with pytest.raises(lifecycle.CannotStart, match=r"still runs in .*\.embedded\. Stop it first: kill 4711"):
        lifecycle.ensure(state_dir)
    os.close(held)
    assert earlier.exists() and not state_dir.exists()


def test_not_over_a_state_that_is_there(earlier, state_dir):
    lifecycle.ensure(state_dir)
    lifecycle.stop(state_dir)
    earlier.mkdir()
    (earlier / "state.db").write_bytes(b"")
    lifecycle.ensure(state_dir)
    assert (earlier / "state.db").exists()
