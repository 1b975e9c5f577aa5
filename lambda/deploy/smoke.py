"""The smoke test: one photo of the test set, whose breed the evaluation knows, through the endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from calls import Clients

from contract.s3 import bucket_and_key

ATTEMPTS = 3
PAUSE_SECONDS = 2.0
UNREADABLE = ("NoSuchKey", "NoSuchBucket", "AccessDenied", "404", "403")


@dataclass(frozen=True)
class Outcome:
    """`failed`: why, empty for a test that was passed or could not be made; `words`: what to report then."""

    failed: str = ""
    words: str = ""


@dataclass(frozen=True)
class Sample:
    """`photo`: JPEG bytes; `breed`: what a sound model says of it first."""

    photo: bytes
    breed: str


class NoSample(Exception):
    """The package brings no photo to test with; the message says why."""


def smoke_test(
    package: dict[str, Any], endpoint_name: str, clients: Clients, sleep: Callable[[float], None]
) -> Outcome:
    """Send the package's photo to the endpoint; the first breed of the answer must be the expected one.

    An error is tried again, since a fleet under full load may refuse one request. A package without a photo is not
    tested. Raises ClientError for calls that AWS refuses, which say nothing about the model.
    """
    try:
        sample = _sample(package, clients)
    except NoSample as why:
        return Outcome(words=f"There was no smoke test: {why}.")
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE_SECONDS)
        try:
            answer = clients.runtime.invoke_endpoint(
                EndpointName=endpoint_name, ContentType="image/jpeg", Accept="application/json", Body=sample.photo
            )
        except (ReadTimeoutError, ConnectionClosedError):
            problem = "it gave no answer in time"
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("ModelError", "ServiceUnavailable"):
                raise
            problem = f"it answered {error.response['Error'].get('Message', 'with an error')}"
        else:
            return _judge(answer["Body"].read(), sample.breed)
    return Outcome(failed=problem)


def _judge(body: bytes, expected: str) -> Outcome:
    try:
        first = json.loads(body)["predictions"][0]
        breed, probability = str(first["breed"]), float(first["probability"])
    except (ValueError, KeyError, IndexError, TypeError):
        return Outcome(failed=f"its answer is no list of predictions: {body[:100]!r}")
    if breed != expected:
        return Outcome(failed=f"it took a photo of {expected} for {breed} ({probability:.2f})")
    return Outcome(words=f"The smoke test was passed: {breed} ({probability:.2f}).")


def _sample(package: dict[str, Any], clients: Clients) -> Sample:
    """From `smoke_test` in the evaluation that the package points at. Raises NoSample."""
    statistics = package.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
    uri = statistics.get("S3Uri", "")
    if not uri:
        raise NoSample("the model package has no ModelQuality statistics")
    bucket, key = bucket_and_key(uri, lambda headline, _: NoSample(headline.rstrip(".")))
    folder = key.rpartition("/")[0]
    try:
        named = json.loads(_object(bucket, key, clients))["smoke_test"]
        file, breed = named["file"], named["breed"]
    except (ValueError, KeyError, TypeError):
        raise NoSample(f"{uri} names no photo for it") from None
    if not isinstance(file, str) or not isinstance(breed, str) or "/" in file:
        raise NoSample(f"{uri} names no photo for it")
    return Sample(_object(bucket, f"{folder}/{file}" if folder else file, clients), breed)


def _object(bucket: str, key: str, clients: Clients) -> bytes:
    try:
        return clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code not in UNREADABLE:
            raise
        raise NoSample(f"s3://{bucket}/{key} cannot be read ({code})") from None
