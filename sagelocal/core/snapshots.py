"""Copies of state.db that are taken while it is in use, and that are known to be sound: `snapshots/<moment>.db`.

One is taken every minute in which something changed, or less often when that takes long. With the journal of what was
committed since, it is what a damaged state.db is made again from.
"""

import logging
import os
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sagelocal.core import journal
from sagelocal.core.database import REFUSALS, code_of
from sagelocal.core.journal import Journal
from sagelocal.core.store import crc

NAME = "%Y%m%dT%H%M%S.%fZ"
SUFFIX = ".db"
RECENT, DAYS = 3, 7  # the newest that are kept, and for how many days the newest of each day
LEAST_SECONDS = 60.0
TIMES_ITS_DURATION = 50  # between two snapshots
HEADER_SIZE, MAGIC, NEWEST_FORMAT = 100, b"SQLite format 3\0", 2  # https://www.sqlite.org/fileformat2.html
# What SQLite says when not the database is to blame, but the disk or another program.
NOT_ITS_FAULT = (*REFUSALS, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT)
QUICK_SECONDS = 2.0  # a snapshot that takes no longer is taken at a clean stop too

logger = logging.getLogger(__name__)


class Damaged(Exception):
    """A database is not sound; the message says how that was found."""


class Snapshots:
    """Those of one state directory, with the journal that goes with them."""

    def __init__(self, state_dir: Path):
        self._state_dir = state_dir
        self._folder = folder(state_dir)
        self.journal = Journal(journals(state_dir))
        self._taking = threading.Lock()
        self._duration = 0.0
        self._ended = -float("inf")

    def start(self) -> None:
        """Begin to write the journal. The first snapshot is taken soon."""
        self._folder.mkdir(exist_ok=True)
        self.journal.cut(self._next_name())
        self.journal.changed = True

    def tend(self) -> None:
        """Take a snapshot if one is due. Raises Damaged, sqlite3.Error, OSError."""
        self.journal.sync()
        pause = max(LEAST_SECONDS, TIMES_ITS_DURATION * self._duration)
        if self.journal.changed and time.monotonic() - self._ended >= pause:
            self._take()

    def end(self) -> None:
        """Take the last snapshot: the server stops, and nothing is to change any more. Raises as `tend`."""
        if self.journal.changed and self._duration <= QUICK_SECONDS:
            self._take()

    def _take(self) -> None:
        with self._taking:
            self._take_one()

    def _take_one(self) -> None:
        began, name = time.monotonic(), self._next_name()
        try:
            self.journal.cut(name)
            take(self._state_dir / "state.db", self._folder / f"{name}{SUFFIX}")
        except Damaged as problem:
            note_damage(self._state_dir)
            raise Damaged(f"state.db is damaged ({problem}). Start the server anew: then it is made sound.") from None
        except (OSError, sqlite3.Error):
            self.journal.changed = True
            raise
        finally:
            self._ended = time.monotonic()
            self._duration = self._ended - began
        prune(self._folder)
        journal.drop(self.journal.folder, newest(self._folder)[:RECENT][-1].stem)

    def _next_name(self) -> str:
        """The moment, or what follows the last name where the clock was set back: the order of names must hold."""
        now = datetime.now(UTC)
        named = [*self._folder.glob(f"*{SUFFIX}"), *self.journal.folder.glob(f"*{journal.SUFFIX}")]
        last = max((path.stem.removesuffix(journal.GAP) for path in named), default="")
        if last >= now.strftime(NAME):
            now = moment(last) + timedelta(microseconds=1)
        return now.strftime(NAME)


def note_damage(state_dir: Path) -> None:
    """A running server has found its state.db damaged: the next start looks at all of it."""
    suspect(state_dir).touch()


def suspect(state_dir: Path) -> Path:
    return state_dir / "suspect"


def folder(state_dir: Path) -> Path:
    return state_dir / "snapshots"


def journals(state_dir: Path) -> Path:
    return state_dir / "journal"


def newest(folder: Path) -> list[Path]:
    """The snapshots, newest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), reverse=True)


def take(database: Path, path: Path) -> None:
    """Copy a database that may be in use to `path`: whole and sound, or not at all. Raises Damaged."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    try:
        source = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)  # in one step: in several, each commit meanwhile would begin it anew
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, not one with a log beside it
        check(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except sqlite3.Error as problem:
        if code_of(problem) in NOT_ITS_FAULT:
            raise
        raise Damaged(str(problem)) from None
    finally:
        temporary.unlink(missing_ok=True)


def check(database: Path, *, thorough: bool = True) -> None:
    """Raise Damaged unless a database is sound. `thorough`: each index and each document too, not the pages alone."""
    with database.open("rb") as file:
        header = file.read(HEADER_SIZE)
    if not header.startswith(MAGIC) or max(header[18:20]) > NEWEST_FORMAT:
        raise Damaged("it is empty" if not header else "its first page is no database's")
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            pragma = "integrity_check" if thorough else "quick_check"
            said = connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0]
            if said != "ok":
                raise Damaged(" ".join(said.split()))
            if thorough:
                check_documents(connection)
    except (sqlite3.Error, UnicodeDecodeError) as problem:
        if code_of(problem) in NOT_ITS_FAULT:
            raise
        raise Damaged(str(problem)) from None


def check_documents(connection: sqlite3.Connection) -> None:
    """Raise Damaged for a document whose text is not what was written."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'document'").fetchone():
        for kind, name, held, body in connection.execute("SELECT kind, name, crc, body FROM document"):
            if crc(body) != held:
                raise Damaged(f"the {kind} {name} is not what was written")


def prune(folder: Path) -> None:
    """Remove all but the newest few and the newest of each of the last days."""
    found = newest(folder)
    oldest = (datetime.now(UTC) - timedelta(days=DAYS)).strftime(NAME)
    days = {path.stem[:8]: path for path in reversed(found) if path.stem >= oldest}
    for path in found[RECENT:]:
        if path not in days.values():
            path.unlink()


def moment(name: str) -> datetime:
    return datetime.strptime(name, NAME).replace(tzinfo=UTC)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
