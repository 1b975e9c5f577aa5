"""The event, checked: what should be deployed, where, how carefully, and how it scales."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from failures import InvalidEvent
from reading import Schedule, Step, integer, matching, number, one_of, schedules, shown, steps, tags

VARIANT = "AllTraffic"
SERVERLESS = "serverless"
TARGET_TRACKING, STEP = "target-tracking", "step"

_PACKAGE_ARN = r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]{9,16}:\d{12}:model-package/(\S+)"
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/?[\w+=,.@/-]+"
_ANY_NAME_LENGTH = 63

# Shorter than SageMaker's limit, since models, configurations and alarms carry the whole name in theirs.
ENDPOINT_NAME = matching(
    r"(?=.{1,48}$)[a-zA-Z0-9](-?[a-zA-Z0-9])*", "pawline-dogs: letters, digits and single hyphens, at most 48"
)
WAIT_SECONDS = number(0, 900)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One wanted state of one endpoint.

    `target_invocations_per_instance`: requests per MINUTE (SageMakerVariantInvocationsPerInstance counts per minute).
    `scale_in_cooldown`, `scale_out_cooldown`, `wait_seconds`: seconds; without `wait_seconds` the function's own
    time limit decides. `instance_type`: `ml.*`, or `serverless`, which scales by itself and ignores the counts.
    `serving_image`: an image other than the one in the model package.

    `canary_percent`: share of the requests that an update sends to the new fleet first, 0 for all at once;
    `canary_wait_seconds`: how long that lasts, and how long the old fleet is kept after it. An alarm in that time (5xx,
    model errors, latency over `max_latency_milliseconds`) brings the old fleet back.

    `data_capture_percent`: share of the requests whose input and output are kept under `data_capture_s3_uri`.
    `scaling_policy`: `target-tracking`, or `step` with `scaling_steps`. `schedules`: other bounds at other times.
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
    canary_percent: int = 0
    canary_wait_seconds: int = 300
    max_latency_milliseconds: float = 2000.0
    data_capture_s3_uri: str = ""
    data_capture_percent: int = 100
    serverless_memory_mb: int = 4096
    serverless_max_concurrency: int = 10
    scaling_policy: str = TARGET_TRACKING
    scaling_steps: tuple[Step, ...] = (Step(0.0, 1),)
    schedules: tuple[Schedule, ...] = ()
    wait_seconds: float | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_event(cls, event: Any) -> Deployment:
        """Check an event. Numbers may be int, float or text, since pipeline parameters arrive as either; an empty
        optional field counts as absent, since a pipeline parameter cannot be null. Raises InvalidEvent."""
        if not isinstance(event, Mapping):
            raise InvalidEvent(f"The event is {shown(event)}, not an object. Send the deployment's fields as JSON.")
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
    def captures_data(self) -> bool:
        return bool(self.data_capture_s3_uri) and self.data_capture_percent > 0

    @property
    def model_name(self) -> str:
        """`<endpoint>-<version>-<hash>`: the same endpoint, package, role and image always give the same model, and no
        two endpoints share one, so that deleting an endpoint can delete its models."""
        version = self.model_package_arn.rpartition("/")[2]
        content = [self.endpoint_name, self.model_package_arn, self.model_role_arn, self.serving_image]
        return _name(f"{self.endpoint_name}-{version}", content)

    @property
    def config_name(self) -> str:
        """`<endpoint>-<hash>`: equal settings always give the same endpoint configuration."""
        return _name(self.endpoint_name, self.config_settings)

    @property
    def config_settings(self) -> dict[str, Any]:
        """What makes one endpoint configuration differ from another. The instance count is no part of that: an update
        keeps the count that scaling has reached, and the scalable target's bounds move it, so a new minimum needs no
        new fleet."""
        variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": self.model_name}
        if self.serverless:
            variant["ServerlessConfig"] = {
                "MemorySizeInMB": self.serverless_memory_mb,
                "MaxConcurrency": self.serverless_max_concurrency,
            }
        else:
            variant |= {"InstanceType": self.instance_type, "InitialVariantWeight": 1.0}
        settings: dict[str, Any] = {"ProductionVariants": [variant]}
        if self.captures_data:
            settings["DataCaptureConfig"] = {
                "EnableCapture": True,
                "InitialSamplingPercentage": self.data_capture_percent,
                "DestinationS3Uri": self.data_capture_s3_uri,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            }
        return settings

    def warnings(self) -> list[str]:
        """What is allowed but probably not meant."""
        if not self.serverless and self.scale_out_cooldown > self.scale_in_cooldown:
            return [
                f"Warning: scale_out_cooldown ({self.scale_out_cooldown} s) is longer than scale_in_cooldown "
                f"({self.scale_in_cooldown} s), so the endpoint gives capacity back faster than it adds it."
            ]
        return []


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
    if deployment.serverless and deployment.captures_data:
        raise InvalidEvent(
            "data_capture_s3_uri is set, but a serverless endpoint cannot capture data. "
            "Set data_capture_percent to 0 or choose an instance type."
        )
    if deployment.serverless and deployment.schedules:
        raise InvalidEvent(
            "schedules are given, but a serverless endpoint scales by itself. "
            "Leave them out or choose an instance type."
        )


_READERS = {
    "model_package_arn": matching(_PACKAGE_ARN, "arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>"),
    "endpoint_name": ENDPOINT_NAME,
    "model_role_arn": matching(_ROLE_ARN, "arn:aws:iam::<account>:role/<name>"),
    "instance_type": matching(r"ml\.[a-z0-9-]+\.[a-z0-9-]+|serverless", "ml.m5.large, or the word serverless"),
    "min_instances": integer(1, 1000),
    "max_instances": integer(1, 1000),
    "target_invocations_per_instance": number(0.1, 1e9),
    "scale_in_cooldown": integer(0, 86_400),
    "scale_out_cooldown": integer(0, 86_400),
    "serving_image": matching(r"\S{1,255}", "<registry>/<repository>:<tag>"),
    "canary_percent": integer(0, 50),
    "canary_wait_seconds": integer(0, 3600),
    "max_latency_milliseconds": number(1, 60_000),
    "data_capture_s3_uri": matching(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?", "s3://bucket/prefix"),
    "data_capture_percent": integer(0, 100),
    "serverless_memory_mb": integer(1024, 6144, multiple_of=1024),
    "serverless_max_concurrency": integer(1, 200),
    "scaling_policy": one_of(TARGET_TRACKING, STEP),
    "scaling_steps": steps,
    "schedules": schedules,
    "wait_seconds": WAIT_SECONDS,
    "tags": tags,
}
