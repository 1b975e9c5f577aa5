"""A data set's files as a table on the disk: a million of them take no more memory than a thousand."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from breeds.data.manifest import Quarantined

Row = TypeVar("Row", bound=NamedTuple)
BY_KEY = "split, key"  # the order in the shards
TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -512; -- KiB; the system's file cache has the rest
CREATE TABLE files (
    path TEXT PRIMARY KEY, member BLOB, folder TEXT, split TEXT, label INTEGER, key TEXT, sha256 TEXT
) WITHOUT ROWID;
CREATE TABLE left_out (path TEXT, reason TEXT);
"""


def _encoded(text: str) -> bytes:
    """Bytes that sort as the text does. SQLite's own texts must be valid UTF-8, which names in archives may not be."""
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


sqlite3.register_converter("TEXT", _decoded)


class Rows(Collection[Row], Generic[Row]):
    """The rows of a query, each as a `kind`; they are read from the disk at each iteration."""

    def __init__(self, table: sqlite3.Connection, kind: type[Row], query: str, values: list) -> None:
        self._table, self._kind, self._query, self._values = table, kind, query, values

    def __iter__(self) -> Iterator[Row]:
        return (self._kind._make(row) for row in self._table.execute(self._query, self._values))

    def __len__(self) -> int:
        return self._table.execute(f"SELECT count(*) FROM ({self._query})", self._values).fetchone()[0]

    def __contains__(self, row: object) -> bool:
        return any(row == found for found in self)


class Member(NamedTuple):
    """A file, and how an archive.Reader finds it."""

    path: str
    member: bytes


class Listing:
    """The files that may become images, one row each, by their `/`-separated path; and those that were left out.

    Its columns are filled in step by step: `folder` is that of the class, `split`, `label`, `key` and `sha256` as in
    the manifest. A row may be updated or removed during an iteration (https://sqlite.org/isolation.html).
    """

    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._table = sqlite3.connect(file, detect_types=sqlite3.PARSE_DECLTYPES)
        self._table.executescript(TABLES)

    def __len__(self) -> int:
        return self._table.execute("SELECT count(*) FROM files").fetchone()[0]

    def add(self, path: str, member: bytes) -> None:
        """Add a file; a path that is there already goes to the files left out."""
        added = self._table.execute(
            "INSERT OR IGNORE INTO files (path, member) VALUES (?, ?)", (_encoded(path), member)
        )
        if not added.rowcount:
            self.leave_out(path, "in the archive twice: the first one is used")

    def update(self, path: str, **columns: Any) -> None:
        """Set columns of a file."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._table.execute(f"UPDATE files SET {names} WHERE path = ?", _values(*columns.values(), path))

    def remove(self, path: str) -> None:
        """Delete a file's row."""
        self._table.execute("DELETE FROM files WHERE path = ?", _values(path))

    def keep(self, is_chosen: Callable[[str], bool]) -> None:
        """Delete the files that are not chosen, also from those left out."""
        self._table.create_function("is_chosen", 1, lambda path: is_chosen(_decoded(path)))
        for table in ("files", "left_out"):
            self._table.execute(f"DELETE FROM {table} WHERE NOT is_chosen(path)")

    def leave_out(self, path: str, reason: str) -> None:
        """Add to the files left out; `remove` takes it from the others."""
        self._table.execute("INSERT INTO left_out VALUES (?, ?)", _values(path, reason))

    def files(self, kind: type[Row], order: str = "path", **where: str) -> Rows[Row]:
        """Files as `kind`, a NamedTuple whose fields are columns; only those whose columns have the values `where`."""
        if order != "path":
            self._table.execute(f"CREATE INDEX IF NOT EXISTS 'by {order}' ON files ({order})")
        found = "".join(f" WHERE {name} = ?" for name in where)
        query = f"SELECT {', '.join(kind._fields)} FROM files{found} ORDER BY {order}"
        return Rows(self._table, kind, query, _values(*where.values()))

    def left_out(self) -> Rows[Quarantined]:
        """The quarantined files, sorted by path."""
        return Rows(self._table, Quarantined, "SELECT path, reason FROM left_out ORDER BY path, reason", [])


def _values(*values: Any) -> list:
    return [_encoded(value) if isinstance(value, str) else value for value in values]
