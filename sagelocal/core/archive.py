"""A whole account as one tar file: made while a server runs or none does, and made a state directory of again.

In it are a consistent copy of state.db, the objects of S3, the code of functions, logs and the user's own settings.
What a server makes anew is not, and the owner's keys are not. Objects and logs that change meanwhile are there as they
were or as they became.
"""

import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sagelocal import VERSION
from sagelocal.core import lock, snapshots
from sagelocal.core.database import SCHEMA_VERSION, Database
from sagelocal.core.json import Json
from sagelocal.core.stamp import file_stamp
from sagelocal.core.store import crc

ABOUT, DATABASE, END = "sagelocal.json", "state.db", "sagelocal.end"
KEPT = ("s3", "lambda", "logs", "images.toml")
MADE_ANEW = re.compile(r"s3/\.(incoming|uploads)|lambda/[^/]+/workers")
STAMP = "SAGELOCAL.stamp"  # in the header of a file: which file it was, as the records of objects name it


class BadArchive(Exception):
    """The file is no archive of an account, or not a whole one; the message says what is wrong."""


def save(state_dir: Path, path: Path) -> int:
    """Write the account into a tar file that is not there yet; its size in bytes. Only the file's own disk needs room.

    Raises OSError, sqlite3.Error, Damaged.
    """
    part = path.with_name(f"{path.name}.part")
    about = {"version": VERSION, "schema": SCHEMA_VERSION, "state_dir": str(state_dir), "time": time.time()}
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            copy = Path(folder) / DATABASE
            snapshots.take(state_dir / DATABASE, copy)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                text = json.dumps(about).encode()
                head = tarfile.TarInfo(ABOUT)
                head.size = len(text)
                tar.addfile(head, io.BytesIO(text))
                _add(tar, DATABASE, copy)
                for name, found in _files(state_dir):
                    _add(tar, name, found)
                tar.addfile(tarfile.TarInfo(END))  # by which one that is cut off between two members is known
        part.rename(path)
        return path.stat().st_size
    finally:
        part.unlink(missing_ok=True)


def restore(path: Path, state_dir: Path) -> Json:
    """Make a state directory that has no state yet of an archive; what the archive says of itself. Raises BadArchive,
    FileExistsError and OSError."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = lock.hold(state_dir)
    try:
        if held is None or any((state_dir / name).exists() for name in (DATABASE, "s3")):
            raise FileExistsError(f"{state_dir} has a state already.")
        with tempfile.TemporaryDirectory(dir=state_dir, prefix="restoring-") as folder:
            unpacked = Path(folder)
            about, stamps = _unpack(path, unpacked)
            snapshots.check(unpacked / DATABASE)
            _correct(unpacked / DATABASE, about["state_dir"], state_dir, stamps)
            for name in (*KEPT, DATABASE):  # the database last: without it there is no state
                if (unpacked / name).exists() and not (state_dir / name).exists():
                    (unpacked / name).rename(state_dir / name)
        return about
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, snapshots.Damaged) as problem:
        said = " ".join(str(problem).split())
        raise BadArchive(f"{path} is no whole archive of an account: {said}.") from None
    finally:
        if held is not None:
            os.close(held)


def _files(state_dir: Path) -> Iterator[tuple[str, Path]]:
    """(name in the archive, file or folder) of all that is kept; empty folders too, since buckets may be empty."""
    for kept in KEPT:
        for folder, folders, files in os.walk(state_dir / kept):
            name = Path(folder).relative_to(state_dir).as_posix()
            folders[:] = sorted(one for one in folders if not MADE_ANEW.fullmatch(f"{name}/{one}"))
            yield name, Path(folder)
            yield from ((f"{name}/{file}", Path(folder, file)) for file in sorted(files))
        if (state_dir / kept).is_file():
            yield kept, state_dir / kept


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """A file or a folder; what is gone meanwhile is left out, and so is what is neither."""
    if path.is_symlink():
        return
    try:
        status = path.stat()
        member = tarfile.TarInfo(name)
        member.mode, member.mtime = status.st_mode & 0o777, status.st_mtime
        if path.is_dir():
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        elif path.is_file():
            with path.open("rb") as content:
                status = os.fstat(content.fileno())
                member.size, member.pax_headers = status.st_size, {STAMP: file_stamp(status)}
                tar.addfile(member, content)
    except FileNotFoundError:
        return


def _unpack(path: Path, folder: Path) -> tuple[Json, dict[str, str]]:
    """What the archive says of itself, and for each stamp of a file the stamp of what was made of it."""
    stamps: dict[str, str] = {}
    about: Json = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
                raise BadArchive(f"{path} has a member {member.name!r}, which no archive of an account has.")
            if not about:
                about = _about(path, tar, member)
            elif member.isdir():
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                _write(tar, member, folder / name, stamps)
    if not (folder / END).exists():
        raise EOFError("its end is missing")
    return about, stamps


def _about(path: Path, tar: tarfile.TarFile, first: tarfile.TarInfo) -> Json:
    content = tar.extractfile(first) if first.name == ABOUT else None
    if content is None:
        raise BadArchive(f"{path} is no archive of an account: it does not begin with {ABOUT}.")
    about: Json = json.load(content)
    if about["schema"] > SCHEMA_VERSION:
        raise BadArchive(f"{path} was made by a newer version, {about['version']}. Update sagelocal.")
    return about


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, stamps: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
    if path.stat().st_size != member.size:
        raise EOFError(f"{member.name} is cut off")
    path.chmod(member.mode & 0o700)
    stamp = member.pax_headers.get(STAMP)
    if stamp:
        moment = int(stamp.split("-")[1])
        os.utime(path, ns=(moment, moment))
        stamps[stamp] = file_stamp(path.stat())


def _correct(database: Path, former: str, state_dir: Path, stamps: dict[str, str]) -> None:
    """Documents name files by their path, and the files of objects by their stamp: both are others now."""
    old, new = (json.dumps(f"{path}/")[1:-1] for path in (former, state_dir))
    db = Database(database)
    try:
        with db.transaction():
            for number, body in db.read("SELECT id, body FROM document"):
                corrected = body.replace(f'"{old}', f'"{new}')
                corrected = re.sub(r'"stamp": "([^"]+)"', lambda found: _with(found, stamps), corrected)
                if corrected != body:
                    row = (corrected, crc(corrected), number)
                    db.write("UPDATE document SET body = ?, crc = ? WHERE id = ?", row)
    finally:
        db.close()


def _with(found: re.Match[str], stamps: dict[str, str]) -> str:
    return f'"stamp": "{stamps.get(found[1], found[1])}"'
