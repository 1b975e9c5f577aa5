"""Which documents of a kind a list wants, in which order, and from where on: as SQL that an index answers.

Pages are found by key, not by number: the next one begins behind the last row of this one, however many came before.
"""

from dataclasses import dataclass
from typing import Any

# The columns of each order, the last of which no two rows of a kind share.
ORDERS = {
    "created": ("created", "id"),
    "modified": ("modified", "id"),
    "status": ("status", "created", "id"),
    "name": ("name",),
}
INFINITY = float("inf")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Filters, all of which a document must pass. `contains`: letters of the name, in either case; `created`,
    `modified`: seconds since 1970, both ends included; `after`: the key of the row that came last."""

    parent: str | None = None
    prefix: str = ""
    contains: str = ""
    status: tuple[str, ...] = ()
    created: tuple[float, float] = (-INFINITY, INFINITY)
    modified: tuple[float, float] = (-INFINITY, INFINITY)
    order: str = "created"
    descending: bool = False
    after: tuple[Any, ...] = ()
    limit: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that a row is found by again."""
        return ORDERS[self.order]

    def query(self, kind: str, columns: str) -> tuple[str, list[Any]]:
        """The SELECT of `columns`, followed by those of `key`, and its parameters."""
        where, values = ["kind = ?"], [kind]
        for condition, parameters in self._conditions():
            where.append(condition)
            values += parameters
        direction = " DESC" if self.descending else ""
        order = ", ".join(f"{column}{direction}" for column in self.key)
        limit = "" if self.limit is None else f" LIMIT {int(self.limit)}"
        selected = ", ".join((columns, *self.key))
        # SQLite would rather read all of a kind in order than sort the few that have one of several statuses.
        table = "document INDEXED BY by_status" if len(self.status) > 1 else "document"
        return f"SELECT {selected} FROM {table} WHERE {' AND '.join(where)} ORDER BY {order}{limit}", values

    def _conditions(self) -> list[tuple[str, list[Any]]]:
        found: list[tuple[str, list[Any]]] = []
        if self.parent is not None:
            found.append(("parent = ?", [self.parent]))
        if self.prefix:
            found.append(("name >= ?", [self.prefix]))
            if end := successor(self.prefix):
                found.append(("name < ?", [end]))
        if self.status:
            found.append((f"status IN ({', '.join('?' * len(self.status))})", list(self.status)))
        for column, (low, high) in (("created", self.created), ("modified", self.modified)):
            if (low, high) != (-INFINITY, INFINITY):
                found.append((f"{column} BETWEEN ? AND ?", [low, high]))
        if self.contains:
            found.append(("instr(lower(name), ?) > 0", [self.contains.lower()]))
        if self.after:
            marks = ", ".join("?" * len(self.key))
            found.append((f"({', '.join(self.key)}) {'<' if self.descending else '>'} ({marks})", list(self.after)))
        return found


def successor(prefix: str) -> str:
    """The first text, in the order of code points, behind all that begin with `prefix`; "" where there is none."""
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return ""
    last = ord(head[-1])
    return head[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # no UTF-8 has the surrogates between
