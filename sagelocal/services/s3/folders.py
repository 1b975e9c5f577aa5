"""Whether the folders on disk still hold what the index says, and what they hold where not.

Nobody but the server writes into them while it runs, and it keeps the index as it does; but people copy files in,
folders are restored, and a server may be killed between a file and its row. A folder's time tells.
"""

import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.stamp import file_stamp
from sagelocal.services.s3 import rows, spelling
from sagelocal.services.s3.index import changing, index
from sagelocal.services.s3.rows import END

YOUNG = 20_000_000  # nanoseconds: a second change so soon may leave a folder's time as it was
UNSETTLED = "?"  # the stamp of a folder that must be looked into again
TRIES = 3
BATCH = 1000
Found = tuple[bytes, str, str | None]  # a folder, its stamp in the index, the directories it is made of as JSON

FOLDER = "SELECT path, stamp, places FROM folder WHERE bucket = ? AND "


def stamp_of(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}"


def on_the_way(db: sqlite3.Connection, bucket: int, text: str) -> list[Found]:
    """The folders that lead to a prefix or key, as far as the index knows them."""
    paths = [folder.encode(errors="surrogatepass") for folder in spelling.folders(text)]
    found = (db.execute(FOLDER + "path = ?", (bucket, path)).fetchone() for path in paths)
    return [row for row in found if row]


def within(db: sqlite3.Connection, bucket: int, low: bytes, high: bytes, count: int = -1) -> list[Found]:
    return db.execute(FOLDER + "path >= ? AND path <= ? ORDER BY path LIMIT ?", (bucket, low, high, count)).fetchall()


def children(db: sqlite3.Connection, bucket: int, parent: bytes, low: bytes, high: bytes, count: int) -> list[Found]:
    """The folders directly in one; first those in which nothing is, which may have got something."""
    sql = FOLDER + "parent = ? AND live IN (0, 1) AND path >= ? AND path <= ? LIMIT ?"
    return db.execute(sql, (bucket, parent, low, high, count)).fetchall()


def unknown(db: sqlite3.Connection, bucket: int, low: bytes, high: bytes, count: int) -> list[Found]:
    """Folders that nobody looked into yet."""
    sql = FOLDER + "stamp = '' AND path >= ? AND path <= ? ORDER BY path LIMIT ?"
    return db.execute(sql, (bucket, low, high, count)).fetchall()


def changed(root: Path, known: Iterable[Found]) -> list[str]:
    """Those of some folders that are not as the index has them."""
    found = []
    for path, stamp, places in known:
        folder = path.decode()
        made_of = json.loads(places) if places else [spelling.directory(folder)]
        if not stamp or stamp != " ".join([_stamp(root, place) for place in made_of]):
            found.append(folder)
    return found


def scan(context: Context, bucket: str, folder: str) -> None:
    """Make the index's rows of a folder (not of those in it) what is on disk."""
    root = context.state_dir / "s3" / bucket
    with index(context).scan() as db:
        for attempt in range(1, TRIES + 1):
            # What was read holds if nothing changed meanwhile; at the last try nothing may.
            with changing(context) if attempt == TRIES else nullcontext(), suppress(FileNotFoundError):
                places: dict[str, str] = {}
                subfolders: set[bytes] = set()
                db.execute("DELETE FROM seen")
                entries = _entries(root, spelling.directory(folder), folder, subfolders, places)
                db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", entries)
                with changing(context):
                    if all(_stamp(root, place) == before for place, before in places.items()):
                        return _keep(db, bucket, folder, subfolders, places)


def scan_all(context: Context, bucket: str) -> None:
    """Look into every folder of a bucket that changed behind the server's back, or that nobody looked into yet."""
    low, done = b"", set[str]()
    while not context.stopping.is_set():
        with index(context).reading() as db:
            known = within(db, rows.number_of(db, bucket), low, END, BATCH)
        if not known:
            return
        some = [folder for folder in changed(context.state_dir / "s3" / bucket, known) if folder not in done]
        for folder in some:
            scan(context, bucket, folder)
        done.update(some)
        # Folders that were found just now lie behind the one that they are in.
        low = (some[0].encode() if some else known[-1][0]) + b"\0"


def _keep(db: sqlite3.Connection, bucket: str, folder: str, subfolders: set[bytes], places: dict[str, str]) -> None:
    number = rows.number_of(db, bucket)
    if "" in places.values() or not places:
        rows.drop_folder(db, number, folder.encode())
    else:
        youngest = max(int(stamp.partition("-")[2]) for stamp in places.values())
        settled = not 0 <= time.time_ns() - youngest < YOUNG
        stamp = " ".join(places.values()) if settled else UNSETTLED
        more = list(places) if len(places) > 1 else None
        rows.replace_folder(db, number, folder.encode(), subfolders, stamp, more)
    db.execute("COMMIT")


def _entries(
    root: Path, place: str, base: str, subfolders: set[bytes], places: dict[str, str]
) -> Iterator[tuple[bytes, int, str]]:
    """(key, size, stamp) of the files in a directory; its directories go to `subfolders`, and to `places` those where
    only a long name goes on. What is neither a file nor a directory is no object, and no link is followed."""
    places[place] = _stamp(root, place)
    if not places[place]:
        return
    with os.scandir(root / place) as found:
        for entry in found:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name.endswith(spelling.GOES_ON):
                    part = spelling.segment(name.removesuffix(spelling.GOES_ON))
                    if part:
                        yield from _entries(root, os.path.join(place, name), base + part, subfolders, places)
                elif (part := "" if name == "%" else spelling.segment(name)) is not None:
                    path = f"{base}{part}/".encode()
                    if len(path) < spelling.MAX_KEY_BYTES:
                        subfolders.add(path)
            elif entry.is_file(follow_symlinks=False):
                plain = name.removesuffix(spelling.BESIDE)
                part = "" if plain in ("", "%") else spelling.segment(plain)
                hidden = plain and plain != name and os.path.isfile(entry.path.removesuffix(spelling.BESIDE))
                key = b"" if part is None or hidden else (base + part).encode()
                if 0 < len(key) <= spelling.MAX_KEY_BYTES:
                    status = entry.stat(follow_symlinks=False)
                    yield key, status.st_size, file_stamp(status)


def _stamp(root: Path, place: str) -> str:
    """The stamp of a directory, '' where none is."""
    try:
        status = os.lstat(f"{root}/{place}")
    except OSError:
        return ""
    return stamp_of(status) if stat.S_ISDIR(status.st_mode) else ""
