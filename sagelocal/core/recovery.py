"""Before a server opens state.db: whether it is sound, and what is to be done when it is not.

A damaged one is moved to `damaged/<moment>/`, never deleted, and made again from the newest sound snapshot, the journal
of what was committed since, and what can still be read in the damaged file.
"""

import json
import os
import shutil
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sagelocal.core import journal, salvage, snapshots
from sagelocal.core.database import BESIDE, SCHEMA_VERSION, Database, remove
from sagelocal.core.salvage import Row
from sagelocal.core.snapshots import Damaged
from sagelocal.core.store import Change, row

MARGIN_SECONDS = 5.0  # between the moment of a snapshot and the times in documents
LARGE = 128 << 20  # bytes; the documents of a larger one are looked at by its first snapshot, not before the start
TOLD = "state.db was"  # how the sentences begin that say what was done

PUT = """
INSERT INTO document (kind, name, parent, created, modified, status, version, crc, body)
VALUES (:kind, :name, :parent, coalesce(:created, :time), :modified, :status, :version, :crc, :body)
ON CONFLICT (kind, name) DO UPDATE SET parent = :parent, created = coalesce(:created, created), modified = :modified,
    status = :status, version = :version, crc = :crc, body = :body"""
DELETE = "DELETE FROM document WHERE kind = :kind AND name = :name"
FIND = "SELECT version, modified FROM document WHERE kind = :kind AND name = :name"


class Unrecoverable(Exception):
    """There is nothing to make a damaged state.db again from; the message says what to do."""


@dataclass
class Source:
    """Where state is made again from: the newest sound snapshot, if there is one."""

    snapshot: Path | None

    @property
    def since(self) -> str:
        return self.snapshot.stem if self.snapshot else ""

    @property
    def moment(self) -> float:
        """Seconds since 1970."""
        return snapshots.moment(self.since).timestamp() if self.snapshot else 0.0


def make_sound(state_dir: Path) -> str | None:
    """Check state.db, and make it again when it is damaged: the sentence that says so. Raises Unrecoverable."""
    new = state_dir / "state.db.new"
    remove(new)  # of a recovery that was cut off
    said: str | None = None
    if (why := _damage(state_dir)) is not None:
        said = _make_again(state_dir, new, why)
    elif not _stopped_cleanly(state_dir):
        said = _catch_up(state_dir)
    for mark in (_clean(state_dir), snapshots.suspect(state_dir)):
        mark.unlink(missing_ok=True)
    return said


def note_clean_stop(state_dir: Path) -> None:
    """The server has closed state.db: unless it changes, the next start need not look at each document."""
    _clean(state_dir).write_text(_identity(state_dir / "state.db"))


def _damage(state_dir: Path) -> str | None:
    """What is wrong with state.db; None when it is sound, or never was there."""
    database = state_dir / "state.db"
    if not database.exists() or not database.stat().st_size:
        known = snapshots.newest(snapshots.folder(state_dir)) or any(journal.read(snapshots.journals(state_dir)))
        return "it was gone or empty" if known else None
    quick = _stopped_cleanly(state_dir) or database.stat().st_size > LARGE
    try:
        snapshots.check(database, thorough=snapshots.suspect(state_dir).exists() or not quick)
    except Damaged as problem:
        return str(problem)
    return None


def _catch_up(state_dir: Path) -> str | None:
    """A sound state.db may lack the last commits: those in a log that was damaged, or that a loss of power cut off."""
    source = Source(next(iter(snapshots.newest(snapshots.folder(state_dir))), None))
    folder = snapshots.journals(state_dir)
    last = deque(journal.read(folder, source.since), maxlen=1)
    if not last or journal.has_gap(folder, source.since) or not (state_dir / "state.db").exists():
        return None
    db = Database(state_dir / "state.db")
    try:
        if db.found_version != SCHEMA_VERSION or not any(_lacks(db, change) for change in last[0].changes):
            return None
        _replay(db, folder, source)
    finally:
        db.close()
    return f"{TOLD} older than the journal of its changes, as after a loss of power; they were made again."


