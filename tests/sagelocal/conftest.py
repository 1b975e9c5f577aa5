"""An embedded SageMaker in this process, for speed; `server` and `client` (tests/conftest.py) are a real one."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagelocal import services
from sagelocal.core import registry
from sagelocal.core.context import Context
from sagelocal.core.store import Store
from sagelocal.runtime import launch, warm
from tests.sagelocal.board import Board


class SharedWorker(warm.Worker):
    """A warm worker that does not end with an account."""

    def stop(self) -> None:
        """`warm_worker` does."""


@pytest.fixture(scope="module")
def warm_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedWorker]:
    """One for all accounts of a module: it takes seconds to import what jobs need."""
    directory = tmp_path_factory.mktemp("warm")
    account = Context(directory, "", Store(directory / "state.db"))
    made = SharedWorker(account)
    yield made
    warm.Worker.stop(made)
    launch.keeper(account).stop()
    account.store.close()


@pytest.fixture
def context(tmp_path: Path, warm_worker: SharedWorker) -> Iterator[Context]:
    """An account without a socket: operations are called through context.call."""
    services.load_all()
    store = Store(tmp_path / "state" / "state.db")
    made = Context(tmp_path / "state", "http://127.0.0.1:1", store, parts={warm.worker: warm_worker})
    yield made
    made.stopping.set()
    for hook in registry.STOP_HOOKS:
        hook(made)
    made.store.close()


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    yield made
    made.close()


@pytest.fixture
def functions(client) -> Any:
    return client("lambda")


@pytest.fixture
def create_function(functions) -> Iterator[Callable[..., str]]:
    """create_function(zip, Timeout=7, …) -> the name of a new Lambda function, gone after the test."""
    made = []

    def create(zipped: bytes, **more: Any) -> str:
        name = f"f-{uuid.uuid4().hex[:10]}"
        request = {
            "Role": "arn:aws:iam::123456789012:role/lambda",
            "Runtime": "python3.12",
            "Handler": "app.handler",
            "Timeout": 300,
        }
        functions.create_function(FunctionName=name, **(request | {"Code": {"ZipFile": zipped}} | more))
        made.append(name)
        return name

    yield create
    for name in made:
        functions.delete_function(FunctionName=name)
