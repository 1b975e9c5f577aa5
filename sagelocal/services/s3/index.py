"""The keys of all buckets in order, with what a listing says of each, so that a page costs the same at any size.

It is a database of its own, `s3-index.db`, and only a copy of what is on disk: `folders` compares the two, and a
database that is lost, damaged or cannot be written is thrown away and made again. The row of a folder holds the time
and inode ("stamp") that the folder had when the rows of its objects were right.

Keys are bytes: UTF-8 sorts as S3 does, and no key has the byte FF, so what starts with P is what lies in [P, P+FF).
"""

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.database import remove

Answer = TypeVar("Answer")

FILE = "s3-index.db"
VERSION = 1
DAMAGE = (sqlite3.Error, UnicodeDecodeError)  # what reading or writing a damaged database raises

# object.etag: NULL until the file was read. folder.live: whether an object is in it or below. folder.places: the
# directories that it is made of, where it is not the one of its name. folder.stamp: '' until it was looked into.
SCHEMA = """
CREATE TABLE bucket(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE object(bucket INTEGER, key BLOB, size INTEGER, modified REAL, etag TEXT, checksums TEXT, stamp TEXT,
                    PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE INDEX undescribed ON object(bucket, key) WHERE etag IS NULL;
CREATE TABLE folder(bucket INTEGER, path BLOB, parent BLOB, objects INTEGER NOT NULL DEFAULT 0,
                    folders INTEGER NOT NULL DEFAULT 0, live INTEGER NOT NULL DEFAULT 0, stamp TEXT NOT NULL,
                    places TEXT, PRIMARY KEY (bucket, path)) WITHOUT ROWID;
CREATE INDEX child ON folder(bucket, parent, live, path);
CREATE INDEX unknown ON folder(bucket, path) WHERE stamp = '';
"""


@one_per_server
def changing(_: Context) -> threading.RLock:
    """Held while a name appears or goes, while a file and its metadata must agree, and while the index is written."""
    return threading.RLock()


class Index:
    """Readers borrow a connection; one thread at a time writes, under `changing`, and one scans a folder."""

    def __init__(self, context: Context):
        self._scanning = threading.Lock()
        self._lock = changing(context)
        self._state_dir = context.state_dir
        self._readers: list[tuple[sqlite3.Connection, Path]] = []
        self._own_folder: Path | None = None
        self.path = context.state_dir / FILE
        self._start()

    def _start(self) -> None:
        """Open the database; one that is damaged or of another version is replaced by an empty one."""
        try:
            self._open()
        except (*DAMAGE, OSError):
            remove(self.path)
            try:
                self._open()
            except (*DAMAGE, OSError):
                self.reset()

    def _open(self) -> None:
        if not self.path.exists():
            remove(self.path)  # the log of a database that is gone
        self._db, self._scanner = self._connect(), self._connect()
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"an index of version {version}")
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT")
        self._scanner.execute("CREATE TEMP TABLE seen(key BLOB PRIMARY KEY, size INTEGER, stamp TEXT) WITHOUT ROWID")

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA journal_size_limit=16777216")
        db.execute("PRAGMA cache_size=-8192")  # KB; a page of common prefixes touches a thousand leaves
        return db

    def reset(self) -> None:
        """Begin with an empty index. Others may still read the old one, so it is in a new place, of this server only:
        in the state directory, or where that cannot be written among the system's temporary files."""
        with self._lock:
            if self.path == self._state_dir / FILE:
                remove(self.path)
            for parent in (self._state_dir, None):
                with suppress(*DAMAGE, OSError):
                    folder = Path(tempfile.mkdtemp(prefix="s3-index-", dir=parent))
                    self._remove_own_folder()
                    self._own_folder, self.path, self._readers = folder, folder / FILE, []
                    return self._open()
            raise OSError(
                f"No place for an index of the keys: neither {self._state_dir} nor the system's temporary "
                "files can be written. Make room on the disk."
            )

    def close(self) -> None:
        with self._lock:
            for connection in (self._db, self._scanner, *(reader for reader, _ in self._readers)):
                connection.close()
            self._remove_own_folder()

    def _remove_own_folder(self) -> None:
        if self._own_folder:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def check(self) -> None:
        """Throw the index away where the file is damaged. Takes a quarter of a second for a million keys."""
        try:
            with self.reading() as db:
                sound = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        except DAMAGE:
            sound = False
        if not sound:
            self.reset()

    def surviving(self, work: Callable[[], Answer]) -> Answer:
        """What `work` answers, done again with an empty index where the one it used turned out to be damaged."""
        for _ in range(3):
            used = self.path
            try:
                answer = work()
            except DAMAGE:
                self.reset()
            else:
                if used == self.path:
                    return answer
        return work()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile."""
        try:
            db, path = self._readers.pop()
        except IndexError:
            db, path = self._connect(), self.path
        try:
            yield db
        finally:
            if path == self.path:
                self._readers.append((db, path))
            else:
                db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. What cannot be written is no error: the folder's stamp shows that the index lacks it."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error:
                self.reset()
                self._db.execute("BEGIN IMMEDIATE")
            db = self._db
            try:
                yield db
                db.execute("COMMIT")
            except DAMAGE:
                self.reset()
            except BaseException:
                db.execute("ROLLBACK")
                raise

    @contextmanager
    def scan(self) -> Iterator[sqlite3.Connection]:
        """A connection with an empty table `seen`, in a transaction that its user commits. Never within `changing`."""
        with self._scanning:
            db = self._scanner
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")


index = one_per_server(Index)
