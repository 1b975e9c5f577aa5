"""Every commit since the last snapshots, a line each: what a snapshot lacks when state.db is damaged.

A line is the checksum of what follows, a tab, and [time, [[kind, name, version, text], …]] as JSON; a text of null is a
deletion. A file is named after the moment at which it begins; a snapshot of the same name has all that was committed
before.
"""

import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagelocal.core.store import Change

SUFFIX = ".journal"
GAP = ".gap"  # in the name of a file that lacks commits at its end


@dataclass(frozen=True)
class Commit:
    """What was committed together, and when (seconds since 1970)."""

    time: float
    changes: list[Change]


class Journal:
    """What is written at the moment. A commit never fails by it: after one that could not be written there is a gap."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = threading.Lock()
        self._file: int | None = None
        self._name = ""
        self._unsynced = False
        self.changed = False  # since the last cut

    def note(self, changes: Sequence[Change]) -> None:
        """Write a commit down, in the order of commits: the store's listener."""
        line = _line(changes)
        with self._lock:
            self.changed = self._unsynced = True
            if self._file is not None:
                try:
                    if os.write(self._file, line) == len(line):
                        return
                except OSError:
                    pass
                self._give_up()

    def cut(self, name: str) -> None:
        """Go on in a new file: a snapshot that is begun after this has all that is in the others. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        new = os.open(self.folder / f"{name}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with self._lock:
            old, self._file, self._name = self._file, new, name
            self.changed = False
        if old is not None:
            os.close(old)

    def sync(self) -> None:
        """Let what was written outlive a loss of power."""
        if self._unsynced and self._file is not None:
            self._unsynced = False
            os.fsync(self._file)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _give_up(self) -> None:
        """Nothing is written until the next cut; the name tells it, for which a full disk has room."""
        assert self._file is not None
        os.close(self._file)
        self._file = None
        with suppress(OSError):
            path = self.folder / f"{self._name}{SUFFIX}"
            path.rename(path.with_suffix(f"{GAP}{SUFFIX}"))


def read(folder: Path, since: str = "") -> Iterator[Commit]:
    """What was committed from the snapshot `since` on, in order. A line that is damaged or was cut off is left out."""
    for path in _files(folder, since):
        with path.open("rb") as lines:
            for line in lines:
                if commit := _commit(line):
                    yield commit


def has_gap(folder: Path, since: str = "") -> bool:
    return any(path.stem.endswith(GAP) for path in _files(folder, since))


def drop(folder: Path, before: str) -> None:
    """Remove the files that no snapshot from `before` on needs."""
    for path in folder.glob(f"*{SUFFIX}"):
        if path.stem < before:
            path.unlink()


def _files(folder: Path, since: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem >= since)


def _line(changes: Sequence[Change]) -> bytes:
    told = [(change.kind, change.name, change.version, change.text) for change in changes]
    body = json.dumps([time.time(), told]).encode()
    return b"%08x\t%s\n" % (zlib.crc32(body), body)


def _commit(line: bytes) -> Commit | None:
    crc, _, body = line.rstrip(b"\n").partition(b"\t")
    with suppress(ValueError):
        if int(crc, 16) == zlib.crc32(body):
            moment, told = json.loads(body)
            return Commit(moment, [Change(*change) for change in told])
    return None
