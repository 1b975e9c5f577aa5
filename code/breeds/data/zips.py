"""Zip archives read member by member, with nothing kept of those that were read.

zipfile.ZipFile holds a kilobyte for each member, in every process that reads one. Format: PKWARE's APPNOTE.TXT, 4.3.
"""

import bz2
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

END = struct.Struct("<4s6xHLLH")  # signature, members, size and offset of the directory, length of a comment
END_64 = struct.Struct("<4s28xQQQ")  # signature, members, size and offset of the directory
LOCATOR_64 = struct.Struct("<4s4xQ4x")  # signature, offset of END_64
ENTRY = struct.Struct("<4s4xHH4xLLLHHH4xLL")
LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
LONGEST_COMMENT = 2**16
MOST_32 = 2**32 - 1
UTF_8 = 0x800
ZIP_64 = 1


class Member(NamedTuple):
    """One entry of the directory; `offset` is that of its local header; `mode` is Unix's, 0 where it has none."""

    name: str
    is_encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int


def members(path: Path) -> Iterator[Member]:
    """The archive's directory, in its order. Raises zipfile.BadZipFile."""
    with path.open("rb") as file:
        count, start, shift = _directory(file)
        file.seek(start + shift)
        for _ in range(count):
            yield _member(file, shift)


def unpack(file: BinaryIO, offset: int, packed: int, size: int, method: int, crc: int) -> bytes:
    """A member's bytes, never more than `size`.

    Raises zipfile.BadZipFile, zlib.error, OSError or EOFError for damage, NotImplementedError for other methods than
    deflate and bzip2.
    """
    file.seek(offset)
    signature, name_length, extra_length = _read(file, LOCAL)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("Bad magic number for file header")
    file.seek(name_length + extra_length, os.SEEK_CUR)
    data = file.read(packed)
    limit = max(size, 1)  # 0 would be no limit
    if method == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
    elif method == zipfile.ZIP_BZIP2:
        data = bz2.BZ2Decompressor().decompress(data, limit)
    elif method != zipfile.ZIP_STORED:
        raise NotImplementedError(f"compression method {method}: use deflate")
    if zlib.crc32(data) != crc:
        raise zipfile.BadZipFile("Bad CRC-32")
    return data


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """(members, offset of the directory, bytes that stand before the archive and shift all offsets)."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - END.size - LONGEST_COMMENT))
    tail_start = file.tell()
    tail = file.read()
    position = tail.rfind(b"PK\x05\x06")
    if position < 0 or len(tail) - position < END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    _, count, size, offset, _ = END.unpack_from(tail, position)
    end = tail_start + position
    if end >= LOCATOR_64.size:
        file.seek(end - LOCATOR_64.size)
        signature, position_64 = _read(file, LOCATOR_64)
        if signature == b"PK\x06\x07":
            file.seek(position_64)
            signature, count, size, offset = _read(file, END_64)
            if signature != b"PK\x06\x06":
                raise zipfile.BadZipFile("Bad magic number for zip64 end record")
            end = position_64
    shift = end - size - offset
    if shift < 0:
        raise zipfile.BadZipFile("Bad offset for central directory")
    return count, offset, shift


def _member(file: BinaryIO, shift: int) -> Member:
    fields = _read(file, ENTRY)
    signature, flags, method, crc, packed, size, name_length, extra_length, comment_length, attributes, offset = fields
    if signature != b"PK\x01\x02":
        raise zipfile.BadZipFile("Bad magic number for central directory")
    name = file.read(name_length).decode("utf-8" if flags & UTF_8 else "cp437", "surrogateescape")
    extra = file.read(extra_length)
    file.seek(comment_length, os.SEEK_CUR)
    if MOST_32 in (packed, size, offset):
        size, packed, offset = _long(extra, size, packed, offset)
    name = name.partition("\0")[0]
    return Member(name, bool(flags & 1), method, crc, packed, size, attributes >> 16, offset + shift)


def _long(extra: bytes, *short: int) -> list[int]:
    """The values that did not fit into 32 bits, from the zip64 field; those that did stay."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == ZIP_64:
            long = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            return [next(long, value) if value == MOST_32 else value for value in short]
        extra = extra[4 + length :]
    return list(short)


def _read(file: BinaryIO, layout: struct.Struct) -> tuple:
    data = file.read(layout.size)
    if len(data) < layout.size:
        raise zipfile.BadZipFile("Truncated")
    return layout.unpack(data)
