"""What a load test will do, checked before the first request: target, photo, levels, and how far it may go."""

import math
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from pipeline import hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError

MOST_LEVELS = 16
MOST_USERS = 512
MOST_SECONDS = 600.0
MOST_REQUESTS = 10_000_000

# What a test may do without --yes.
USERS = 64
SECONDS_IN_ALL = 300.0
REQUESTS = 100_000

WARM_UP_SECONDS = 1.0
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
MOST_BYTES = {"endpoint": 25 << 20, "function": (6 << 20) * 3 // 4}  # a function's payload of 6 MB is base64


@dataclass(frozen=True)
class Phase:
    """So many users for so many seconds; each asks again at once, or all of them at a rate (requests a second)."""

    users: int
    seconds: float
    requests_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the worker does. `photo`: a path; `max_requests`: the test ends there, whatever the phases say."""

    target: str
    name: str
    photo: str
    content_type: str
    phases: tuple[Phase, ...]
    max_requests: int = REQUESTS
    warm_up_seconds: float = WARM_UP_SECONDS


def levels(text: str) -> list[int]:
    """Ascending concurrency levels of "1 2 4 8" (or with commas). Raises UserError."""
    words = text.replace(",", " ").split()
    try:
        found = sorted({int(word) for word in words})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > MOST_USERS or len(found) > MOST_LEVELS:
        raise UserError(
            f"--levels is {text!r}.",
            f"Give up to {MOST_LEVELS} whole numbers of concurrent users, from 1 to {MOST_USERS}: 1 2 4 8.",
        )
    return found


def ladder(users: list[int], seconds: float, *, max_requests: int, yes: bool) -> tuple[Phase, ...]:
    """A phase per level. Raises UserError for what is out of bounds, or more than may be done without `yes`."""
    if not (math.isfinite(seconds) and 0.2 <= seconds <= MOST_SECONDS):
        raise UserError(f"--seconds is {seconds:g}.", f"Give from 0.2 to {MOST_SECONDS:g} seconds for each level.")
    if not 1 <= max_requests <= MOST_REQUESTS:
        raise UserError(f"--max-requests is {max_requests}.", f"Give a number from 1 to {MOST_REQUESTS}.")
    much = [
        f"{users[-1]} users at a time" if users[-1] > USERS else "",
        f"{len(users) * seconds:g} s of load" if len(users) * seconds > SECONDS_IN_ALL else "",
        f"up to {max_requests} requests" if max_requests > REQUESTS else "",
    ]
    if any(much) and not yes:
        raise UserError(f"That is a lot: {', '.join(filter(None, much))}.", "If you mean it, say so with --yes.")
    return tuple(Phase(level, seconds) for level in users)


def photo_type(path: Path, target: str) -> str:
    """The content type of a photo, by its first bytes. Raises UserError."""
    if not path.is_file():
        raise UserError(
            f"There is no photo at {path}.",
            f"Give the path of a JPEG or PNG file: {hints.LOAD_TEST_PHOTO(photo='dog.jpg')}",
        )
    content = path.read_bytes()
    kind = next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), None)
    if kind is None:
        raise UserError(f"{path} is no JPEG or PNG.", f"Give a photo: {hints.LOAD_TEST_PHOTO(photo='dog.jpg')}")
    if len(content) > MOST_BYTES[target]:
        raise UserError(
            f"{path} has {len(content):,} bytes; the {target} takes {MOST_BYTES[target]:,}.", "Give a smaller photo."
        )
    return kind


@dataclass(frozen=True)
class Serving:
    """What stands behind an endpoint: its only or first variant. `instances` is None where it is serverless."""

    endpoint: str
    variant: str
    instances: int | None
    instance_type: str = ""


def serving(cloud: Cloud, endpoint: str) -> Serving:
    """The endpoint as it is now. Raises UserError where there is none, or it does not serve."""
    try:
        found = cloud.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if "could not find" not in error.response["Error"].get("Message", "").lower():
            raise
        raise UserError(
            f"There is no endpoint {endpoint}.",
            f"Make one: {hints.RUN}, or name another: {hints.LOAD_TEST_ENDPOINT(endpoint='NAME')}",
        ) from None
    if found["EndpointStatus"] not in ("InService", "Updating", "SystemUpdating"):
        raise UserError(
            f"The endpoint {endpoint} is {found['EndpointStatus']}, not in service.",
            found.get("FailureReason", "Wait until it is: aws sagemaker describe-endpoint."),
        )
    variant = found["ProductionVariants"][0]
    config = cloud.client("sagemaker").describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    kinds = {v["VariantName"]: v.get("InstanceType", "") for v in config["ProductionVariants"]}
    return Serving(
        endpoint, variant["VariantName"], variant.get("CurrentInstanceCount"), kinds.get(variant["VariantName"], "")
    )
