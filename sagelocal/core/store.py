"""State that survives: every resource is one JSON document in SQLite, under a kind and a name.

A document is what the service's Describe call answers, with timestamps as seconds since 1970; members that start with
an underscore are the server's own and never reach a client.
"""

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from sagelocal.core.database import Database, NewerState
from sagelocal.core.json import Json
from sagelocal.core.selection import Selection

__all__ = ["AlreadyExists", "Change", "Kind", "NewerState", "Selection", "Store", "amend"]

Document = TypeVar("Document", bound=Mapping[str, Any])

Watcher = Callable[[str, Document | None, Document | None], None]

BY_NAME = "/"  # as Kind's `parent`: the name up to its last slash


@dataclass(frozen=True)
class Columns:
    """Which members of a document fill the columns that lists sort and filter by; "" leaves one empty."""

    created: str = "CreationTime"
    modified: str = "LastModifiedTime"
    status: str = ""
    parent: str = ""

    def of(self, name: str, body: Mapping[str, Any]) -> Json:
        """`created` is None for a document that does not tell; one that does not tell when it changed, changed now."""
        created, modified = body.get(self.created), body.get(self.modified)
        parent = name.rpartition("/")[0] if self.parent == BY_NAME else body.get(self.parent)
        return {
            "created": created if isinstance(created, int | float) else None,
            "modified": modified if isinstance(modified, int | float) else time.time(),
            "status": body.get(self.status),
            "parent": parent or None,
        }


class Kind(str, Generic[Document]):
    """The name of a kind of document, which tells a type checker what its documents hold.

    `JOB = Kind[TrainingJob]("training-job", status="TrainingJobStatus")`: store.get(JOB, name) is a TrainingJob or
    None. The keywords are those of Columns; the first Kind of a name that has some sets them for all.
    """

    declared: dict[str, Columns] = {}

    def __new__(cls, name: str, **columns: str) -> "Kind[Document]":
        if columns:
            cls.declared.setdefault(name, Columns(**columns))
        return super().__new__(cls, name)


@dataclass(frozen=True)
class Change:
    """A document as one commit left it; `text` is its JSON, None when it was deleted."""

    kind: str
    name: str
    version: int
    text: str | None


