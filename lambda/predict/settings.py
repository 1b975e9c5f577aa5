"""What the function's environment decides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from errors import EndpointUnavailable, Misconfigured


@dataclass(frozen=True)
class Settings:
    """`endpoint_name`: ENDPOINT_NAME. `allow_http`: ALLOW_HTTP, whether plain http:// URLs are fetched.
    `confidence_floor`: CONFIDENCE_FLOOR, the top probability below which an answer says it is unsure."""

    endpoint_name: str
    allow_http: bool = False
    confidence_floor: float = 0.3

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises EndpointUnavailable without ENDPOINT_NAME, Misconfigured for a floor that is no probability."""
        endpoint_name = environment.get("ENDPOINT_NAME", "")
        if not endpoint_name:
            raise EndpointUnavailable("This function has no endpoint yet. Set its ENDPOINT_NAME.")
        allow_http = environment.get("ALLOW_HTTP", "").strip().lower() in ("1", "true", "yes")
        return cls(endpoint_name, allow_http, _floor(environment.get("CONFIDENCE_FLOOR", "")))


def _floor(text: str) -> float:
    try:
        floor = float(text or Settings.confidence_floor)
    except ValueError:
        floor = -1.0
    if not 0 <= floor <= 1:
        raise Misconfigured(f"The function's CONFIDENCE_FLOOR is {text[:40]!r}. Set it to a probability from 0 to 1.")
    return floor
