"""How the deploy function talks to AWS: its clients, its backoff, and its record of what it changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from contract.gone import is_gone

FIRST_POLL = 0.2
LONGEST_POLL = 5.0
POLL_GROWTH = 1.5
MODEL_SECONDS = 20


@dataclass(frozen=True)
class Clients:
    """`releases`: the s3:// prefix that archives are served from."""

    sagemaker: Any
    autoscaling: Any
    cloudwatch: Any
    s3: Any
    runtime: Any
    releases: str

    @classmethod
    def from_environment(cls) -> Clients:
        """Raises KeyError where RELEASES_URI is missing."""
        config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 5, "mode": "standard"})
        # The smoke test counts its attempts itself.
        once = Config(connect_timeout=5, read_timeout=MODEL_SECONDS, retries={"total_max_attempts": 1})
        return cls(
            sagemaker=boto3.client("sagemaker", config=config),
            autoscaling=boto3.client("application-autoscaling", config=config),
            cloudwatch=boto3.client("cloudwatch", config=config),
            s3=boto3.client("s3", config=config),
            runtime=boto3.client("sagemaker-runtime", config=once),
            releases=os.environ["RELEASES_URI"],
        )


@dataclass
class Backoff:
    """Pauses that grow from 0.2 s to 5 s, until `seconds` are spent."""

    seconds: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _pause: float = FIRST_POLL

    def __post_init__(self) -> None:
        self._deadline = self.clock() + self.seconds

    def pause(self) -> bool:
        """Sleep a little. False, without sleeping, when the time is spent."""
        left = self._deadline - self.clock()
        if left <= 0:
            return False
        self.sleep(min(self._pause, left))
        self._pause = min(self._pause * POLL_GROWTH, LONGEST_POLL)
        return True


@dataclass
class Calls:
    """What one invocation calls AWS with. `changes`: the changing calls it made, by the API's own names, in order."""

    clients: Clients
    backoff: Backoff
    changes: list[str] = field(default_factory=list)

    def change(self, service: str, operation: str, **arguments: Any) -> None:
        """`operation` in boto3's spelling: `create_model`. It is recorded once AWS has accepted it."""
        client = getattr(self.clients, service)
        getattr(client, operation)(**arguments)
        self.changes.append(client.meta.method_to_api_mapping[operation])

    def create_unless_there(self, operation: str, **arguments: Any) -> None:
        """Create; a copy of this function that was faster has made the same thing, since names are content hashes."""
        try:
            self.change("sagemaker", operation, **arguments)
        except ClientError as error:
            if not says(error, "already exist"):
                raise


def describe(call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any] | None:
    """A describe call that answers None for what does not exist."""
    try:
        return call(**arguments)
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def pages(call: Callable[..., dict[str, Any]], **arguments: Any) -> Iterator[dict[str, Any]]:
    """The answers of a list call, page by page."""
    while True:
        page = call(**arguments)
        yield page
        if not page.get("NextToken"):
            return
        arguments["NextToken"] = page["NextToken"]


def contains(present: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """AWS answers with more fields than it was given, so only the given ones are compared."""
    return present is not None and all(present.get(key) == value for key, value in wanted.items())


def says(error: ClientError, *texts: str) -> bool:
    message = error.response.get("Error", {}).get("Message", "").lower()
    return any(text in message for text in texts)
