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
from sagelocal.runtime import warm


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """An account without a socket: operations are called through context.call."""
    services.load_all()
    made = Context(tmp_path / "state", "http://127.0.0.1:1", Store(tmp_path / "state" / "state.db"))
    yield made
    made.stopping.set()
    for hook in registry.STOP_HOOKS:
        hook(made)
    made.store.close()


@pytest.fixture(scope="module", autouse=True)
def _warm_worker_of_this_process() -> Iterator[None]:
    """It is one for all the contexts of a module; a server's ends with the server."""
    yield
    warm.stop()


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
