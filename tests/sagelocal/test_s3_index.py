"""Pages of keys: the same as a look at all keys would give, whatever happened to the folders or to the index."""

import os
import random
import sqlite3
import time
from pathlib import Path

import pytest

from sagelocal.core.context import Context
from sagelocal.services.s3 import folders, objects, pages, rows, tree
from sagelocal.services.s3.index import index

PIECES = ["a", "b", "/", "/", "//", "a/", ".", "..", "%", "é", "\U0001f415", "\0", "-", "0", "x" * 250]
SECOND = 1_000_000_000


@pytest.fixture
def bucket(context: Context) -> Path:
    objects.create_bucket(context, "keys")
    return context.state_dir / "s3" / "keys"


def put(context: Context, *keys: str) -> None:
    for key in keys:
        objects.write_bytes(context, f"s3://keys/{key}", key.encode())


def shown(context: Context, prefix: str = "", delimiter: str = "", after: str = "", count: int = 1000) -> list[str]:
    found = pages.page(context, "keys", pages.Asked(prefix, delimiter, after), count)
    return [key.decode() for key, *_ in found]


def reference(keys: set[str], prefix: str, delimiter: str, after: str, again: bool) -> list[str]:
    found: list[str] = []
    for key in sorted(keys):
        asked = pages.Asked(prefix, delimiter, after, again)
        common = asked.common(key)
        listed_before = again and common and common == asked.common(after)
        if key > after and key.startswith(prefix) and not listed_before and (common or key) not in found[-1:]:
            found.append(common or key)
    return found


def aged(path: Path) -> None:
    """Make the times of a bucket's directories older than a tick of the file system's clock."""
    for number, (directory, _, _) in enumerate(os.walk(path)):
        moment = time.time_ns() - SECOND - number
        os.utime(directory, ns=(moment, moment))


@pytest.mark.parametrize("seed", range(4))
def test_any_page_of_any_keys_is_what_a_look_at_all_keys_gives(
    context: Context, bucket: Path, seed: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "FEW_FOLDERS", seed)
    monkeypatch.setattr(pages, "FEW_OBJECTS", seed)
    draw = random.Random(seed)
    keys: set[str] = set()

    def some() -> str:
        return "".join(draw.choices(PIECES, k=draw.randint(1, 5)))

    for _ in range(60):
        if draw.random() < 0.3 and keys:
            gone = draw.choice(sorted(keys))
            keys.discard(gone)
            assert tree.remove(context, "keys", gone)
        keys.add(key := some())
        put(context, key)
        for _ in range(6):
            prefix, after = (draw.choice(["", some(), draw.choice(sorted(keys))[: draw.randint(0, 6)]]) for _ in "12")
            delimiter, again = draw.choice(["", "/", "/", "a/", "é"]), draw.random() < 0.5
            asked = pages.Asked(prefix, delimiter, after, again)
            count = draw.randint(1, 8)
            page = pages.page(context, "keys", asked, count)
            listed = [key.decode() for key, *_ in page]
            assert listed == reference(keys, prefix, delimiter, after, again)[:count], asked
    assert pages.keys(context, "keys") == sorted(keys)


@pytest.mark.parametrize("delimiter", ["", "/", "b"])
def test_files_that_come_and_go_behind_the_server_are_seen_at_the_next_look(
    context: Context, bucket: Path, delimiter: str
):
    put(context, "a/b/1", "a/b/2", "c/1", "d")
    keys = {"a/b/1", "a/b/2", "c/1", "d"}

    def is_right() -> bool:
        return all(
            shown(context, prefix, delimiter) == reference(keys, prefix, delimiter, "", False)
            for prefix in ("", "a/", "a/b/", "c/", "n/")
        )

    assert is_right()
    (bucket / "n").mkdir()
    (bucket / "n" / "new").write_text("copied in")
    (bucket / "a" / "b" / "3").write_text("copied in")
    keys |= {"n/new", "a/b/3"}
    assert is_right()
    (bucket / "c" / "1").unlink()
    (bucket / "d").unlink()
    keys -= {"c/1", "d"}
    assert is_right()
    (bucket / "c" / "again").write_text("in a directory that was left empty")
    keys |= {"c/again"}
    assert is_right()
    (bucket / "a").rename(bucket / "moved")
    keys = {key.replace("a/b/", "moved/b/") for key in keys}
    assert is_right()


def test_a_copied_file_has_its_own_etag_size_and_time(context: Context, bucket: Path):
    put(context, "a")
    shown(context)
    (bucket / "copied").write_bytes(b"data")
    os.utime(bucket / "copied", (1e9, 1e9))
    row = pages.page(context, "keys", pages.Asked("copied"), 1)[0]
    assert row == (b"copied", 4, 1e9, "8d777f385d3dfec8815d20f7496026dc", None)
    (bucket / "copied").unlink()
    (bucket / "copied").write_bytes(b"other")
    (row,) = pages.page(context, "keys", pages.Asked("copied"), 1)
    assert (row[1], row[3]) == (5, "795f3202b17cb6bc3d4b771d8c6c9eaf")


def test_what_is_neither_file_nor_directory_is_no_object_and_no_link_is_followed(
    context: Context, bucket: Path, tmp_path: Path
):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    put(context, "real/1")
    (bucket / "link").symlink_to(tmp_path / "outside")
    (bucket / "file").symlink_to(tmp_path / "outside" / "secret")
    os.mkfifo(bucket / "pipe")
    (bucket.parent / "linked").symlink_to(tmp_path / "outside")
    assert shown(context) == ["real/1"] == pages.keys(context, "keys")
    assert shown(context, "link/") == [] and shown(context, delimiter="/") == ["real/"]
    for key in ("link/secret", "file", "pipe"):
        assert not objects.exists(context, f"s3://keys/{key}")
    with pytest.raises(tree.NoSuchBucket):
        pages.keys(context, "linked")
    with pytest.raises(tree.LinkInTheWay, match="link is a symbolic link"):
        put(context, "link/written")
    put(context, "file")
    assert shown(context) == ["file", "real/1"]
    assert [path.read_text() for path in (tmp_path / "outside").iterdir()] == ["secret"]


