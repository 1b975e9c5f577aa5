"""An embedded SageMaker in this process, for speed; `server` and `client` (tests/conftest.py) are a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import services
from embedded.context import Context
from embedded.store import Store


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """An account without a socket: operations are called through context.call."""
    services.load_all()
    made = Context(tmp_path / "state", "http://127.0.0.1:1", Store(tmp_path / "state" / "state.db"))
    yield made
    made.stopping.set()
    for hook in services.STOP_HOOKS:
        hook(made)
    made.store.close()
