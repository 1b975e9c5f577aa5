"""Which SageMaker the commands talk to, and the boto3 clients for it.

The only switch is the one that every AWS tool has, AWS_ENDPOINT_URL: here the embedded server is found or started and
that variable is set; after that nobody asks which of the two it is.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import hints
from pipeline import settings as settings_module
from pipeline.errors import UserError
from pipeline.settings import Settings
from sagelocal.core import lifecycle
from sagelocal.core.lifecycle import default_state_dir as state_dir


@dataclass
class Cloud:
    """One account in one region: its settings and its clients, each made once."""

    settings: Settings
    session: boto3.Session
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 5, "mode": "standard"}, read_timeout=900)
            self._clients[service] = self.session.client(service, config=config)
        return self._clients[service]

    def listed(self, service: str, operation: str, member: str, **arguments: Any) -> Iterator[Any]:
        """The entries that a list call has in `member`, over all of its pages."""
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(member, [])


# How the images that this project's steps name run on the embedded server.
IMAGES = Path(__file__).parent.parent / "code" / "images.toml"


def connect(*, aws: bool) -> Cloud:
    """The account to act on: the user's own (`aws`, or AWS_ENDPOINT_URL is set already), else the embedded one."""
    hints.act_on(aws=aws)
    if not aws and not os.environ.get("AWS_ENDPOINT_URL"):
        _use_embedded()
        return Cloud(settings_module.from_environment(), boto3.Session())
    session = boto3.Session()
    region = session.region_name or settings_module.from_environment().region
    session = boto3.Session(region_name=region)
    try:
        account = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise UserError(
            f"AWS does not know who you are: {error}.",
            "Sign in (aws sso login, or AWS_PROFILE), or leave out --aws to use the embedded SageMaker.",
        ) from None
    return Cloud(settings_module.from_environment({**os.environ, "AWS_REGION": region}, account=account), session)


def _use_embedded() -> None:
    """Start or join this folder's embedded server and point every AWS client of this process to it."""
    port = os.environ.get("SAGELOCAL_PORT", "0")
    if not port.isdigit() or int(port) > 65535:
        raise UserError(f"SAGELOCAL_PORT is {port!r}, which is no port.", "Give a number up to 65535, or leave it out.")
    try:
        running = lifecycle.ensure(state_dir(), port=int(port), images=[IMAGES])
    except lifecycle.CannotStart as problem:
        raise UserError("The embedded SageMaker did not start.", str(problem)) from None
    except OSError as problem:
        raise UserError(
            f"The state directory {state_dir()} cannot be used: {problem.strerror}.",
            "Choose another with SAGELOCAL_STATE_DIR.",
        ) from None
    for name in lifecycle.UNSET:
        os.environ.pop(name, None)
    os.environ.update(running.environment())
