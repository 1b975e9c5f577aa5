"""Pages of a bucket's keys, in S3's order, from the index; which is first brought up to date where the page looks."""

import sqlite3
from contextlib import suppress
from operator import itemgetter
from typing import NamedTuple

from sagelocal.core.context import Context
from sagelocal.services.s3 import folders, metadata, rows, tree
from sagelocal.services.s3.index import index
from sagelocal.services.s3.rows import BETWEEN, END

MOST_LOOKED_AT = 100  # folders whose time is asked for a page, so that it stays fast; the others are, by and by
FEW_FOLDERS = 100  # among objects: with more, seeking one by one is faster than reading gap by gap and sorting
FEW_OBJECTS = 16  # read to see whether a page begins with objects
AT_ONCE = 16  # folders that nobody looked into before the page is asked for again

OBJECT = "key, size, modified, etag, checksums"
OBJECTS = f"SELECT {OBJECT} FROM object WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
CHILDREN = """SELECT path, NULL, NULL, NULL, NULL FROM folder
              WHERE bucket = ? AND parent = ? AND live = 1 AND path >= ? AND path < ? ORDER BY path LIMIT ?"""
BETWEEN_CHILDREN = BETWEEN.format(columns=", ".join(f"o.{name}" for name in OBJECT.split(", "))) + " LIMIT :count"

# One key of whatever a page shows: of an object, with its other columns, or the first below a common prefix, without.
CUT = "nullif(instr(substr(item.key, :skip), :delimiter), 0)"  # where the delimiter begins behind the prefix
ROLLED_UP = f"""
WITH RECURSIVE item(key) AS (
    SELECT min(key) FROM object WHERE bucket = :bucket AND key >= :low AND key < :high
    UNION ALL
    SELECT (SELECT key FROM object WHERE bucket = :bucket AND key < :high AND key >= CAST(
                ifnull(substr(item.key, 1, :skip + {CUT} - 2) || :delimiter || x'FF', item.key || x'00') AS BLOB)
            ORDER BY key LIMIT 1)
    FROM item WHERE item.key IS NOT NULL
    LIMIT :count)
SELECT item.key, size, modified, etag, checksums
FROM item LEFT JOIN object o ON o.bucket = :bucket AND o.key = CASE WHEN {CUT} IS NULL THEN item.key END
WHERE item.key IS NOT NULL"""


# The first folder that nobody looked into, of each child folder in which nothing was found yet.
UNEXPLORED = """
SELECT (SELECT u.path FROM folder u WHERE u.bucket = c.bucket AND u.stamp = ''
        AND u.path >= c.path AND u.path < CAST(c.path || x'FF' AS BLOB) ORDER BY u.path LIMIT 1) AS first
FROM folder c WHERE c.bucket = ? AND c.parent = ? AND c.live = 0 AND c.path >= ? AND c.path <= ?
AND first IS NOT NULL LIMIT ?"""


class Asked(NamedTuple):
    """What a page is of. after: keys sort behind it. again: the common prefix that `after` is in was listed before."""

    prefix: str
    delimiter: str = ""
    after: str = ""
    again: bool = False

    def common(self, key: str) -> str:
        """The common prefix that a key goes under, "" where it is listed itself."""
        at = key.find(self.delimiter, len(self.prefix)) if self.delimiter and key.startswith(self.prefix) else -1
        return key[: at + len(self.delimiter)] if at >= 0 else ""


# An object's columns, as the index has them, or a common prefix and None for the others. A page has a thousand.
Entry = tuple[bytes, int | None, float | None, str | None, str | None]


def page(context: Context, bucket: str, asked: Asked, count: int) -> list[Entry]:
    """The first `count` objects and common prefixes. Raises NoSuchBucket."""
    tree.existing_bucket(context, bucket)
    found = index(context).surviving(lambda: _up_to_date(context, bucket, asked, count))
    unread = {key: key.decode() for key, size, _, etag, _ in found if etag is None and size is not None}
    if not unread:
        return found
    described = describe(context, bucket, list(unread.values()))
    complete: list[Entry] = []
    for entry in found:
        if entry[0] not in unread:
            complete.append(entry)
        elif now := described.get(unread[entry[0]]):
            complete.append((entry[0], *now.values()[:-1]))
    return complete


def describe(context: Context, bucket: str, undescribed: list[str]) -> dict[str, rows.Described]:
    """Complete the rows of objects whose files were not read yet. Left out: what is gone meanwhile."""
    paths = {}
    for key in undescribed:
        with suppress(tree.NoSuchKey, tree.NoSuchBucket):
            paths[key] = tree.find(context, bucket, key)
    return metadata.describe(context, bucket, paths) if paths else {}


def keys(context: Context, bucket: str, prefix: str = "") -> list[str]:
    """All keys that start with a prefix, in order. Raises NoSuchBucket."""
    tree.existing_bucket(context, bucket)
    return index(context).surviving(
        lambda: [key.decode() for key, *_ in _up_to_date(context, bucket, Asked(prefix), -1)]
    )


