"""The event, checked: what should be deployed, where and how it scales."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from failures import InvalidEvent

VARIANT = "AllTraffic"
SERVERLESS = "serverless"

_PACKAGE_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]{9,16}:\d{12}:model-package/(\S+)")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/?[\w+=,.@/-]+")
_ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+|serverless")
_S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?")
_ANY_NAME_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One wanted state of one endpoint.

    `target_invocations_per_instance`: requests per MINUTE (SageMakerVariantInvocationsPerInstance counts per minute).
    `scale_in_cooldown`, `scale_out_cooldown`, `wait_seconds`: seconds; without `wait_seconds` the function's own
    time limit decides. `instance_type`: `ml.*`, or `serverless`, which scales by itself and ignores the counts.
    `serving_image`: an image other than the one in the model package.
    """

    model_package_arn: str
    endpoint_name: str
    model_role_arn: str
    instance_type: str
    min_instances: int
    max_instances: int
    target_invocations_per_instance: float
    scale_in_cooldown: int
    scale_out_cooldown: int
    serving_image: str = ""
    data_capture_s3_uri: str = ""
    serverless_memory_mb: int = 4096
    serverless_max_concurrency: int = 10
    wait_seconds: float | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_event(cls, event: Any) -> Deployment:
        """Check an event. Numbers may be int, float or text, since pipeline parameters arrive as either; an empty
        optional field counts as absent, since a pipeline parameter cannot be null. Raises InvalidEvent."""
        if not isinstance(event, Mapping):
            raise InvalidEvent(f"The event is {_shown(event)}, not an object. Send the deployment's fields as JSON.")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(event) - known):
            raise InvalidEvent(f"Unknown field {unknown[0]!r}. The known ones are {', '.join(sorted(known))}.")
        values = {}
        for field in fields(cls):
            raw = event.get(field.name)
            if raw is not None and raw != "":
                values[field.name] = _READERS[field.name](field.name, raw)
            elif field.default is MISSING:
                raise InvalidEvent(f"{field.name} is missing. The deploy function cannot work without it.")
        deployment = cls(**values)
        _check_together(deployment)
        return deployment

    @property
    def serverless(self) -> bool:
        return self.instance_type == SERVERLESS

    @property
    def aws_tags(self) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.tags]

    @property
    def model_name(self) -> str:
        """`<group>-<version>-<hash>`: the same package, role and image always give the same model."""
        match = _PACKAGE_ARN.fullmatch(self.model_package_arn)
        readable = match.group(1) if match else ""
        return _name(readable, [self.model_package_arn, self.model_role_arn, self.serving_image])

    def warnings(self) -> list[str]:
        """What is allowed but probably not meant."""
        if not self.serverless and self.scale_out_cooldown > self.scale_in_cooldown:
            return [
                f"Warning: scale_out_cooldown ({self.scale_out_cooldown} s) is longer than scale_in_cooldown "
                f"({self.scale_in_cooldown} s), so the endpoint gives capacity back faster than it adds it."
            ]
        return []


def endpoint_config_name(endpoint_name: str, settings: Mapping[str, Any]) -> str:
    """`<endpoint>-<hash>`: equal settings always give the same endpoint configuration."""
    return _name(endpoint_name, settings)


def _name(readable: str, content: Any) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    slug = re.sub(r"[^a-zA-Z0-9]+", "-", readable)[: _ANY_NAME_LENGTH - len(digest) - 1].strip("-")
    return f"{slug}-{digest}".strip("-")


def _check_together(deployment: Deployment) -> None:
    if deployment.max_instances < deployment.min_instances:
        raise InvalidEvent(
            f"max_instances is {deployment.max_instances}, below min_instances {deployment.min_instances}. "
            "Raise one or lower the other."
        )
    if deployment.serverless and deployment.data_capture_s3_uri:
        raise InvalidEvent(
            "data_capture_s3_uri is set, but a serverless endpoint cannot capture data. "
            "Leave it empty or choose an instance type."
        )


def _matching(pattern: re.Pattern[str], example: str):
    def read(name: str, raw: Any) -> str:
        if not isinstance(raw, str) or not pattern.fullmatch(raw):
            raise InvalidEvent(f"{name} is {_shown(raw)}. It must look like {example}.")
        return raw

    return read


def _number(low: float, high: float):
    def read(name: str, raw: Any) -> float:
        try:
            value = math.nan if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError):
            value = math.nan
        if not low <= value <= high:
            raise InvalidEvent(f"{name} is {_shown(raw)}. It must be a number from {low:g} to {high:g}.")
        return value

    return read


def _integer(low: int, high: int):
    read_number = _number(low, high)

    def read(name: str, raw: Any) -> int:
        value = read_number(name, raw)
        if value != int(value):
            raise InvalidEvent(f"{name} is {_shown(raw)}. It must be a whole number.")
        return int(value)

    return read


def _tags(name: str, raw: Any) -> tuple[tuple[str, str], ...]:
    """`{"team": "dogs"}`, or AWS's own `[{"Key": "team", "Value": "dogs"}]`."""
    try:
        pairs = raw.items() if isinstance(raw, Mapping) else [(tag["Key"], tag["Value"]) for tag in raw]
    except (TypeError, KeyError):
        raise InvalidEvent(f'{name} is {_shown(raw)}. It must look like {{"team": "dogs"}}.') from None
    return tuple(sorted((str(key), str(value)) for key, value in pairs))


def _shown(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 100 else f"{text[:100]}…"


_READERS = {
    "model_package_arn": _matching(
        _PACKAGE_ARN, "arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>"
    ),
    "endpoint_name": _matching(_ENDPOINT_NAME, "pawline-dogs: letters, digits and single hyphens, at most 63"),
    "model_role_arn": _matching(_ROLE_ARN, "arn:aws:iam::<account>:role/<name>"),
    "instance_type": _matching(_INSTANCE_TYPE, "ml.m5.large, or the word serverless"),
    "min_instances": _integer(1, 1000),
    "max_instances": _integer(1, 1000),
    "target_invocations_per_instance": _number(0.1, 1e9),
    "scale_in_cooldown": _integer(0, 86_400),
    "scale_out_cooldown": _integer(0, 86_400),
    "serving_image": _matching(re.compile(r"\S{1,255}"), "<registry>/<repository>:<tag>"),
    "data_capture_s3_uri": _matching(_S3_URI, "s3://bucket/prefix"),
    "serverless_memory_mb": _integer(1024, 6144),
    "serverless_max_concurrency": _integer(1, 200),
    "wait_seconds": _number(0, 900),
    "tags": _tags,
}
