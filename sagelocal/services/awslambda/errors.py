"""Lambda's errors."""

from sagelocal.core.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, 400)


def conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message, 409)


def missing(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 404)
