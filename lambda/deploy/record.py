"""What the deploy function remembers between two calls, as tags on the endpoint: one tag per field, all `deploy:…`.

The desired state is a deployment's fields, so that the endpoint's state event can finish what a call began. Beside them
stand `config` (the configuration that the desired state means), `previous` (what to go back to), `tested` (the
configuration that passed its smoke test), and `refused` with `reason` (the one that did not).

A tag's value has at most 256 characters of letters, digits, space and `_.:/=+-@`, so other characters are written as
in quoted-printable (`a=2Cb`), and longer texts go on in `<field>.1`. Source: SageMaker's API reference, Tag.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote, unquote

from calls import Calls, Clients
from deployment import Deployment

PREFIX = "deploy:"
STATE = ("config", "previous", "tested", "refused", "reason")
LONGEST_VALUE = 256
LONGEST_REASON = 600
OF_ONE_CALL = ("endpoint_name", "wait_seconds", "tags")  # given with each call, not remembered


@dataclass(frozen=True)
class Record:
    """The tags of one endpoint: key → value."""

    arn: str
    tags: dict[str, str]

    @classmethod
    def of(cls, endpoint: dict[str, Any], clients: Clients) -> Record:
        listed = clients.sagemaker.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"]
        return cls(endpoint["EndpointArn"], {tag["Key"]: tag["Value"] for tag in listed})

    def __getitem__(self, name: str) -> str:
        """A field's text, empty when there is none."""
        parts = [self.tags.get(f"{PREFIX}{name}", "")]
        while more := self.tags.get(f"{PREFIX}{name}.{len(parts)}"):
            parts.append(more)
        return unquote("".join(parts).replace("=", "%"))

    def deployment(self, endpoint_name: str) -> Deployment | None:
        """The desired state; None for an endpoint that the deploy function did not make. Raises InvalidEvent."""
        if not self["model_package_arn"]:
            return None
        theirs = {key: value for key, value in self.tags.items() if not key.startswith((PREFIX, "aws:"))}
        desired_state = {field.name: self[field.name] for field in fields(Deployment) if field.name not in OF_ONE_CALL}
        return Deployment.from_event(desired_state | {"endpoint_name": endpoint_name, "tags": theirs})

    def remember(self, tags: dict[str, str], calls: Calls) -> Record:
        """Write the tags that differ; the record as it is afterwards."""
        new = {key: value for key, value in tags.items() if self.tags.get(key, "") != value}
        if new:
            calls.change("sagemaker", "add_tags", ResourceArn=self.arn, Tags=as_list(new))
        return replace(self, tags=self.tags | new)

    def desired_state(self, deployment: Deployment, previous: str) -> dict[str, str]:
        """The tags of a deployment here: what is the default now and was not before becomes empty."""
        wanted = desired_state(deployment) | state(previous=previous)
        old = {
            key: ""
            for key in self.tags
            if key.startswith(PREFIX) and key.removeprefix(PREFIX).partition(".")[0] not in STATE
        }
        return old | wanted


def desired_state(deployment: Deployment) -> dict[str, str]:
    """A deployment as tags: its own, and the fields that are not the default."""
    texts = {
        field.name: str(getattr(deployment, field.name))
        for field in fields(deployment)
        if field.name not in OF_ONE_CALL and getattr(deployment, field.name) != field.default
    }
    return dict(deployment.tags) | _tags(texts | {"config": deployment.config_name})


def state(**texts: str) -> dict[str, str]:
    """Tags of `STATE`'s names; a reason is cut to what fits."""
    return _tags({name: text[:LONGEST_REASON] for name, text in texts.items()})


def as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags(texts: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, text in texts.items():
        quoted = quote(text, safe=" .:/+-@_").replace("%", "=")
        for number, start in enumerate(range(0, max(1, len(quoted)), LONGEST_VALUE)):
            key = f"{PREFIX}{name}.{number}" if number else f"{PREFIX}{name}"
            found[key] = quoted[start : start + LONGEST_VALUE]
    return found
