"""Space on the disk that is kept back, so that a server can still write down what happened when the disk is full.

`release` gives it up when a write was refused, so that a little can be written again. `renew` takes it back as soon as
there is room for much more.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.patience import on_full

SIZE = 8 << 20  # bytes
ROOM = 2 * SIZE  # that much must be free beside it, else it would be what fills the disk


def release(state_dir: Path) -> bool:
    """Give the reserve up. False when it is given up already."""
    try:
        _file(state_dir).unlink()
    except FileNotFoundError:
        return False
    return True


def renew(state_dir: Path) -> bool:
    """Keep the reserve back, unless it is or there is no room. Whether it is kept now."""
    path = _file(state_dir)
    if path.exists():
        return True
    if shutil.disk_usage(state_dir).free < SIZE + ROOM:
        return False
    made = path.with_suffix(".new")
    try:
        with made.open("wb") as file:
            _fill(file.fileno())
        made.replace(path)
    except OSError:  # somebody else was faster with the room
        with suppress(OSError):
            made.unlink()
        return False
    return True


@on_full
def give_up(context: Context) -> None:
    release(context.state_dir)


def told(state_dir: Path) -> str:
    """Where the room is, for somebody whose disk is full."""
    path = _file(state_dir)
    return (
        f"{SIZE >> 20} MB are kept back in {path}, which you may delete." if path.exists() else "there is no reserve."
    )


def _fill(descriptor: int) -> None:
    """Give a file real blocks; bytes that are not all zero, where a file system might keep zeros without any."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, SIZE)
    else:
        os.write(descriptor, os.urandom(SIZE))


def _file(state_dir: Path) -> Path:
    return state_dir / "reserve"