def _up_to_date(context: Context, bucket: str, asked: Asked, count: int) -> list[Entry]:
    done = set[str]()
    while True:
        with index(context).reading() as db:
            number = rows.number_of(db, bucket)
            entries = _entries(db, number, asked, count)
            end = entries[-1][0] if 0 < count == len(entries) else _bytes(asked.prefix) + END
            looked_at = _where(db, number, asked, end, MOST_LOOKED_AT if count > 0 else -1)
        some = [f for f in folders.changed(context.state_dir / "s3" / bucket, looked_at) if f not in done]
        if not number:
            rows.add_bucket(context, bucket)
        elif not some:
            return entries
        for folder in some[:AT_ONCE]:
            folders.scan(context, bucket, folder)
            done.add(folder)


def _where(db: sqlite3.Connection, bucket: int, asked: Asked, end: bytes, most: int) -> list[folders.Found]:
    """The folders that a page looks into: those that lead to it, and those in which its keys are. With "/" it is their
    parent that has them; of each it need only be known that there is something in it."""
    prefix = asked.prefix
    low = max(_bytes(prefix), _bytes(asked.after))
    found = folders.on_the_way(db, bucket, asked.after if asked.after.startswith(prefix) else prefix)
    if asked.delimiter != "/":
        return found + folders.within(db, bucket, low, end, most) + folders.unknown(db, bucket, low, end, AT_ONCE)
    parent = _bytes(prefix[: prefix.rfind("/") + 1])
    unexplored = db.execute(UNEXPLORED, (bucket, parent, low, end, AT_ONCE)).fetchall()
    return found + folders.children(db, bucket, parent, low, end, most) + [(path, "", None) for (path,) in unexplored]


def _entries(db: sqlite3.Connection, bucket: int, asked: Asked, count: int) -> list[Entry]:
    prefix = _bytes(asked.prefix)
    low, high = prefix, prefix + END
    first: list[Entry] = []
    if asked.after:
        low = max(low, _bytes(asked.after) + b"\0")
        if common := _bytes(asked.common(asked.after)):
            if not asked.again and db.execute(OBJECTS, (bucket, low, common + END, 1)).fetchone():
                first = [(common, None, None, None, None)]
            low = common + END
    count -= len(first)
    if asked.delimiter == "/":
        return first + _by_folder(db, bucket, asked, low, high, count)
    if asked.delimiter:
        return first + _rolled_up(db, bucket, asked, low, high, count)
    return first + db.execute(OBJECTS, (bucket, low, high, count)).fetchall()


def _by_folder(db: sqlite3.Connection, bucket: int, asked: Asked, low: bytes, high: bytes, count: int) -> list[Entry]:
    parent = _bytes(asked.prefix[: asked.prefix.rfind("/") + 1])
    own = db.execute("SELECT objects FROM folder WHERE bucket = ? AND path = ?", (bucket, parent)).fetchone()
    most = count if own == (0,) else min(count, FEW_FOLDERS + 1)
    found: list[Entry] = db.execute(CHILDREN, (bucket, parent, low, high, most)).fetchall()
    if own == (0,):
        return found
    if not found:
        return db.execute(OBJECTS, (bucket, low, high, count)).fetchall()
    if len(found) > FEW_FOLDERS:
        return _rolled_up(db, bucket, asked, low, high, count)
    end = found[-1][0] if len(found) == count else high
    where = {"bucket": bucket, "parent": parent, "or_live": 1, "low": low, "high": end, "count": count}
    found += db.execute(BETWEEN_CHILDREN, where)
    found.sort(key=itemgetter(0))
    return found[:count]


def _rolled_up(db: sqlite3.Connection, bucket: int, asked: Asked, low: bytes, high: bytes, count: int) -> list[Entry]:
    prefix, delimiter = _bytes(asked.prefix), _bytes(asked.delimiter)
    found = _before_first_common_prefix(db, (bucket, low, high), prefix, delimiter, count)
    low = found[-1][0] + b"\0" if found else low
    where = {"bucket": bucket, "skip": len(prefix) + 1, "delimiter": delimiter, "low": low, "high": high}
    for row in db.execute(ROLLED_UP, where | {"count": count - len(found)}):
        if row[1] is None:
            row = (row[0][: row[0].index(delimiter, len(prefix)) + len(delimiter)], *row[1:])
        found.append(row)
    return found


def _before_first_common_prefix(
    db: sqlite3.Connection, where: tuple[int, bytes, bytes], prefix: bytes, delimiter: bytes, count: int
) -> list[Entry]:
    """Objects that nothing but objects comes before: they are read as they lie, which is faster than one by one."""
    found: list[Entry] = []
    for most in (min(count, FEW_OBJECTS), count):
        found = db.execute(OBJECTS, (*where, most)).fetchall()
        for at, row in enumerate(found):
            if row[0].find(delimiter, len(prefix)) >= 0:
                return found[:at]
    return found


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
