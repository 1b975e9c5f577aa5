"""A state.db that was damaged is made again, with all that was committed."""

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from sagelocal.core import journal, lifecycle, recovery, snapshots
from sagelocal.core.json import Json
from sagelocal.core.snapshots import Damaged, Snapshots
from sagelocal.core.store import Kind, Store
from tests.waiting import is_gone, until

THING = Kind[Json]("thing", status="Status", parent="Parent")
PAGE = 4096


def thing(number: int, **more) -> Json:
    """Of 100 bytes to three pages."""
    text = random.Random(number).randbytes(random.Random(number).choice((30, 500, 600, 5000))).hex()
    return {"CreationTime": 1000.0 + number, "LastModifiedTime": 1000.0 + number, "Text": text, **more}


def everything(state_dir: Path) -> dict[str, Json]:
    store = Store(state_dir / "state.db")
    try:
        return dict(store.items(THING))
    finally:
        store.close()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Json]]:
    """A state directory as a server leaves it that is killed, two snapshots and some changes after it began; and what
    it holds."""
    state_dir = tmp_path_factory.mktemp("used") / "state"
    store, kept = Store(state_dir / "state.db"), Snapshots(state_dir)
    kept.start()
    store.listen(kept.journal.note)
    for part in range(3):
        for number in range(100 * part, 100 * part + 100):
            store.insert(THING, f"t{number}", thing(number))
        for number in range(0, 100 * part, 7):
            store.update(THING, f"t{number}", {"Status": f"changed {part}", "LastModifiedTime": 2000.0 + part})
        store.delete(THING, f"t{100 * part + 1}")
        with store.transaction():
            store.delete(THING, "t2")
            store.insert(THING, "t2", thing(2, Status=f"made anew {part}"))
        if part < 2:
            kept._ended = -float("inf")
            kept.tend()
    with closing(sqlite3.connect(state_dir / "state.db")) as other:
        other.execute("PRAGMA wal_checkpoint")  # a part of it is in the database, a part in its log
    for number in range(300, 330):
        store.insert(THING, f"t{number}", thing(number))
    left = shutil.copytree(state_dir, state_dir.with_name("left"))
    held = dict(store.items(THING))
    store.close()
    kept.end()
    return left, held


@pytest.fixture
def state_dir(used: tuple[Path, dict[str, Json]], tmp_path: Path) -> Path:
    return shutil.copytree(used[0], tmp_path / "state")


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def noise(seed: int, size: int = PAGE) -> bytes:
    return random.Random(seed).randbytes(size)


