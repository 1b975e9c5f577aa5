"""Readers of an event's fields: each takes a field's name and raw value, and gives the checked value or InvalidEvent.

Numbers and lists may arrive as text too, since pipeline parameters and tags are text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from failures import InvalidEvent

MAX_TAGS = 15  # an endpoint has room for 50, and the wishes need theirs
MAX_ITEMS = 10
RESERVED = ("deploy:", "aws:")

Reader = Callable[[str, Any], Any]

_SCHEDULE = re.compile(r"(cron|rate|at)\(.+\)")


class Schedule(NamedTuple):
    """Bounds that the scalable target gets at a time: `schedule` is cron(…), rate(…) or at(…), in UTC."""

    schedule: str
    min: int
    max: int


class Step(NamedTuple):
    """From `above` requests per minute and instance over the target, `add` instances are added."""

    above: float
    add: int


def matching(pattern: str, example: str) -> Reader:
    compiled = re.compile(pattern)

    def read(name: str, raw: Any) -> str:
        if not isinstance(raw, str) or not compiled.fullmatch(raw):
            raise InvalidEvent(f"{name} is {shown(raw)}. It must look like {example}.")
        return raw

    return read


def one_of(*choices: str) -> Reader:
    def read(name: str, raw: Any) -> str:
        if raw not in choices:
            raise InvalidEvent(f"{name} is {shown(raw)}. It must be {' or '.join(choices)}.")
        return raw

    return read


def number(low: float, high: float) -> Reader:
    def read(name: str, raw: Any) -> float:
        try:
            value = math.nan if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError):
            value = math.nan
        if not low <= value <= high:
            raise InvalidEvent(f"{name} is {shown(raw)}. It must be a number from {low:g} to {high:g}.")
        return value

    return read


def integer(low: int, high: int, *, multiple_of: int = 1) -> Reader:
    read_number = number(low, high)

    def read(name: str, raw: Any) -> int:
        value = read_number(name, raw)
        if value % multiple_of:
            kind = f"multiple of {multiple_of}" if multiple_of > 1 else "whole number"
            raise InvalidEvent(f"{name} is {shown(raw)}. It must be a {kind}.")
        return int(value)

    return read


def schedules(name: str, raw: Any) -> tuple[Schedule, ...]:
    """`[{"schedule": "cron(0 8 ? * MON-FRI *)", "min": 2, "max": 6}]`."""
    count = integer(1, 1000)
    found = []
    for item in _objects(name, raw, Schedule._fields):
        expression = matching(_SCHEDULE.pattern, "cron(0 8 ? * MON-FRI *)")(f"{name}.schedule", item["schedule"])
        found.append(Schedule(expression, count(f"{name}.min", item["min"]), count(f"{name}.max", item["max"])))
        if found[-1].max < found[-1].min:
            raise InvalidEvent(
                f"{name} has max {found[-1].max} below min {found[-1].min}. Raise one or lower the other."
            )
    return tuple(found)


def steps(name: str, raw: Any) -> tuple[Step, ...]:
    """`[{"above": 0, "add": 1}, {"above": 300, "add": 3}]`; the first starts at the target itself."""
    above, add = number(0, 1e9), integer(1, 100)
    items = _objects(name, raw, Step._fields)
    found = sorted(Step(above(f"{name}.above", item["above"]), add(f"{name}.add", item["add"])) for item in items)
    starts = [step.above for step in found]
    if starts and (starts[0] != 0 or len(set(starts)) < len(starts)):
        raise InvalidEvent(f"{name} starts its steps at {starts}. The first must start at 0, no two at the same.")
    return tuple(found)


def tags(name: str, raw: Any) -> tuple[tuple[str, str], ...]:
    """`{"team": "dogs"}`, or AWS's own `[{"Key": "team", "Value": "dogs"}]`."""
    try:
        pairs = raw.items() if isinstance(raw, Mapping) else [(tag["Key"], tag["Value"]) for tag in raw]
    except (TypeError, KeyError):
        raise InvalidEvent(f'{name} is {shown(raw)}. It must look like {{"team": "dogs"}}.') from None
    found = tuple(sorted((str(key), str(value)) for key, value in pairs))
    if len(found) > MAX_TAGS:
        raise InvalidEvent(f"{name} has {len(found)} tags. There is room for {MAX_TAGS}.")
    for key, _ in found:
        if key.startswith(RESERVED):
            raise InvalidEvent(f"{name} has {key!r}. Keys that start with {' or '.join(RESERVED)} are not for you.")
    return found


def shown(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _objects(name: str, raw: Any, members: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """A list (or its JSON text) of objects with exactly these members."""
    items = raw
    if isinstance(raw, str):
        try:
            items = json.loads(raw)
        except ValueError:
            items = None
    if not isinstance(items, list) or not all(isinstance(i, Mapping) and set(i) == set(members) for i in items):
        example = ", ".join(f'"{member}": …' for member in members)
        raise InvalidEvent(f"{name} is {shown(raw)}. It must be a list of {{{example}}}.")
    if len(items) > MAX_ITEMS:
        raise InvalidEvent(f"{name} has {len(items)} items. At most {MAX_ITEMS} are allowed.")
    return items
