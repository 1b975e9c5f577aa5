"""State that survives: every resource is one JSON document in SQLite, under a kind and a name.

A document is what the service's Describe call answers, with timestamps as seconds since 1970; members that start with
an underscore are the server's own and never reach a client.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1

Watcher = Callable[[str, dict[str, Any] | None, dict[str, Any] | None], None]


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
        self._watchers: dict[str, list[Watcher]] = {}
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

    def insert(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Add a document. Raises AlreadyExists when the name is taken."""
        with self._changed:
            try:
                self._db.execute(
                    "INSERT INTO documents VALUES (?, ?, ?, ?)", (kind, name, time.time(), json.dumps(body))
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"{kind} {name}") from None
            self._tell(kind, name, None, body)

    def put(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Add a document or replace it; the creation time of a replaced one stays."""
        with self._changed:
            before = self.get(kind, name) if kind in self._watchers else None
            self._db.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
                (kind, name, time.time(), json.dumps(body)),
            )
            self._tell(kind, name, before, body)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        with self._changed:
            row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        return json.loads(row[0]) if row else None

    def update(self, kind: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Merge `changes` into a document, atomically, and return the result. Raises KeyError when it is not there."""
        return self.change(kind, name, lambda body: body.update(changes))

    def change(self, kind: str, name: str, edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Let `edit` alter a document in place, atomically; the result. Raises KeyError when it is not there."""
        with self._changed:
            body = self.get(kind, name)
            if body is None:
                raise KeyError(f"{kind} {name}")
            before = self.get(kind, name) if kind in self._watchers else None
            edit(body)
            self._db.execute(
                "UPDATE documents SET body = ? WHERE kind = ? AND name = ?", (json.dumps(body), kind, name)
            )
            self._tell(kind, name, before, body)
            return body

    def delete(self, kind: str, name: str) -> bool:
        with self._changed:
            before = self.get(kind, name) if kind in self._watchers else None
            gone = self._db.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0
            self._tell(kind, name, before, None)
        return gone

    def watch(self, kind: str, watcher: Watcher) -> None:
        """Tell `watcher` of every change to a kind's documents, in order: (name, before, after); None is "not there".

        It is called while the store is locked: it must hand the work on and return.
        """
        with self._changed:
            self._watchers.setdefault(kind, []).append(watcher)

    def _tell(self, kind: str, name: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        for watcher in self._watchers.get(kind, ()):
            watcher(name, before, after)
        self._changed.notify_all()

    def items(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """(name, document) of all of a kind, oldest first."""
        with self._changed:
            rows = self._db.execute(
                "SELECT name, body FROM documents WHERE kind = ? ORDER BY created, rowid", (kind,)
            ).fetchall()
        return [(name, json.loads(body)) for name, body in rows]

    def list(self, kind: str, prefix: str = "") -> list[dict[str, Any]]:
        """Documents of a kind whose name starts with `prefix`, oldest first."""
        with self._changed:
            rows = self._db.execute(
                "SELECT body FROM documents WHERE kind = ? AND substr(name, 1, ?) = ? ORDER BY created, rowid",
                (kind, len(prefix), prefix),
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def wait(
        self, kind: str, name: str, until: Callable[[dict[str, Any]], bool], timeout: float | None = None
    ) -> dict[str, Any]:
        """Block until a document satisfies `until`; return it. KeyError when it is gone, TimeoutError when too late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                body = self.get(kind, name)
                if body is None:
                    raise KeyError(f"{kind} {name}")
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
