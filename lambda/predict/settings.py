"""What the function's environment decides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from errors import EndpointUnavailable


@dataclass(frozen=True)
class Settings:
    """`endpoint_name`: ENDPOINT_NAME. `allow_http`: ALLOW_HTTP, whether plain http:// URLs are fetched.
    `confidence_floor`: CONFIDENCE_FLOOR, the top probability below which an answer says it is unsure."""

    endpoint_name: str
    allow_http: bool = False
    confidence_floor: float = 0.3

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises EndpointUnavailable without ENDPOINT_NAME, ValueError for a floor that is no probability."""
        endpoint_name = environment.get("ENDPOINT_NAME", "")
        if not endpoint_name:
            raise EndpointUnavailable("This function has no endpoint yet. Set its ENDPOINT_NAME.")
        floor = float(environment.get("CONFIDENCE_FLOOR") or cls.confidence_floor)
        if not 0 <= floor <= 1:
            raise ValueError(f"CONFIDENCE_FLOOR is {floor}. It must be a probability from 0 to 1.")
        allow_http = environment.get("ALLOW_HTTP", "").strip().lower() in ("1", "true", "yes")
        return cls(endpoint_name, allow_http, floor)
