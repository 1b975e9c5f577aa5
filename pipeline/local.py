"""One command at a time prepares an account."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.cloud import state_dir


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make commands of this folder that start at the same time prepare one after the other."""
    state_dir().mkdir(parents=True, exist_ok=True)
    with (state_dir() / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
