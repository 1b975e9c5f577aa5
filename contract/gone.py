"""Whether AWS says that something does not exist. Each service has its own words for it; SageMaker has no error code
for it, so its ValidationException is told by its text."""

from typing import Any, Protocol

WORDS = ("notfound", "nosuch", "could not find", "does not exist", "cannot find", "not found")


class ClientError(Protocol):
    """botocore's exception of this name, as far as it is read here."""

    response: Any


def is_gone(error: ClientError) -> bool:
    details = error.response.get("Error", {})
    said = f"{details.get('Code', '')} {details.get('Message', '')}".lower()
    return any(word in said for word in WORDS)
