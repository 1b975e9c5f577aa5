"""What SageMaker's List operations have in common: filters, order and pages.

`stored` asks the database, which reads the rows of the page alone. `page` is for what is at hand anyway.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json, read
from sagelocal.core.numbers import is_whole
from sagelocal.core.selection import INFINITY, Selection
from sagelocal.core.store import Document, Kind, Store

PAGE = 100  # MaxResults where a request has none
ORDERS = {"Name": "name", "Status": "status", "LastModifiedTime": "modified"}  # of SortBy; the rest mean "created"
PAGING = ("NextToken", "MaxResults")


def stored(
    store: Store,
    kind: Kind[Document],
    request: Json,
    answer: str,
    summary: Callable[[Document], Json],
    *,
    parent: str | None = None,
    prefix: str = "",
    status: str | None = None,
    order: str = "Descending",
) -> Json:
    """The answer of a List operation over all of a kind, or those of a `parent`. `answer`: the member of the list;
    `status`: the one that the request asks for, where it does not say so with StatusEquals."""
    wanted_status = status or request.get("StatusEquals")
    sort_by = request.get("SortBy", "")
    wanted = Selection(
        parent=parent,
        prefix=prefix,
        contains=request.get("NameContains", ""),
        status=(wanted_status,) if wanted_status else (),
        created=_span(request, ("CreationTimeAfter", "CreatedAfter"), ("CreationTimeBefore", "CreatedBefore")),
        modified=_span(request, ("LastModifiedTimeAfter",), ("LastModifiedTimeBefore",)),
        order="name" if sort_by.endswith(("Name", "Arn")) else ORDERS.get(sort_by, "created"),
        descending=request.get("SortOrder", order) == "Descending",
        after=_after_token(request),
        limit=request.get("MaxResults", PAGE) + 1,
    )
    rows = store.page(kind, wanted)
    shown = rows[: request.get("MaxResults", PAGE)]
    more = {"NextToken": _token(request, shown[-1][1])} if len(rows) > len(shown) else {}
    return {answer: [summary(body) for body, _ in shown], **more}


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
    if not is_whole(token):
        raise ValidationException(f"Invalid NextToken: {token}")
    first = int(token)
    last = first + request.get("MaxResults", PAGE)
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


def _span(request: Json, after: tuple[str, ...], before: tuple[str, ...]) -> tuple[float, float]:
    low = max(seconds(request.get(member), -INFINITY) for member in after)
    return low, min(seconds(request.get(member), INFINITY) for member in before)


def _token(request: Json, key: tuple[Any, ...]) -> str:
    """The key of a page's last row, and what was asked for: a token is of use for the same question only."""
    return base64.urlsafe_b64encode(json.dumps([_question(request), *key]).encode()).decode()


def _after_token(request: Json) -> tuple[Any, ...]:
    token = request.get("NextToken")
    if token is None:
        return ()
    try:
        question, *key = read(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        raise ValidationException(f"Invalid NextToken: {token}") from None
    if question != _question(request):
        raise ValidationException("NextToken belongs to a request with other filters. Repeat those, or leave it out.")
    return tuple(key)


def _question(request: Json) -> str:
    asked = {member: str(value) for member, value in request.items() if member not in PAGING}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def seconds(value: Any, default: float) -> float:
    """A request's timestamp (number, ISO text or datetime) as seconds since 1970."""
    if value is None:
        return default
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime) else float(value)
