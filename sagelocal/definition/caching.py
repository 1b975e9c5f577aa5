"""CacheConfig: whether a step may be reused, and for how long.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html. Its own examples are "30d", "5y", "T16m"
and "30dT5h", so the leading P and upper case, which ISO 8601 wants, are optional.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY = 86400
UNITS = {"days": ("Y", "M", "W", "D"), "hours": ("H", "M", "S")}
SECONDS = (365 * DAY, 30 * DAY, 7 * DAY, DAY, 3600, 60, 1)  # a year has 365 days, a month 30
_NUMBER = r"(?:(\d+(?:\.\d+)?){})?"
_DURATION = re.compile(
    "P?" + "".join(map(_NUMBER.format, UNITS["days"])) + "(?:T" + "".join(map(_NUMBER.format, UNITS["hours"])) + ")?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CacheConfig:
    """`expire_after`: seconds for which a run can be reused, None for ever."""

    enabled: bool
    expire_after: float | None = None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "CacheConfig":
        """The config of a step whose CacheConfig has no errors."""
        expires = entry.get("ExpireAfter")
        return cls(bool(entry.get("Enabled", False)), None if expires is None else duration_seconds(expires))


def duration_seconds(text: Any) -> float:
    """Seconds of a duration such as P30D, 30d, PT4H or T12H. Raises ValueError that quotes the bad value."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match or not any(match.groups()) or text[-1] in "Tt":
        raise ValueError(f"{text!r} is no duration.")
    return sum(float(count) * size for count, size in zip(match.groups(), SECONDS, strict=True) if count)
