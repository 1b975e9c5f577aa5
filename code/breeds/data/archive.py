"""The raw data set as a list of files that can be read one by one: a folder, a zip or a tar, never unpacked to disk."""

import functools
import gzip
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from breeds.base.container import InputError, is_disk_full
from breeds.data import tars, zips
from breeds.data.images import Rejected
from breeds.data.listing import Listing

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_FILE_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 200 * 2**30
MAX_RATIO = 200  # photos hardly compress; only a bomb expands like this
RATIO_MATTERS_ABOVE = 2**28
LISTING = "listing.sqlite"
MEMBER = struct.Struct("<QQQIH")  # size, offset, packed size, CRC-32, method


@dataclass(frozen=True)
class Reader:
    """Reads a data set's files, each by its `member` in the listing; small enough to travel with every task."""

    kind: str
    location: Path

    def read(self, path: str, member: bytes) -> bytes:
        """One file's bytes. Raises Rejected where it is too large or its bytes are damaged."""
        size, offset, packed, crc, method = MEMBER.unpack(member)
        if size > MAX_FILE_BYTES:
            raise Rejected(f"too large: {size / 2**20:.0f} MiB, the limit is {MAX_FILE_BYTES // 2**20}")
        try:
            if self.kind == "folder":
                return (self.location / path).read_bytes()
            file = opened_once(self.location, os.getpid())
            if self.kind == "zip":
                return zips.unpack(file, offset, packed, size, method, crc)
            file.seek(offset)
            return file.read(size)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise Rejected(f"unreadable: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set; each file's `member` in the listing is a packed MEMBER."""

    reader: Reader
    listing: Listing
    directories: set[str] = field(default_factory=set)

    def add_file(self, path: str, size: int, offset: int = 0, packed: int = 0, crc: int = 0, method: int = 0) -> None:
        """Add a file to the listing; `packed`, `crc` and `method` are a zip member's."""
        if not is_ignored(path):
            self.listing.add(path, MEMBER.pack(size, offset, packed, crc, method))

    def add_directory(self, path: str) -> None:
        if not is_ignored(path):
            self.directories.add(path.rstrip("/"))

    def leave_out(self, path: str, reason: str) -> None:
        """Put a file into quarantine."""
        if not is_ignored(path):
            self.listing.leave_out(path, reason)


def size(member: bytes) -> int:
    """Bytes of a file, unpacked."""
    return MEMBER.unpack(member)[0]


@functools.cache
def opened_once(path: Path, pid: int) -> BinaryIO:
    """A file that stays open for this process (`pid`: its own)."""
    return path.open("rb")


def open_source(location: Path, scratch: Path) -> Source:
    """The data set in `location`: an archive, a directory with exactly one archive, or a folder tree.

    Its listing lies in `scratch`; a compressed tar is expanded there too, since it cannot be read out of order. Raises
    InputError for a missing path, several archives, an unreadable or encrypted archive, member names that lead
    outside, a bomb.
    """
    if not location.exists():
        raise InputError(f"The input {location} does not exist.", "Give a zip, a tar or a folder of class folders.")
    if location.is_file():
        if not _is_archive(location):
            raise InputError(
                f"{location.name} is neither a folder nor an archive.", f"Use {', '.join(ARCHIVE_SUFFIXES)}."
            )
        return _open_archive(location, scratch)
    visible = [path for path in sorted(location.iterdir()) if not is_ignored(path.name)]
    archives = [path for path in visible if path.is_file() and _is_archive(path)]
    if not archives:
        return _open_folder(location, scratch)
    if len(archives) > 1 or any(path.is_dir() for path in visible):
        names = ", ".join(path.name for path in visible[:6])
        raise InputError(f"{location} holds more than one data set: {names}.", "Leave one archive, or only folders.")
    return _open_archive(archives[0], scratch)


def is_ignored(path: str) -> bool:
    """Files that operating systems leave behind; they are no part of the data set."""
    parts = path.rstrip("/").split("/")
    return any(part.startswith(".") and part != "." or part == "__MACOSX" for part in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def _open_archive(path: Path, scratch: Path) -> Source:
    try:
        if path.name.lower().endswith(".zip"):
            return _open_zip_source(path, scratch)
        if path.name.lower().endswith((".gz", ".tgz")):
            path = _expand(path, scratch)
        return _open_tar_source(path, scratch)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError) as error:
        if is_disk_full(error):
            raise InputError(
                f"The disk is full: {path.name} does not fit on it expanded.",
                "Raise the job's VolumeSizeInGB, or give a zip or an uncompressed tar, which are read in place.",
            ) from error
        raise InputError(
            f"The archive {path.name} cannot be read ({error}).",
            "It may be cut off or not an archive: upload it again.",
        ) from error


def _open_zip_source(path: Path, scratch: Path) -> Source:
    source = Source(reader=Reader("zip", path), listing=Listing(scratch / LISTING))
    expanded = 0
    for member in zips.members(path):
        _check_names(path, [member.name])
        expanded += member.size
        if member.is_encrypted:
            raise InputError(f"The archive {path.name} is encrypted.", "Make it again without a password.")
        if member.name.endswith("/"):
            source.add_directory(member.name)
        elif member.mode & 0o170000 == 0o120000:
            source.leave_out(member.name, "link: only files are read")
        else:
            source.add_file(member.name, member.size, member.offset, member.packed, member.crc, member.method)
    _check_total(path, expanded)
    return source


def _open_tar_source(path: Path, scratch: Path) -> Source:
    source = Source(reader=Reader("tar", path), listing=Listing(scratch / LISTING))
    with tarfile.open(path, "r:") as archive:
        for member in tars.members(archive):
            _check_names(path, [member.name])
            if member.isdir():
                source.add_directory(member.name)
            elif member.isreg() and not member.issparse():
                source.add_file(member.name, member.size, member.offset_data)
            else:
                source.leave_out(member.name, "link or device: only files are read")
        end = archive.offset
    _check_ends_properly(path, end)
    return source


def _check_ends_properly(path: Path, end: int) -> None:
    """A tar ends with zero blocks; tarfile takes one that was cut off between or within members for a shorter one."""
    with path.open("rb") as file:
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends in the middle")


def _open_folder(root: Path, scratch: Path) -> Source:
    source = Source(reader=Reader("folder", root), listing=Listing(scratch / LISTING))
    for folder, subfolders, files in os.walk(root):
        here = Path(folder).relative_to(root).as_posix().removeprefix(".")
        for name in sorted(subfolders + files):
            path = f"{here}/{name}".lstrip("/")
            full = root / path
            if full.is_symlink():
                source.leave_out(path, "link: only files are read")
            elif full.is_dir():
                source.add_directory(path)
            elif full.is_file():
                source.add_file(path, full.stat().st_size)
            else:
                source.leave_out(path, "device or socket: only files are read")
    return source


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Raises InputError for a name that leads outside: harmless here, as nothing is unpacked, but meant to do harm."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise InputError(
                f"The archive {path.name} holds {name!r}, which leads outside the archive.",
                "Do not use this archive; make a new one from the images.",
            )


def _check_total(path: Path, expanded: int) -> None:
    packed = path.stat().st_size
    if expanded > MAX_TOTAL_BYTES or (expanded > RATIO_MATTERS_ABOVE and expanded > MAX_RATIO * packed):
        raise InputError(
            f"The archive {path.name} ({packed / 2**20:.1f} MiB) expands to {expanded / 2**30:.1f} GiB or more.",
            f"The limits are {MAX_TOTAL_BYTES // 2**30} GiB and {MAX_RATIO} times its size.",
        )


def _expand(path: Path, scratch: Path) -> Path:
    target = scratch / "expanded.tar"
    written = 0
    with gzip.open(path) as packed, target.open("wb") as expanded:
        while block := packed.read(2**20):
            written += len(block)
            _check_total(path, written)
            expanded.write(block)
    return target
