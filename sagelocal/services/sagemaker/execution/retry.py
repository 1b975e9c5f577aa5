"""Which retry policy a failure of a step falls under."""

from collections.abc import Sequence

from sagelocal.core.errors import AwsError
from sagelocal.definition.retries import RetryPolicy

THROTTLING_CODES = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown")


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
