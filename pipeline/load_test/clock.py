"""How fast the policy's minutes pass. AWS's take a minute; a server with a clock of its own can be asked for more."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from pipeline.errors import UserError

PAGE, SIGNED_FOR = "/_sagelocal/clock", "sagelocal"
ANSWER_SECONDS = 5.0
SLOWEST, FASTEST = 1.0, 100.0  # faster, and the alarms have no datapoint in most of their minutes
ALARM_MINUTES = 4.0  # the high alarm of target tracking looks at three


@contextmanager
def running_at(speed: float) -> Iterator[float]:
    """Make the server's minutes pass `speed` times as fast as real ones, and as before when the block is left.

    Yields the speed that they have: 1.0 where the server has no such clock, as on AWS. Waits first: a fast minute is
    so short that what was asked just now would still be in the minutes that an alarm looks at. Raises UserError for a
    speed that the server refuses.
    """
    before = speed_now()
    if before is None:
        yield 1.0
        return
    time.sleep(ALARM_MINUTES * 60 / speed)
    set_speed(speed)
    try:
        yield speed
    finally:
        with suppress(requests.RequestException):  # the server is gone, and its clock with it
            set_speed(before)


def speed_now() -> float | None:
    """The speed of the clock behind AWS_ENDPOINT_URL; None where there is none."""
    address = os.environ.get("AWS_ENDPOINT_URL")
    if not address:
        return None
    try:
        answer = _ask("GET", address + PAGE)
        return float(answer.json()["speed"]) if answer.ok else None
    except (requests.RequestException, BotoCoreError, ValueError, KeyError):
        return None


def check(speed: float) -> float:
    """The speed. Raises UserError where it is none."""
    if not SLOWEST <= speed <= FASTEST:
        raise UserError(f"--speed is {speed:g}.", f"Give a number from {SLOWEST:g} (real time) to {FASTEST:g}.")
    return speed


def set_speed(speed: float) -> None:
    answer = _ask("POST", f"{os.environ['AWS_ENDPOINT_URL']}{PAGE}?speed={speed:g}")
    if not answer.ok:
        raise UserError(f"--speed {speed:g} is refused.", answer.text.strip())


def _ask(method: str, url: str) -> requests.Response:
    """The clock is the account owner's alone: the request is signed with the keys of the environment."""
    request = AWSRequest(method, url)
    session = boto3.Session()
    SigV4Auth(session.get_credentials(), SIGNED_FOR, session.region_name or "us-east-1").add_auth(request)
    return requests.request(method, url, headers=dict(request.headers.items()), timeout=ANSWER_SECONDS)