@pytest.mark.parametrize("damage", ["gone", "garbage", "a page", "older", "empty"])
def test_an_index_that_is_lost_or_damaged_is_made_again(context: Context, bucket: Path, damage: str):
    keys = [f"{n % 7}/{n:04}" for n in range(400)]
    put(context, *keys)
    path = index(context).path
    index(context).close()
    del context.parts[index]
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"x" * 10_000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "older":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version=999")
        db.close()
    else:
        for at in range(4096 * 3, len(content), 4096):
            content[at : at + 4096] = bytes(random.Random(at).randbytes(4096))
        path.write_bytes(content)
    assert pages.keys(context, "keys") == sorted(keys)
    assert shown(context, delimiter="/") == [f"{n}/" for n in range(7)]
    put(context, "after")
    assert shown(context, "after") == ["after"]


def test_an_index_that_cannot_be_written_is_no_error(context: Context, bucket: Path):
    put(context, "a/1", "a/2")
    index(context)._db.execute("PRAGMA query_only=1")  # as a full disk, for every statement that writes
    put(context, "a/3")
    tree.remove(context, "keys", "a/1")
    assert shown(context) == ["a/2", "a/3"] and shown(context, delimiter="/") == ["a/"]


def test_a_file_without_its_row_is_found(context: Context, bucket: Path, monkeypatch: pytest.MonkeyPatch):
    """As after a kill between the two."""
    put(context, "a/1", "b/1")
    assert shown(context) == ["a/1", "b/1"]
    with monkeypatch.context() as patch:
        patch.setattr(rows, "put", lambda *_: None)
        patch.setattr(rows, "remove", lambda *_: None)
        put(context, "a/2", "c/d/3")
        tree.remove(context, "keys", "b/1")
    assert shown(context, delimiter="/") == ["a/", "c/"]
    assert shown(context) == ["a/1", "a/2", "c/d/3"]


def test_own_writes_do_not_make_a_folder_be_looked_into_again(
    context: Context, bucket: Path, monkeypatch: pytest.MonkeyPatch
):
    put(context, *(f"a/{n}" for n in range(5)), "b/c/d")
    aged(bucket)
    assert len(shown(context)) == 6
    scanned: list[str] = []
    monkeypatch.setattr(folders, "scan", lambda context, bucket, folder: scanned.append(folder))
    put(context, "a/5", "a/n/e/w", "b/c", "b/c/2")
    for key in ("a/0", "a/n/e/w", "b/c/d"):
        assert tree.remove(context, "keys", key)
    assert shown(context) == ["a/1", "a/2", "a/3", "a/4", "a/5", "b/c", "b/c/2"]
    assert shown(context, delimiter="/") == ["a/", "b/"] and scanned == []


def test_a_folder_that_changed_within_a_tick_is_not_trusted(
    context: Context, bucket: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders, "YOUNG", 60 * SECOND)  # a busy machine may look later than a tick
    (bucket / "1").write_text("")
    assert shown(context) == ["1"]
    before = bucket.stat()
    (bucket / "2").write_text("")
    os.utime(bucket, ns=(before.st_atime_ns, before.st_mtime_ns))  # a clock that has not gone on
    assert shown(context) == ["1", "2"]


def test_pages_are_read_by_seeking(context: Context, bucket: Path):
    """Not by scanning or sorting all keys, which no test of few keys would show."""
    put(context, *(f"{n}/{m}" for n in range(9) for m in range(9)))
    shown(context)
    where = {"bucket": 1, "parent": b"", "or_live": 1, "low": b"", "high": b"\xff", "count": 9}
    statements: list[tuple[str, object]] = [
        (pages.OBJECTS, (1, b"", b"\xff", 9)),
        (pages.CHILDREN, (1, b"", b"", b"\xff", 9)),
        (pages.ROLLED_UP, where | {"skip": 1, "delimiter": b"/"}),
        (pages.BETWEEN_CHILDREN, where),
        (rows.UNDESCRIBED, (1, b"", 9)),
    ]
    with index(context).reading() as db:
        for statement, values in statements:
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert not [line for line in plan if "SCAN o" in line or "SCAN folder" in line], plan
            assert statement == pages.BETWEEN_CHILDREN or not [line for line in plan if "TEMP B-TREE" in line], plan


def test_the_longest_keys_of_s3_are_kept_and_longer_ones_refused(context: Context, bucket: Path):
    keys = ["x" * 1024, "x" * 240, "x" * 241, "é" * 512, "%" * 500, "." * 300, "x" * 300 + "/" + "y" * 300, "x" * 300]
    keys += ["y" * 240 + "/z", "y" * 240 + "..", "y" * 239 + "€", "y" * 239 + "€u"]
    put(context, *keys)
    for _ in range(2):
        assert pages.keys(context, "keys") == sorted(keys)
        assert shown(context, delimiter="/") == reference(set(keys), "", "/", "", False)
        assert shown(context, "x" * 250, "/") == reference(set(keys), "x" * 250, "/", "", False)
        assert [objects.read_bytes(context, f"s3://keys/{key}").decode() for key in keys] == keys
        index(context).reset()
    with pytest.raises(objects.KeyTooLong):
        put(context, "é" * 513)
    for key in keys:
        assert tree.remove(context, "keys", key)
    assert list(bucket.iterdir()) == [] == shown(context)
