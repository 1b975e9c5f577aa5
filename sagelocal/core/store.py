"""State that survives: every resource is one JSON document in SQLite, under a kind and a name.

A document is what the service's Describe call answers, with timestamps as seconds since 1970; members that start with
an underscore are the server's own and never reach a client.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from sagelocal.core.json import Json

SCHEMA_VERSION = 1

Document = TypeVar("Document", bound=Mapping[str, Any])

Watcher = Callable[[str, Document | None, Document | None], None]


class Kind(str, Generic[Document]):
    """The name of a kind of document, which tells a type checker what its documents hold.

    `JOB = Kind[TrainingJob]("training-job")`: store.get(JOB, name) is a TrainingJob or None.
    """


def amend(body: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Write into a document members that only running code knows, so that no type checker can compare them."""
    cast(Json, body).update(changes)


class NewerState(Exception):
    """The state directory was written by a newer version of the server."""


class AlreadyExists(Exception):
    """A document of that kind and name is there already."""


class Store:
    """A thread-safe document store. Every change wakes those who wait for one."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._changed = threading.Condition(threading.RLock())
        self._watchers: dict[str, list[Watcher[Any]]] = {}
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            self._db.close()
            raise NewerState(
                f"State in {path.parent} belongs to a newer version (schema {version}; known here: {SCHEMA_VERSION}). "
                "Update sagelocal, or choose another directory with SAGELOCAL_STATE_DIR."
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents "
            "(kind TEXT, name TEXT, created REAL, body TEXT, PRIMARY KEY (kind, name))"
        )
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def insert(self, kind: Kind[Document], name: str, body: Document) -> None:
        """Add a document. Raises AlreadyExists when the name is taken."""
        with self._changed:
            try:
                self._db.execute(
                    "INSERT INTO documents VALUES (?, ?, ?, ?)", (kind, name, time.time(), json.dumps(body))
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"{kind} {name}") from None
            self._tell(kind, name, None, body)

    def put(self, kind: Kind[Document], name: str, body: Document) -> None:
        """Add a document or replace it; the creation time of a replaced one stays."""
        with self._changed:
            before = self.get(kind, name) if kind in self._watchers else None
            self._db.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
                (kind, name, time.time(), json.dumps(body)),
            )
            self._tell(kind, name, before, body)

    def get(self, kind: Kind[Document], name: str) -> Document | None:
        with self._changed:
            row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        body: Document | None = json.loads(row[0]) if row else None
        return body

    def expect(self, kind: Kind[Document], name: str) -> Document:
        """A document that is known to be there. Raises KeyError when it is not."""
        body = self.get(kind, name)
        if body is None:
            raise KeyError(f"{kind} {name}")
        return body

    def update(self, kind: Kind[Document], name: str, changes: Mapping[str, Any]) -> Document:
        """Merge `changes` into a document, atomically, and return the result. Raises KeyError when it is not there."""
        return self.change(kind, name, lambda body: amend(body, changes))

    def change(self, kind: Kind[Document], name: str, edit: Callable[[Document], Any]) -> Document:
        """Let `edit` alter a document in place, atomically; the result. Raises KeyError when it is not there."""
        with self._changed:
            body = self.expect(kind, name)
            before = self.get(kind, name) if kind in self._watchers else None
            edit(body)
            written = json.dumps(body)
            self._db.execute("UPDATE documents SET body = ? WHERE kind = ? AND name = ?", (written, kind, name))
            self._tell(kind, name, before, body)
            return body

    def delete(self, kind: Kind[Any], name: str) -> bool:
        with self._changed:
            before = self.get(kind, name) if kind in self._watchers else None
            gone = self._db.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0
            self._tell(kind, name, before, None)
        return gone

    def watch(self, kind: Kind[Document], watcher: Watcher[Document]) -> None:
        """Tell `watcher` of every change to a kind's documents, in order: (name, before, after); None is "not there".

        It is called while the store is locked: it must hand the work on and return.
        """
        with self._changed:
            self._watchers.setdefault(kind, []).append(watcher)

    def _tell(self, kind: Kind[Document], name: str, before: Document | None, after: Document | None) -> None:
        for watcher in self._watchers.get(kind, ()):
            watcher(name, before, after)
        self._changed.notify_all()

    def items(self, kind: Kind[Document], prefix: str = "") -> list[tuple[str, Document]]:
        """(name, document) of all of a kind whose name starts with `prefix`, oldest first."""
        query = "SELECT name, body FROM documents WHERE kind = ? AND substr(name, 1, ?) = ? ORDER BY created, rowid"
        with self._changed:
            rows = self._db.execute(query, (kind, len(prefix), prefix)).fetchall()
        return [(name, json.loads(body)) for name, body in rows]

    def list(self, kind: Kind[Document], prefix: str = "") -> list[Document]:
        """The documents of `items`."""
        return [body for _, body in self.items(kind, prefix)]

    def wait(
        self, kind: Kind[Document], name: str, until: Callable[[Document], bool], timeout: float | None = None
    ) -> Document:
        """Block until a document satisfies `until`; return it. KeyError when it is gone, TimeoutError when too late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                body = self.expect(kind, name)
                if until(body):
                    return body
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{kind} {name}")
                self._changed.wait(left)

    def wait_for_change(self, timeout: float | None = None) -> None:
        """Block until any document changes, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    def close(self) -> None:
        with self._changed:
            self._db.close()
