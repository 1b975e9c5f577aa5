"""What is written into the index: the rows of objects and of folders, and how many of them are in each folder."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from sagelocal.core.context import Context
from sagelocal.services.s3.index import index

END = b"\xff"

# The objects between the child folders of :parent, in order: CROSS JOIN keeps that of the gaps.
BETWEEN = """
WITH child AS (SELECT path FROM folder WHERE bucket = :bucket AND parent = :parent AND live IN (1, :or_live)
                                         AND path >= :low AND path < :high),
     gap(low, high) AS (SELECT :low, coalesce((SELECT min(path) FROM child), :high) UNION ALL
                        SELECT CAST(path || x'FF' AS BLOB), lead(path, 1, :high) OVER (ORDER BY path) FROM child)
SELECT {columns} FROM gap CROSS JOIN object o WHERE o.bucket = :bucket AND o.key >= gap.low AND o.key < gap.high"""

UNDESCRIBED = "SELECT key FROM object WHERE bucket = ? AND etag IS NULL AND key > ? ORDER BY key LIMIT ?"
DIRECTLY_IN = BETWEEN.format(columns="o.key")


@dataclass(frozen=True)
class Described:
    """What a listing says of an object beside its key. `stamp`: the very file that it is about."""

    stamp: str
    size: int
    modified: float | None = None
    etag: str | None = None  # None: the file was not read yet, and `modified` is not known either
    checksums: Iterable[str] = ()

    def values(self) -> tuple[int, float | None, str | None, str | None, str]:
        return self.size, self.modified, self.etag, " ".join(self.checksums) or None, self.stamp


@dataclass(frozen=True)
class Change:
    """What a write did to a folder's stamp; `before` is None for a folder that it made."""

    folder: str
    before: str | None
    after: str


def add_bucket(context: Context, bucket: str, stamp: str = "") -> None:
    """Begin a bucket's rows. stamp: that of its directory where it was just made, so that nothing can be in it."""
    with index(context).writing() as db:
        _add_bucket(db, bucket, stamp)


def forget_bucket(context: Context, bucket: str) -> None:
    with index(context).writing() as db:
        number = number_of(db, bucket)
        for table in ("object", "folder"):
            db.execute(f"DELETE FROM {table} WHERE bucket = ?", (number,))
        db.execute("DELETE FROM bucket WHERE id = ?", (number,))


def put(context: Context, bucket: str, key: str, row: Described, changes: Iterable[Change]) -> None:
    """Note an object that was just written."""
    try:
        name, folder = key.encode(), _folder_of(key)
    except UnicodeEncodeError:  # a job's file whose name is no UTF-8 cannot be listed
        return
    with index(context).writing() as db:
        number = number_of(db, bucket) or _add_bucket(db, bucket, "")
        there = db.execute(
            "UPDATE object SET size = ?, modified = ?, etag = ?, checksums = ?, stamp = ? WHERE bucket = ? AND key = ?",
            (*row.values(), number, name),
        ).rowcount
        _note_changes(db, number, changes)
        if not there:
            db.execute("INSERT INTO object VALUES (?, ?, ?, ?, ?, ?, ?)", (number, name, *row.values()))
            _count(db, number, folder, objects=1)


def remove(context: Context, bucket: str, key: str, gone: Iterable[str], changes: Iterable[Change]) -> None:
    """Note that an object was deleted, and with it the folders `gone`."""
    with index(context).writing() as db:
        number, name = number_of(db, bucket), key.encode(errors="surrogatepass")
        if db.execute("DELETE FROM object WHERE bucket = ? AND key = ?", (number, name)).rowcount:
            _count(db, number, _folder_of(key), objects=-1)
        for folder in gone:
            drop_folder(db, number, folder.encode())
        _note_changes(db, number, changes)


def describe(context: Context, bucket: str, rows: Iterable[tuple[str, Described]]) -> None:
    """Complete rows of objects that are there."""
    with index(context).writing() as db:
        number = number_of(db, bucket)
        db.executemany(
            "UPDATE object SET size = ?, modified = ?, etag = ?, checksums = ?, stamp = ? WHERE bucket = ? AND key = ?",
            [(*row.values(), number, key.encode(errors="surrogatepass")) for key, row in rows],
        )


def etag(context: Context, bucket: str, key: str, stamp: str) -> str | None:
    """The ETag of an object, where the index knows it of that very file."""
    with index(context).reading() as db:
        sql = "SELECT etag FROM object WHERE bucket = ? AND key = ? AND stamp = ?"
        found = db.execute(sql, (number_of(db, bucket), key.encode(errors="surrogatepass"), stamp)).fetchone()
    return found[0] if found else None


def undescribed(context: Context, bucket: str, after: str, count: int) -> list[str]:
    """Keys of objects whose files were not read yet."""
    with index(context).reading() as db:
        return [row[0].decode() for row in db.execute(UNDESCRIBED, (number_of(db, bucket), after.encode(), count))]


def buckets(context: Context) -> list[str]:
    """The buckets that the index has rows of."""
    with index(context).reading() as db:
        return [row[0] for row in db.execute("SELECT name FROM bucket")]


