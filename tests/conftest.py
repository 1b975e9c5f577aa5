"""What every test may rely on: no credentials of the user's, no network but loopback, and an embedded SageMaker."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_socket

from sagelocal.core import lifecycle, secret
from tests import leftovers

OWNER = secret.Keys("AKIATESTTESTTESTTEST", "a-secret-of-the-tests-and-of-nobody-else")
# Every account that this process makes has these keys, so that boto3's default session fits all servers of a test.
secret.new_keys = lambda: OWNER

for name in [n for n in os.environ if n.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(
    AWS_ACCESS_KEY_ID=OWNER.access_key,
    AWS_SECRET_ACCESS_KEY=OWNER.secret_key,
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    SAGELOCAL_IMAGES=str(Path(__file__).parent.parent / "code" / "images.toml"),
)
leftovers.adopt_orphans()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_running():
    """What a module's tests started has ended when they have: the server of a test, its jobs, all that those began."""
    known = set(leftovers.running())
    yield
    left = leftovers.end(known)
    assert not left, "These processes were left running:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _only_loopback():
    """A connection to any other address than this machine's fails the test."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of this module's server, with the keys of this process's environment."""
    made = tmp_path_factory.mktemp("state")
    secret.of(made)
    return made


@pytest.fixture(scope="module")
def server(state_dir: Path) -> Iterator[lifecycle.Running]:
    """A real server process, shared by the tests of a module."""
    yield lifecycle.ensure(state_dir)
    lifecycle.stop(state_dir)


@pytest.fixture(scope="module")
def client(server: lifecycle.Running) -> Callable[[str], Any]:
    """client("sagemaker") -> an unmodified boto3 client of the server."""
    made: dict[str, Any] = {}

    def get(service: str) -> Any:
        if service not in made:
            made[service] = boto3.client(service, endpoint_url=server.url, region_name="us-east-1")
        return made[service]

    return get
