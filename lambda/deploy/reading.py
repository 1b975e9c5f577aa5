"""Readers of an event's fields: each takes a field's name and raw value, and gives the checked value or InvalidEvent.

Numbers may arrive as text too, since pipeline parameters and tags are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field
from typing import Any

from failures import InvalidEvent

from contract.settings import plain_type

MAX_TAGS = 15  # an endpoint has room for 50, and the desired state needs its own
RESERVED = ("deploy:", "aws:")

Reader = Callable[[str, Any], Any]


def reader(field: Field[Any]) -> Reader:
    """Of a field that contract.settings made."""
    about = field.metadata
    if about["pattern"]:
        return matching(about["pattern"], about["example"])
    if plain_type(field) is int:
        return integer(about["low"], about["high"], multiple_of=about["multiple_of"])
    return number(about["low"], about["high"])


def matching(pattern: str, example: str) -> Reader:
    compiled = re.compile(pattern)

    def read(name: str, raw: Any) -> str:
        if not isinstance(raw, str) or not compiled.fullmatch(raw):
            raise InvalidEvent(f"{name} is {shown(raw)}. It must look like {example}.")
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