def replace_folder(
    db: sqlite3.Connection, bucket: int, folder: bytes, subfolders: set[bytes], stamp: str, places: list[str] | None
) -> None:
    """Make the rows of a folder those of what was `seen` in it. Rows of files that are the same stay as they are."""
    known = {row[0] for row in db.execute("SELECT path FROM folder WHERE bucket = ? AND parent = ?", (bucket, folder))}
    for path in known - subfolders:
        drop_folder(db, bucket, path)
    new = [(bucket, path, folder) for path in sorted(subfolders - known)]
    db.executemany("INSERT INTO folder(bucket, path, parent, stamp) VALUES (?, ?, ?, '')", new)
    where = {"bucket": bucket, "parent": folder, "or_live": 0, "low": folder, "high": folder + END}
    db.execute(
        f"DELETE FROM object WHERE bucket = :bucket AND key IN ({DIRECTLY_IN} EXCEPT SELECT key FROM seen)", where
    )
    db.execute(
        "INSERT OR REPLACE INTO object(bucket, key, size, stamp) SELECT ?, key, size, stamp FROM seen WHERE NOT EXISTS "
        "(SELECT 1 FROM object o WHERE o.bucket = ? AND o.key = seen.key AND o.stamp = seen.stamp) ORDER BY key",
        (bucket, bucket),
    )
    objects = db.execute("SELECT count(*) FROM seen").fetchone()[0]
    live = "SELECT count(*) FROM folder WHERE bucket = ? AND parent = ? AND live = 1"
    _set_counts(db, bucket, folder, objects, db.execute(live, (bucket, folder)).fetchone()[0])
    db.execute(
        "UPDATE folder SET stamp = ?, places = ? WHERE bucket = ? AND path = ?",
        (stamp, json.dumps(places) if places else None, bucket, folder),
    )


def drop_folder(db: sqlite3.Connection, bucket: int, path: bytes) -> None:
    """Forget a folder and all in it."""
    found = db.execute("SELECT live, parent FROM folder WHERE bucket = ? AND path = ?", (bucket, path)).fetchone()
    db.execute("DELETE FROM folder WHERE bucket = ? AND path >= ? AND path < ?", (bucket, path, path + END))
    db.execute("DELETE FROM object WHERE bucket = ? AND key >= ? AND key < ?", (bucket, path, path + END))
    if found and found[0] and found[1] is not None:
        _count(db, bucket, found[1], folders=-1)


def number_of(db: sqlite3.Connection, bucket: str) -> int:
    """A bucket's number in the index, 0 where nothing is known of it."""
    found = db.execute("SELECT id FROM bucket WHERE name = ?", (bucket,)).fetchone()
    return found[0] if found else 0


def _add_bucket(db: sqlite3.Connection, bucket: str, stamp: str) -> int:
    number = number_of(db, bucket)
    if not number:
        number = db.execute("INSERT INTO bucket(name) VALUES (?)", (bucket,)).lastrowid or 0
        db.execute("INSERT INTO folder(bucket, path, stamp) VALUES (?, x'', ?)", (number, stamp))
    return number


def _note_changes(db: sqlite3.Connection, bucket: int, changes: Iterable[Change]) -> None:
    """A stamp is only led on from the one that the index has: otherwise somebody else changed the folder too."""
    for change in changes:
        path = change.folder.encode()
        if change.before is None:
            parent = _folder_of(change.folder[:-1])
            sql = "INSERT OR IGNORE INTO folder(bucket, path, parent, stamp) VALUES (?, ?, ?, ?)"
            db.execute(sql, (bucket, path, parent, change.after))
        else:
            sql = "UPDATE folder SET stamp = ? WHERE bucket = ? AND path = ? AND stamp = ?"
            db.execute(sql, (change.after, bucket, path, change.before))


def _count(db: sqlite3.Connection, bucket: int, folder: bytes, objects: int = 0, folders: int = 0) -> None:
    sql = "SELECT objects, folders FROM folder WHERE bucket = ? AND path = ?"
    found = db.execute(sql, (bucket, folder)).fetchone()
    if found:
        _set_counts(db, bucket, folder, found[0] + objects, found[1] + folders)


def _set_counts(db: sqlite3.Connection, bucket: int, folder: bytes, objects: int, folders: int) -> None:
    sql = "SELECT live, parent FROM folder WHERE bucket = ? AND path = ?"
    was, parent = db.execute(sql, (bucket, folder)).fetchone()
    live = int(objects + folders > 0)
    sql = "UPDATE folder SET objects = ?, folders = ? WHERE bucket = ? AND path = ?"
    db.execute(sql, (objects, folders, bucket, folder))
    if live != was:
        db.execute("UPDATE folder SET live = ? WHERE bucket = ? AND path = ?", (live, bucket, folder))
        if parent is not None:
            _count(db, bucket, parent, folders=1 if live else -1)


def _folder_of(key: str) -> bytes:
    return key[: key.rfind("/") + 1].encode(errors="surrogatepass")
