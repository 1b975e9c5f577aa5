"""The event, checked: what should be deployed, where, how carefully, and how it scales."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from failures import InvalidEvent
from reading import reader, shown, tags

from contract.deployment import SERVERLESS, DeployEvent
from contract.settings import named

VARIANT = "AllTraffic"
READERS = {name: tags if name == "tags" else reader(field) for name, field in named(DeployEvent).items()}

_ANY_NAME_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class Deployment(DeployEvent):
    """A checked event, and what follows from it."""

    @classmethod
    def from_event(cls, event: Any) -> Deployment:
        """Check an event. Numbers may be int, float or text, since pipeline parameters arrive as either; an empty
        optional field counts as absent, since a pipeline parameter cannot be null. Raises InvalidEvent."""
        if not isinstance(event, Mapping):
            raise InvalidEvent(f"The event is {shown(event)}, not an object. Send the deployment's fields as JSON.")
        known = named(cls)
        if unknown := sorted(set(event) - set(known)):
            raise InvalidEvent(f"Unknown field {unknown[0]!r}. The known ones are {', '.join(sorted(known))}.")
        values = {}
        for name, field in known.items():
            raw = event.get(name)
            if raw is not None and raw != "":
                values[name] = READERS[name](name, raw)
            elif field.default is MISSING:
                raise InvalidEvent(f"{name} is missing. The deploy function cannot work without it.")
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
        two endpoints share one, so that deleting an endpoint can delete its models. A model that serves the package's
        own archive, and not the copy in releases, has another name."""
        version = self.model_package_arn.rpartition("/")[2]
        content = [self.endpoint_name, self.model_package_arn, self.model_role_arn, self.serving_image, "release"]
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
