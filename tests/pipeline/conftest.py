"""Accounts to act on: one for a module, and a new one for each test that changes everything."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from pipeline import settings
from pipeline.cloud import Cloud, connect
from sagelocal.core import lifecycle


@pytest.fixture(scope="module")
def bare(server: lifecycle.Running) -> Iterator[Cloud]:
    """An account with nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        yield Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1"))


@pytest.fixture
def new_state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    lifecycle.stop(tmp_path / "state")


@pytest.fixture
def new_account(new_state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A new account for each test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", lifecycle.ensure(new_state_dir).url)
    return connect(aws=True)