def _make_again(state_dir: Path, new: Path, why: str) -> str:
    source = Source(_sound_snapshot(state_dir))
    if source.snapshot:
        shutil.copyfile(source.snapshot, new)
    db = Database(new)
    try:
        deleted = _replay(db, snapshots.journals(state_dir), source)
        salvaged = _salvage(db, state_dir / "state.db", source, deleted)
        documents = db.read("SELECT count(*) FROM document")[0][0]
    finally:
        db.close()
    if not documents:
        raise Unrecoverable(
            f"state.db in {state_dir} is damaged ({why}), there is no snapshot, and nothing in it can be read. "
            "It was left as it is. Put a copy of yours in its place, or begin anew: sagelocal reset"
        )
    snapshots.check(new)
    _replace(state_dir, new)
    parts = [f"the snapshot of {snapshots.moment(source.since):%Y-%m-%d %H:%M:%S} UTC"] if source.snapshot else []
    parts += ["what was noted since"] if source.snapshot else ["what was noted"]
    parts += [f"{salvaged} document(s) found in the damaged file"] if salvaged else []
    return (
        f"{TOLD} damaged ({why}). It was made again from {' and '.join(parts)}: {documents} document(s). "
        f"What is lost, if anything, is from the last seconds. The damaged file is in {state_dir / 'damaged'}."
    )


def _sound_snapshot(state_dir: Path) -> Path | None:
    for snapshot in snapshots.newest(snapshots.folder(state_dir)):
        with suppress(Damaged):
            snapshots.check(snapshot)
            return snapshot
    return None


def _replay(db: Database, folder: Path, source: Source) -> set[tuple[str, str]]:
    """Do all again that was committed since the snapshot; what was deleted last."""
    deleted: set[tuple[str, str]] = set()
    with db.transaction():
        for commit in journal.read(folder, source.since):
            for change in commit.changes:
                key = (change.kind, change.name)
                if change.text is None:
                    db.write(DELETE, {"kind": change.kind, "name": change.name})
                    deleted.add(key)
                else:
                    db.write(PUT, row(change, json.loads(change.text)) | {"time": commit.time})
                    deleted.discard(key)
    return deleted


def _salvage(db: Database, damaged: Path, source: Source, deleted: set[tuple[str, str]]) -> int:
    """Take from a damaged file what is newer; how many documents that is."""
    taken = set()
    with db.transaction():
        for one in salvage.rows(damaged):
            found = db.read(FIND, one._asdict())
            if _is_newer(one, found[0]) if found else _is_lost(one, source, deleted):
                db.write(PUT, {**one._asdict(), "time": one.created})
                taken.add((one.kind, one.name))
    return len(taken)


def _is_newer(row: Row, found: tuple[int, float]) -> bool:
    """The versions of a document that was deleted and made anew begin again, so that its time has to agree."""
    version, modified = found
    return row.version > version and row.modified >= modified


def _is_lost(row: Row, source: Source, deleted: set[tuple[str, str]]) -> bool:
    """Pages that are not in use any more hold documents that were deleted before the snapshot."""
    return (row.kind, row.name) not in deleted and max(row.created, row.modified) >= source.moment - MARGIN_SECONDS


def _lacks(db: Database, change: Change) -> bool:
    found = db.read(FIND, {"kind": change.kind, "name": change.name})
    return bool(found) if change.text is None else not found or found[0][0] < change.version


def _replace(state_dir: Path, new: Path) -> None:
    """Keep the damaged files and put the new one in their place. A log must never stay beside another's database."""
    database = state_dir / "state.db"
    kept = state_dir / "damaged" / datetime.now(UTC).strftime(snapshots.NAME)
    kept.mkdir(parents=True)
    if database.exists():
        os.link(database, kept / database.name)
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{database}{suffix}").rename(kept / f"{database.name}{suffix}")
    new.replace(database)


def _stopped_cleanly(state_dir: Path) -> bool:
    try:
        return _clean(state_dir).read_text() == _identity(state_dir / "state.db")
    except FileNotFoundError:
        return False


def _clean(state_dir: Path) -> Path:
    return state_dir / "clean"


def _identity(database: Path) -> str:
    status = database.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
