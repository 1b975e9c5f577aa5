"""Reads what is left of a damaged state.db: every row that can still be found on its pages, and is what was written.

SQLite gives up at the first page that makes no sense. Here each page is looked at by itself: those that hold rows of a
table are known by their first byte, and the checksum in a row of `document` tells whether it is sound.
Source: https://www.sqlite.org/fileformat2.html
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sagelocal.core.store import crc

LEAF = 0x0D
DEFAULT_PAGE_SIZE = 4096
WAL_HEADER, FRAME_HEADER = 32, 24
COLUMNS = 10
LEAST_CELL = 6  # bytes, with its pointer
MOST = 1 << 28  # bytes of a record; nonsense that says more is not believed

Page = Callable[[int], bytes]  # the content of a page by its number, from 1; empty where there is none


class Row(NamedTuple):
    """A row of `document`, without its number."""

    kind: str
    name: str
    parent: str | None
    created: float
    modified: float
    status: str | None
    version: int
    crc: int
    body: str


def rows(database: Path) -> Iterator[Row]:
    """The sound rows of a database and of the log beside it, in no order, older copies of a row among them."""
    data = _content(database)
    size = int.from_bytes(data[16:18], "big")
    size = size if size in (512, 1024, 2048, 4096, 8192, 16384, 32768) else DEFAULT_PAGE_SIZE
    count = -(-len(data) // size)

    def page(number: int) -> bytes:
        return data[(number - 1) * size : number * size]

    for number in range(1, count + 1):
        yield from _rows_of(number, size, page)
    log = _content(database.with_name(f"{database.name}-wal"))
    frames = range(WAL_HEADER, len(log) - FRAME_HEADER - size + 1, FRAME_HEADER + size)
    newest = {int.from_bytes(log[frame : frame + 4], "big"): frame + FRAME_HEADER for frame in frames}

    def logged(number: int) -> bytes:
        start = newest.get(number)
        return page(number) if start is None else log[start : start + size]

    for number in newest:
        yield from _rows_of(number, size, logged)


def _content(path: Path) -> bytes | mmap.mmap:
    if not path.exists() or not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _rows_of(number: int, size: int, page: Page) -> Iterator[Row]:
    content = page(number)
    start = 100 if number == 1 else 0
    if len(content) < start + 8 or content[start] != LEAF:
        return
    cells = min(int.from_bytes(content[start + 3 : start + 5], "big"), size // LEAST_CELL)
    for cell in range(cells):
        pointer = start + 8 + 2 * cell
        try:
            row = _row(_payload(content, int.from_bytes(content[pointer : pointer + 2], "big"), size, page))
        except (IndexError, ValueError, struct.error):
            continue
        if row:
            yield row


def _payload(content: bytes, start: int, size: int, page: Page) -> bytes:
    """The record of a cell, with what is on overflow pages. Raises IndexError and ValueError for nonsense."""
    length, start = _varint(content, start)
    _, start = _varint(content, start)
    if length > MOST:
        raise ValueError("no such record")
    largest, least = size - 35, (size - 12) * 32 // 255 - 23
    here = least + (length - least) % (size - 4)
    local = length if length <= largest else here if here <= largest else least
    parts, found = [content[start : start + local]], local
    following = int.from_bytes(content[start + local : start + local + 4], "big") if local < length else 0
    while found < length:
        content = page(following) if following else b""
        if not content:
            raise ValueError("an overflow page is missing")
        parts.append(content[4 : 4 + length - found])
        found += size - 4
        following = int.from_bytes(content[:4], "big")
    return b"".join(parts)


def _row(record: bytes) -> Row | None:
    """A record as a row of `document`; None when it is another table's, or is damaged."""
    header, position = _varint(record, 0)
    types = []
    while position < header:
        kind, position = _varint(record, position)
        types.append(kind)
    if len(types) != COLUMNS or types[0] != 0:  # the number of a row is not in its record
        return None
    values = []
    for kind in types:
        value, position = _value(record, kind, position)
        values.append(value)
    row = Row(*values[1:])
    texts = isinstance(row.kind, str) and isinstance(row.name, str) and isinstance(row.body, str)
    return row if texts and crc(row.body) == row.crc else None


def _value(record: bytes, kind: int, position: int) -> tuple[Any, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), position
    if kind <= 6:
        end = position + (0, 1, 2, 3, 4, 6, 8)[kind]
        return int.from_bytes(record[position:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack(">d", record[position : position + 8])[0], position + 8
    end = position + (kind - 12) // 2
    content = record[position:end]
    if len(content) != end - position:
        raise ValueError("a value is cut off")
    return (content.decode() if kind % 2 else content), end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for end in range(position, position + 8):
        value = value << 7 | data[end] & 0x7F
        if data[end] < 0x80:
            return value, end + 1
    return value << 8 | data[position + 8], position + 9
