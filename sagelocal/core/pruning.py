"""What may be removed from a state directory because it is old. Who knows that registers a finder.

By itself nothing is removed that a user made: `sagelocal prune` shows what there is, and removes it with --yes.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.json import Json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What counts as old: what ended before `before` (seconds since 1970), beyond the last `keep` of its like."""

    before: float
    keep: int


@dataclass(frozen=True)
class Item:
    """Something that may go, with its size in bytes on the disk."""

    kind: str
    name: str
    size: int
    remove: Callable[[], object]


Finder = Callable[[Context, Wanted], Iterable[Item]]
FINDERS: list[Finder] = []


def finder(find: Finder) -> Finder:
    """Register a function that finds what may be removed."""
    FINDERS.append(find)
    return find


def prune(context: Context, wanted: Wanted, *, really: bool) -> list[Json]:
    """{kind, name, bytes} of all that may be removed; `really`: it is. What fails is left out, and logged."""
    told = []
    for find in FINDERS:
        for item in list(find(context, wanted)):
            try:
                if really:
                    item.remove()
            except Exception:
                logger.exception("%s %s could not be removed", item.kind, item.name)
            else:
                told.append({"kind": item.kind, "name": item.name, "bytes": item.size})
    return told


def size_of(paths: Sequence[Path]) -> int:
    """The bytes of files and of all files in folders. One with other names too frees nothing and counts nothing."""
    total = 0
    for path in paths:
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            with suppress(FileNotFoundError):
                status = one.lstat()
                total += status.st_size if one.is_file() and status.st_nlink == 1 else 0
    return total


@finder
def damaged_files(context: Context, wanted: Wanted) -> Iterator[Item]:
    """What recoveries put aside; `keep` does not count, since the state was made sound without them."""
    for folder in sorted((context.state_dir / "damaged").glob("*")):
        if folder.stat().st_mtime < min(wanted.before, time.time()):
            yield Item("damaged state", folder.name, size_of([folder]), partial(shutil.rmtree, folder))
