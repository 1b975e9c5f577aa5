"""A real embedded SageMaker per module, and unmodified clients for it."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from embedded import lifecycle

ROLE = "arn:aws:iam::123456789012:role/somebody"


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state_dir: Path) -> Iterator[lifecycle.Running]:
    yield lifecycle.ensure(state_dir)
    lifecycle.stop(state_dir)


@pytest.fixture(scope="module")
def client(server: lifecycle.Running):
    """client("sagemaker") -> an unmodified boto3 client of the server."""
    made: dict = {}

    def get(service: str):
        if service not in made:
            made[service] = boto3.client(service, endpoint_url=server.url, region_name="us-east-1")
        return made[service]

    return get
