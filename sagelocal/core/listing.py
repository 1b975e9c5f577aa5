"""What SageMaker's List operations have in common: filters, order and pages."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.core.store import Document


def page(
    bodies: Iterable[Document],
    request: Json,
    answer: str,
    summary: Callable[[Document], Json],
    word: str = "",
    name: str = "",
    order: str = "Descending",
) -> Json:
    """The answer of a List operation: `bodies` filtered, sorted and cut as `request` asks, each through `summary`.

    `answer` is the member of the list. A body's name and status are in <word>Name (or in `name`) and <word>Status.
    """
    name, status = name or f"{word}Name", f"{word}Status"
    kept = [body for body in bodies if _matches(body, request, name, status)]
    by = {"Name": name, "Status": status}.get(request.get("SortBy", ""), request.get("SortBy") or "CreationTime")
    kept.sort(key=lambda body: cast(float, body.get(by, 0)), reverse=request.get("SortOrder", order) == "Descending")
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise ValidationException(f"Invalid NextToken: {token}")
    first = int(token)
    last = first + request.get("MaxResults", 100)
    more = {"NextToken": str(last)} if last < len(kept) else {}
    return {answer: [summary(body) for body in kept[first:last]], **more}


def members(names: Iterable[str]) -> Callable[[Mapping[str, Any]], Json]:
    """A summary: those of a body's members that have one of `names`."""
    return lambda body: {name: body[name] for name in names if name in body}


def _matches(body: Mapping[str, Any], request: Json, name: str, status: str) -> bool:
    named: str = body[name]
    return (
        request.get("NameContains", "").lower() in named.lower()
        and request.get("StatusEquals", body.get(status)) == body.get(status)
        and _after(body, request, "CreationTime")
        and _after(body, request, "LastModifiedTime")
    )


def _after(body: Mapping[str, Any], request: Json, member: str) -> bool:
    value: float = body.get(member, 0.0)
    return seconds(request.get(f"{member}After"), 0.0) <= value <= seconds(request.get(f"{member}Before"), float("inf"))


def seconds(value: Any, default: float) -> float:
    """A request's timestamp (number, ISO text or datetime) as seconds since 1970."""
    if value is None:
        return default
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime) else float(value)
