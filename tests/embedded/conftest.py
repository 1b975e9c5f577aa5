"""An embedded SageMaker for a test: in this process for speed (`context`), or as a real server (`server`)."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from embedded import lifecycle, services
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Running]:
    """A real server process, shared by the tests of a run."""
    state_dir = tmp_path_factory.mktemp("embedded")
    yield lifecycle.ensure(state_dir)
    lifecycle.stop(state_dir)


@pytest.fixture
def client(server: lifecycle.Running):
    """client("sagemaker") -> an unmodified boto3 client of the server."""
    return lambda service: boto3.client(service, endpoint_url=server.url, region_name="us-east-1")