def amend(body: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Write into a document members that only running code knows, so that no type checker can compare them."""
    cast(Json, body).update(changes)


Listener = Callable[[Sequence[Change]], None]


class AlreadyExists(Exception):
    """A document of that kind and name is there already."""


class Store:
    """A thread-safe document store. A change wakes those who wait for its document."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = Database(path)
        self._lock = threading.RLock()  # who has it writes
        self._pending: list[tuple[Change, Any, Any]] | None = None  # of the open transaction; documents before, after
        self._watchers: dict[str, list[Watcher[Any]]] = {}
        self._listeners: list[Listener] = []
        self._waiting = threading.Lock()
        self._waiters: dict[tuple[str, str], list[threading.Event]] = {}
        if self._db.found_version == 1:
            self._convert()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that this thread changes in it is kept, or nothing when an exception leaves it.

        Watchers and those who wait hear of it after the commit. One inside another is part of it. Nobody else can
        write meanwhile: what takes time does not belong into one.
        """
        with self._lock:
            if self._pending is not None:
                yield
                return
            pending: list[tuple[Change, Any, Any]] = []
            self._pending = pending
            try:
                with self._db.transaction():
                    yield
            finally:
                self._pending = None
            self._tell(pending)

    def insert(self, kind: Kind[Document], name: str, body: Document) -> None:
        """Add a document. Raises AlreadyExists when the name is taken."""
        with self.transaction():
            try:
                self._insert(kind, name, body)
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"{kind} {name}") from None

    def put(self, kind: Kind[Document], name: str, body: Document) -> None:
        """Add a document or replace it; the creation time of a replaced one stays, unless its body has one."""
        with self.transaction():
            found = self._row(kind, name)
            if found is None:
                self._insert(kind, name, body)
            else:
                self._update(kind, name, body, *found)

    def get(self, kind: Kind[Document], name: str) -> Document | None:
        found = self._row(kind, name)
        body: Document | None = json.loads(found[1]) if found else None
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
        with self.transaction():
            found = self._row(kind, name)
            if found is None:
                raise KeyError(f"{kind} {name}")
            body: Document = json.loads(found[1])
            edit(body)
            self._update(kind, name, body, *found)
            return body

    def delete(self, kind: Kind[Any], name: str) -> bool:
        """Remove a document. False when it was not there."""
        with self.transaction():
            found = self._row(kind, name)
            if found is None:
                return False
            self._db.write("DELETE FROM document WHERE kind = ? AND name = ?", (kind, name))
            self._note(kind, name, found[0], None, before=found[1], after=None)
            return True

    def page(self, kind: Kind[Document], wanted: Selection) -> list[tuple[Document, tuple[Any, ...]]]:
        """Each document that is wanted, with its key: the `after` of a selection that goes on behind it."""
        rows = self._db.read(*wanted.query(kind, "body"))
        return [(json.loads(body), tuple(key)) for body, *key in rows]

    def items(self, kind: Kind[Document], prefix: str = "") -> list[tuple[str, Document]]:
        """(name, document) of all of a kind whose name starts with `prefix`, oldest first."""
        rows = self._db.read(*Selection(prefix=prefix).query(kind, "name, body"))
        return [(name, json.loads(body)) for name, body, *_ in rows]

    def list(
        self,
        kind: Kind[Document],
        prefix: str = "",
        *,
        parent: str | None = None,
        status: Sequence[str] = (),
    ) -> list[Document]:
        """All of a kind that begin with `prefix`, belong to `parent` and have one of these statuses; oldest first."""
        wanted = Selection(prefix=prefix, parent=parent, status=tuple(status))
        return [body for body, _ in self.page(kind, wanted)]

    def spelled(self, kind: Kind[Any], name: str) -> str | None:
        """The name of a document that differs from `name` at most by capital letters."""
        found = self._db.read("SELECT name FROM document WHERE kind = ? AND lower(name) = ?", (kind, name.lower()))
        return found[0][0] if found else None

    def watch(self, kind: Kind[Document], watcher: Watcher[Document]) -> None:
        """Tell `watcher` of every change to a kind's documents, in order: (name, before, after); None is "not there".

        It is called while nobody else can write: it must hand the work on and return.
        """
        with self._lock:
            self._watchers.setdefault(kind, []).append(watcher)

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every commit, in order; as with `watch`, nobody else can write meanwhile."""
        with self._lock:
            self._listeners.append(listener)

    def wait(
        self, kind: Kind[Document], name: str, until: Callable[[Document], bool], timeout: float | None = None
    ) -> Document:
        """Block until a document satisfies `until`; return it. KeyError when it is gone, TimeoutError when too late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        woken = threading.Event()
        with self._waiting:
            self._waiters.setdefault((kind, name), []).append(woken)
        try:
            while True:
                woken.clear()
                body = self.expect(kind, name)
                if until(body):
                    return body
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{kind} {name}")
                woken.wait(left)
        finally:
            with self._waiting:
                self._waiters[kind, name].remove(woken)
                if not self._waiters[kind, name]:
                    del self._waiters[kind, name]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _row(self, kind: str, name: str) -> tuple[int, str] | None:
        """Version and text of a document."""
        rows = self._db.read("SELECT version, body FROM document WHERE kind = ? AND name = ?", (kind, name))
        return rows[0] if rows else None

    def _insert(self, kind: Kind[Any], name: str, body: Any, inserted: float | None = None) -> None:
        text = json.dumps(body)
        self._db.write(
            "INSERT INTO document (kind, name, parent, created, modified, status, version, crc, body) "
            "VALUES (:kind, :name, :parent, coalesce(:created, :now), :modified, :status, :version, :crc, :body)",
            row(Change(kind, name, 1, text), body) | {"now": inserted or time.time()},
        )
        self._note(kind, name, 1, text, before=None, after=body)

    def _update(self, kind: Kind[Any], name: str, body: Any, version: int, former: str) -> None:
        text = json.dumps(body)
        self._db.write(
            "UPDATE document SET parent = :parent, created = coalesce(:created, created), modified = :modified, "
            "status = :status, version = :version, crc = :crc, body = :body WHERE kind = :kind AND name = :name",
            row(Change(kind, name, version + 1, text), body),
        )
        self._note(kind, name, version + 1, text, before=former, after=body)

    def _note(self, kind: str, name: str, version: int, text: str | None, *, before: str | None, after: Any) -> None:
        assert self._pending is not None
        former = json.loads(before) if before is not None and kind in self._watchers else None
        self._pending.append((Change(kind, name, version, text), former, after))

    def _tell(self, pending: Sequence[tuple[Change, Any, Any]]) -> None:
        if not pending:
            return
        changes = [change for change, _, _ in pending]
        for listener in self._listeners:
            listener(changes)
        for change, before, after in pending:
            for watcher in self._watchers.get(change.kind, ()):
                watcher(change.name, before, after)
        with self._waiting:
            for change in changes:
                for woken in self._waiters.get((change.kind, change.name), ()):
                    woken.set()

    def _convert(self) -> None:
        """From schema 1, which had no columns but `created`."""
        with self.transaction():
            former = self._db.read("SELECT kind, name, created, body FROM documents ORDER BY created, rowid")
            self._db.create_tables()
            for kind, name, created, text in former:
                self._insert(Kind[Json](kind), name, json.loads(text), created)
            self._db.write("DROP TABLE documents")


def row(change: Change, body: Mapping[str, Any]) -> Json:
    """The columns of a document as `change` leaves it; `body` is what its text says."""
    columns = Kind.declared.get(change.kind, Columns()).of(change.name, body)
    named = {"kind": change.kind, "name": change.name, "version": change.version, "body": change.text}
    return columns | named | {"crc": crc(change.text or "")}


def crc(text: str) -> int:
    """The checksum of a document's text, by which a damaged row is told from a sound one."""
    return zlib.crc32(text.encode())
