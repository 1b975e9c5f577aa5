"""SageMaker's tags: of anything that is a document here."""

from collections.abc import Callable
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import Kind
from sagelocal.services.sagemaker.documents import TUNING_JOB

MAX_TAGS = 50
# The kinds in ARNs that the documents have another name for.
KINDS: dict[str, Kind[Any]] = {"hyper-parameter-tuning-job": TUNING_JOB}


@operation("sagemaker", "AddTags")
def add_tags(context: Context, request: Json) -> Json:
    """A tag whose key is there gets the new value."""
    new = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    for key in new:
        if key.lower().startswith("aws:"):
            raise ValidationException(f"Tag key {key} is not allowed: aws: is reserved.")

    def change(body: Json) -> None:
        tags = _tags(body) | new
        if len(tags) > MAX_TAGS:
            raise AwsError("ResourceLimitExceeded", f"A resource has at most {MAX_TAGS} tags.", 400)
        body["_Tags"] = _listed(tags)

    return {"Tags": _change(context, request, change)}


@operation("sagemaker", "ListTags")
def list_tags(context: Context, request: Json) -> Json:
    body = context.store.get(*_named(context, request))
    if body is None:
        raise _not_found(request)
    return {"Tags": _listed(_tags(body))}


@operation("sagemaker", "DeleteTags")
def delete_tags(context: Context, request: Json) -> None:
    def change(body: Json) -> None:
        body["_Tags"] = _listed({key: text for key, text in _tags(body).items() if key not in request["TagKeys"]})

    _change(context, request, change)


def _change(context: Context, request: Json, change: Callable[[Json], None]) -> list[Json]:
    try:
        body = context.store.change(*_named(context, request), change)
    except KeyError:
        raise _not_found(request) from None
    return _listed(_tags(body))


def _named(context: Context, request: Json) -> tuple[Kind[Any], str]:
    """(kind, name) of the document behind an ARN; SageMaker's ARNs may be written in lower case."""
    named, _, name = request["ResourceArn"].split(":", 5)[-1].partition("/")
    kind = KINDS.get(named, Kind[Any](named))
    if context.store.get(kind, name) is None:
        name = context.store.spelled(kind, name) or name
    return kind, name


def _tags(body: Json) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in body.get("_Tags") or []}


def _listed(tags: dict[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _not_found(request: Json) -> ValidationException:
    return ValidationException(f"Could not find resource {request['ResourceArn']}.")
