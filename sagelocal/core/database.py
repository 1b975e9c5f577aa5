"""The SQLite database behind the store: its schema, one connection that writes, and connections that read.

In WAL mode each read sees the state after the last commit and waits for nobody. Everything that changes goes through
`transaction`, in one thread at a time.
"""

import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Parameters = Sequence[Any] | dict[str, Any]

SCHEMA_VERSION = 2
CACHE_KIB = 1024  # per connection; the system caches the file as well
IDLE_READERS = 4  # connections that stay open for the next reader
WAL_LIMIT = 16 << 20  # bytes that state.db-wal may keep between checkpoints

# `parent` is what a document belongs to, where lists ask for that: the execution of a step, the group of a package.
# `crc` is that of the body: a page that was overwritten is found out by it, which SQLite's own checks often do not.
SCHEMA = """
CREATE TABLE document (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, parent TEXT, created REAL NOT NULL,
    modified REAL NOT NULL, status TEXT, version INTEGER NOT NULL, crc INTEGER NOT NULL, body TEXT NOT NULL,
    UNIQUE (kind, name)
);
CREATE INDEX by_created ON document (kind, created, id, name);
CREATE INDEX by_modified ON document (kind, modified, id, name);
CREATE INDEX by_status ON document (kind, status, created, id, name);
CREATE INDEX by_parent ON document (kind, parent, created, id, name) WHERE parent IS NOT NULL;
"""


# What SQLite says when the disk or another program refuses, which may be over at the next try.
REFUSALS = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
)
BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a database that is in use


class NewerState(Exception):
    """The state directory was written by a newer version of the server."""


class Database:
    """Opens the file, and makes it where there is none. One of schema 1 stays as it is: the store converts it."""

    def __init__(self, path: Path):
        self.path = path
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._writing: int | None = None  # the thread that has a transaction open
        self._writer = _connect(path)
        try:
            self.found_version: int = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if self.found_version > SCHEMA_VERSION:
                raise NewerState(
                    f"State in {path.parent} belongs to a newer version (schema {self.found_version}; known here: "
                    f"{SCHEMA_VERSION}). Update sagelocal, or choose another directory with SAGELOCAL_STATE_DIR."
                )
            self._writer.execute("PRAGMA journal_mode=WAL")
            if self.found_version == 0:
                with self.transaction():
                    self.create_tables()
        except BaseException:
            self._writer.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in it is kept, or nothing when an exception leaves it. One thread at a time may be in
        one, and not in two: the caller sees to that."""
        self._writer.execute("BEGIN IMMEDIATE")
        self._writing = threading.get_ident()
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # after some errors of the disk SQLite has rolled back already
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
            raise
        finally:
            self._writing = None

    def write(self, statement: str, parameters: Parameters = ()) -> int:
        """Run a statement that changes something, within a transaction: how many rows it changed."""
        return self._writer.execute(statement, parameters).rowcount

    def read(self, query: str, parameters: Parameters = ()) -> list[Any]:
        """All rows of a SELECT; inside a transaction of this thread with its changes."""
        if self._writing == threading.get_ident():
            return self._writer.execute(query, parameters).fetchall()
        try:
            reader = self._readers.get_nowait()
        except queue.Empty:
            reader = _connect(self.path)
            reader.execute("PRAGMA query_only=1")
        try:
            return reader.execute(query, parameters).fetchall()
        finally:
            if self._readers.qsize() < IDLE_READERS:
                self._readers.put(reader)
            else:
                reader.close()

    def create_tables(self) -> None:
        for statement in SCHEMA.split(";"):
            self._writer.execute(statement)
        self._writer.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def close(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._readers.get_nowait().close()
        self._writer.close()


def code_of(problem: Exception) -> int:
    """The primary code of one of SQLite's errors; 0 for one without, and for others'."""
    return int(getattr(problem, "sqlite_errorcode", 0)) & 0xFF


def remove(path: Path) -> None:
    """Delete a database that nobody uses, with what lies beside it; also where only that is left of it."""
    for suffix in ("", *BESIDE):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT}")
    return connection
