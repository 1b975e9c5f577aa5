"""The pipeline's state directory is made once for a module, as are the processes that servers are forked from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import injection, lab
from tests.faults.nursery import Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    if injection.sqlite() is None:
        pytest.skip("SQLite is built into this Python, and its system calls cannot be replaced")
    made = Nursery()
    yield made
    made.end()


@pytest.fixture(scope="module")
def prepared(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """(a state directory that has the pipeline, the points at which a run of it can be hit)."""
    directory = tmp_path_factory.mktemp("prepared")
    lab.make_base(nursery, directory / "base", directory / "operations")
    return directory / "base", lab.all_points(directory / "operations")
