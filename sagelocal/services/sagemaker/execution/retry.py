"""Retry policies: which failures are tried again, when and how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagelocal.core.errors import AwsError

EXCEPTION_TYPES = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
MAX_ATTEMPTS = 20
MAX_EXPIRE_MINUTES = 14400
THROTTLING_CODES = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """`max_attempts` counts retries, not the first run; `interval_seconds` is before the first retry, then grows."""

    exception_types: tuple[str, ...]
    interval_seconds: float = 1.0
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after_minutes: float | None = None

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> "RetryPolicy":
        """Raises ValueError that quotes the bad value."""
        named = entry.get("ExceptionType")
        types = tuple(named) if isinstance(named, list) else (named,)
        unknown = [name for name in types if name not in EXCEPTION_TYPES]
        if unknown or not types:
            raise ValueError(f"retry policy: ExceptionType {named!r} must be a list of {', '.join(EXCEPTION_TYPES)}.")
        attempts, minutes = entry.get("MaxAttempts"), entry.get("ExpireAfterMin")
        if (attempts is None) == (minutes is None):
            raise ValueError("retry policy: give either MaxAttempts or ExpireAfterMin.")
        if attempts is not None and not (isinstance(attempts, int) and 1 <= attempts <= MAX_ATTEMPTS):
            raise ValueError(f"retry policy: MaxAttempts {attempts!r} must be from 1 to {MAX_ATTEMPTS}.")
        if minutes is not None and not (isinstance(minutes, int) and 1 <= minutes <= MAX_EXPIRE_MINUTES):
            raise ValueError(f"retry policy: ExpireAfterMin {minutes!r} must be from 1 to {MAX_EXPIRE_MINUTES}.")
        interval, rate = entry.get("IntervalSeconds", 1), entry.get("BackoffRate", 2.0)
        if not isinstance(interval, int | float) or interval < 0 or not isinstance(rate, int | float) or rate < 0:
            raise ValueError(
                f"retry policy: IntervalSeconds {interval!r} and BackoffRate {rate!r} must be numbers, 0 or more."
            )
        return cls(
            exception_types=types,
            interval_seconds=interval,
            backoff_rate=rate,
            max_attempts=attempts,
            expire_after_minutes=minutes,
        )

    def delay(self, retries: int, elapsed: float) -> float | None:
        """Seconds to wait after `retries` retries and `elapsed` seconds since the first attempt; None: give up."""
        seconds = self.interval_seconds * self.backoff_rate**retries
        if self.max_attempts is not None:
            return seconds if retries < self.max_attempts else None
        return seconds if elapsed + seconds <= (self.expire_after_minutes or 0) * 60 else None


def policy_for(policies: Sequence[RetryPolicy], exception_type: str | None) -> RetryPolicy | None:
    """The first policy that names the exception type, as the service picks it."""
    return next((policy for policy in policies if exception_type in policy.exception_types), None)


def type_of_error(error: AwsError) -> str | None:
    """The exception type of a call that was refused."""
    if error.code in THROTTLING_CODES:
        return "Step.THROTTLING"
    if error.code == "ResourceLimitExceeded":
        return "SageMaker.RESOURCE_LIMIT"
    return "Step.SERVICE_FAULT" if error.status >= 500 else None


def type_of_failure(reason: str) -> str | None:
    """The exception type of a job that failed, from the beginning of its FailureReason."""
    if reason.startswith(("InternalServerError", "InternalError")):
        return "SageMaker.JOB_INTERNAL_ERROR"
    if reason.startswith("CapacityError"):
        return "SageMaker.CAPACITY_ERROR"
    return "SageMaker.RESOURCE_LIMIT" if reason.startswith("ResourceLimitExceeded") else None
