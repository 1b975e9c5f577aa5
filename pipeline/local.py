"""What a command that runs the pipeline needs first: an account that is set up, by one command at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import infra
from pipeline.cloud import Cloud, state_dir


def set_up(cloud: Cloud) -> None:
    """Deploy infra/template.yaml where it is not deployed yet or has changed. Raises UserError."""
    infra.ensure(cloud)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make commands of this folder that start at the same time prepare one after the other."""
    state_dir().mkdir(parents=True, exist_ok=True)
    with (state_dir() / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
