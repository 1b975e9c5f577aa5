"""RetryPolicies: which failures of a step are tried again, when and how often.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EXCEPTION_TYPES = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
    "Emr.RESOURCE_LIMIT",
)
BOUNDS = {"MaxAttempts": (1, 20), "ExpireAfterMin": (0, 14400)}


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """`max_attempts` counts retries, not the first run; `interval_seconds` is before the first retry, then grows."""

    exception_types: tuple[str, ...]
    interval_seconds: float = 1.0
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after_minutes: float | None = None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "RetryPolicy":
        """The policy of an entry without `problems`."""
        return cls(
            exception_types=tuple(named(entry)),
            interval_seconds=entry.get("IntervalSeconds", 1),
            backoff_rate=entry.get("BackoffRate", 2.0),
            max_attempts=entry.get("MaxAttempts"),
            expire_after_minutes=entry.get("ExpireAfterMin"),
        )

    def delay(self, retries: int, elapsed: float) -> float | None:
        """Seconds to wait after `retries` retries and `elapsed` seconds since the first attempt; None: give up."""
        seconds = self.interval_seconds * self.backoff_rate**retries
        if self.max_attempts is not None:
            return seconds if retries < self.max_attempts else None
        return seconds if elapsed + seconds <= (self.expire_after_minutes or 0) * 60 else None


def named(entry: Mapping[str, Any]) -> list[Any]:
    """The exception types of a policy: a list, or one alone."""
    types = entry.get("ExceptionType")
    return types if isinstance(types, list) else [types] if types is not None else []


def problems(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(member, message, fix) of everything that is wrong with a policy, but for what its step's type forbids."""
    if not named(entry):
        yield ".ExceptionType", "is empty.", f"List some of {', '.join(EXCEPTION_TYPES)}."
    if ("MaxAttempts" in entry) == ("ExpireAfterMin" in entry):
        yield "", "needs MaxAttempts or ExpireAfterMin, not both.", "Give one of the two."
    for member, (low, high) in BOUNDS.items():
        value: Any = entry.get(member)
        if member in entry and (not _is_number(value, int) or not low <= value <= high):
            yield f".{member}", f"is {value!r}.", f"Write a number from {low} to {high}."
    for member in ("IntervalSeconds", "BackoffRate"):
        value = entry.get(member, 0)
        if not _is_number(value, int | float) or value < 0:
            yield f".{member}", f"is {value!r}.", "Write a number, 0 or more."


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