def checkpointed(state_dir: Path) -> int:
    """Bring all that is in the log into the database; its size."""
    with closing(sqlite3.connect(state_dir / "state.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (state_dir / "state.db").stat().st_size


@pytest.mark.parametrize(
    ("content", "place"),
    [("noise", place) for place in range(20)]
    + [(content, place) for content in ("zeros", "another page", "one bit") for place in (0, 3, 7, 11, 15, 19)],
)
def test_nothing_is_lost_with_any_page_of_the_database(state_dir, used, content, place):
    size = checkpointed(state_dir)
    database = state_dir / "state.db"
    pages = size // PAGE
    at = place * pages // 20 * PAGE
    data = database.read_bytes()
    page = {
        "noise": noise(place),
        "zeros": bytes(PAGE),
        "another page": data[(at // PAGE + pages // 2) % pages * PAGE :][:PAGE],
        "one bit": bytes(
            byte ^ (8 if index == 100 + 150 * place else 0) for index, byte in enumerate(data[at:][:PAGE])
        ),
    }[content]
    overwrite(database, at, page)
    said = recovery.make_sound(state_dir)
    assert everything(state_dir) == used[1]
    if content == "noise":
        assert said.startswith("state.db was damaged (") and "made again from the snapshot of" in said
        assert len(list(state_dir.glob("damaged/*/state.db"))) == 1


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut within a page": lambda path: os.truncate(path, path.stat().st_size - 1000),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "noise": lambda path: path.write_bytes(noise(1, path.stat().st_size)),
    "text": lambda path: path.write_text("hello"),
    "begins with noise": lambda path: overwrite(path, 0, noise(2, 3 * PAGE)),
    "ends with noise": lambda path: overwrite(path, path.stat().st_size - PAGE, noise(3, 3 * PAGE)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("names", [["state.db"], ["state.db-wal"], ["state.db", "state.db-wal"]], ids="+".join)
def test_nothing_is_lost_with_the_database_or_its_log_or_both(state_dir, used, names, damage):
    for name in names:
        DAMAGES[damage](state_dir / name)
    recovery.make_sound(state_dir)
    assert everything(state_dir) == used[1]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_older_snapshot_does_where_the_newest_is_damaged_too(state_dir, used, damage):
    newest, older = snapshots.newest(state_dir / "snapshots")
    DAMAGES[damage](newest)
    DAMAGES[damage](state_dir / "state.db")
    said = recovery.make_sound(state_dir)
    assert f"the snapshot of {snapshots.moment(older.stem):%Y-%m-%d %H:%M:%S}" in said
    assert everything(state_dir) == used[1]


def test_without_snapshots_and_journal_the_sound_pages_are_salvaged(state_dir, used):
    for folder in ("snapshots", "journal"):
        shutil.rmtree(state_dir / folder)
    checkpointed(state_dir)
    overwrite(state_dir / "state.db", 0, noise(4))
    overwrite(state_dir / "state.db", 20 * PAGE, noise(5))
    assert "document(s) found in the damaged file" in recovery.make_sound(state_dir)
    found, held = everything(state_dir), used[1]
    assert len(held.keys() - found.keys()) < 10
    assert all(found[name] == held[name] for name in found.keys() & held.keys())


def test_what_only_the_damaged_file_has_is_salvaged(state_dir, used):
    """The journal could not be written for a while."""
    checkpointed(state_dir)
    store = Store(state_dir / "state.db")
    store.update(THING, "t9", {"Status": "last", "LastModifiedTime": 3000.0})
    store.insert(THING, "new", {"Text": "new"})
    store.close()
    overwrite(state_dir / "state.db", 0, noise(6))
    recovery.make_sound(state_dir)
    found = everything(state_dir)
    assert found.pop("new") == {"Text": "new"}
    assert found == used[1] | {"t9": used[1]["t9"] | {"Status": "last", "LastModifiedTime": 3000.0}}


def test_nothing_is_begun_anew_where_nothing_is_found(tmp_path):
    (tmp_path / "state.db").write_bytes(noise(7, 10 * PAGE))
    with pytest.raises(recovery.Unrecoverable, match="was left as it is"):
        recovery.make_sound(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == noise(7, 10 * PAGE)


def test_a_sound_state_stays_as_it_is_and_says_nothing(state_dir, used, tmp_path):
    assert recovery.make_sound(state_dir) is None
    assert everything(state_dir) == used[1]
    assert recovery.make_sound(tmp_path / "new") is None
    assert not (state_dir / "damaged").exists()


def test_after_a_clean_stop_documents_are_looked_at_only_where_the_file_changed(state_dir):
    checkpointed(state_dir)
    recovery.note_clean_stop(state_dir)
    database = state_dir / "state.db"
    at = database.read_bytes().index(b'"Text": "') + 20  # SQLite itself does not see a letter that changed
    overwrite(database, at, b"XX")
    assert "is not what was written" in recovery.make_sound(state_dir)


def test_a_snapshot_of_a_damaged_database_is_not_kept_and_the_next_start_makes_it_sound(state_dir, used):
    size = checkpointed(state_dir)
    kept, before = Snapshots(state_dir), snapshots.newest(state_dir / "snapshots")
    overwrite(state_dir / "state.db", size // 2 // PAGE * PAGE, noise(8))
    kept.start()
    with pytest.raises(Damaged, match="Start the server anew"):
        kept.tend()
    kept.journal.close()
    assert snapshots.newest(state_dir / "snapshots") == before
    recovery.make_sound(state_dir)
    assert everything(state_dir) == used[1]


def test_the_newest_three_snapshots_and_one_of_each_day_of_a_week_are_kept(tmp_path):
    now = snapshots.datetime.now(snapshots.UTC)
    for hours in range(0, 24 * 10, 5):
        moment = now - snapshots.timedelta(hours=hours)
        (tmp_path / f"{moment.strftime(snapshots.NAME)}.db").touch()
    snapshots.prune(tmp_path)
    left = [path.stem for path in snapshots.newest(tmp_path)]
    days = {stem[:8] for stem in left}
    assert len(left[:3]) == 3 and left[0] == now.strftime(snapshots.NAME)
    assert 7 <= len(days) <= 8 and len(left) <= len(days) + 3


def test_a_snapshot_has_what_was_committed_while_a_writer_goes_on(state_dir):
    """And the journal of its name has what was committed after it, also where the clock was set back."""
    store, kept = Store(state_dir / "state.db"), Snapshots(state_dir)
    (state_dir / "journal" / f"99991231T000000.000000Z{journal.SUFFIX}").touch()
    kept.start()
    store.listen(kept.journal.note)
    store.insert(THING, "before", {})
    kept.tend()
    store.insert(THING, "after", {})
    store.close()
    newest = snapshots.newest(state_dir / "snapshots")[0]
    assert newest.stem.startswith("99991231")
    with closing(sqlite3.connect(newest)) as snapshot:
        names = {name for (name,) in snapshot.execute("SELECT name FROM document")}
    assert "before" in names and "after" not in names
    noted = [change.name for commit in journal.read(state_dir / "journal", newest.stem) for change in commit.changes]
    assert noted == ["after"]
    kept.journal.close()


def test_a_journal_that_cannot_be_written_fails_no_commit_and_is_not_taken_for_whole(state_dir):
    store, kept = Store(state_dir / "state.db"), Snapshots(state_dir)
    kept.start()
    store.listen(kept.journal.note)
    store.insert(THING, "noted", {})
    with (state_dir / "state.db").open() as unwritable:
        os.dup2(unwritable.fileno(), kept.journal._file)
    store.insert(THING, "not noted", {})
    store.delete(THING, "noted")
    store.close()
    assert journal.has_gap(state_dir / "journal")
    assert recovery.make_sound(state_dir) is None
    found = everything(state_dir)
    assert "not noted" in found and "noted" not in found


@pytest.fixture
def served(tmp_path: Path):
    """The directory of a server that ends with the test."""
    yield tmp_path / "state"
    lifecycle.stop(tmp_path / "state")


def test_a_server_that_was_killed_starts_with_all_it_had_although_its_database_was_overwritten(served, capfd):
    first = lifecycle.ensure(served)
    s3 = boto3.client("s3", endpoint_url=first.url)
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="dog", Body=b"wow", ContentType="image/jpeg", Metadata={"breed": "collie"})
    until(lambda: snapshots.newest(served / "snapshots"))
    boto3.client("sagemaker", endpoint_url=first.url).create_model_package_group(ModelPackageGroupName="late")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: is_gone(first.pid))
    for path in served.glob("state.db*"):
        path.write_bytes(noise(9, 10 * PAGE))
    second = lifecycle.ensure(served)
    assert "state.db was damaged" in capfd.readouterr().err
    head = boto3.client("s3", endpoint_url=second.url).head_object(Bucket="kept", Key="dog")
    assert head["ContentType"] == "image/jpeg" and head["Metadata"] == {"breed": "collie"}
    groups = boto3.client("sagemaker", endpoint_url=second.url).list_model_package_groups()
    assert [group["ModelPackageGroupName"] for group in groups["ModelPackageGroupSummaryList"]] == ["late"]
