"""What requests, answers and documents are made of, and the one way to read JSON that somebody else wrote."""

import json
from typing import Any

Json = dict[str, Any]

NESTED = (dict, list)
MAX_DEPTH = 128  # of lists and objects in each other; what is deeper would end in Python's own limit, somewhere


class TooDeep(ValueError):
    def __init__(self) -> None:
        super().__init__(f"it has more than {MAX_DEPTH} levels of lists and objects in each other")


def read(text: str | bytes, **options: Any) -> Any:
    """The value that a JSON text stands for. `options` are those of json.loads.

    Raises ValueError for anything that cannot be worked on: no JSON, too deep, or with half of a character in it.
    """
    try:
        value = json.loads(text, **options)
    except RecursionError:
        raise TooDeep from None
    marks = ("[", "{", "\\ud", "\\uD") if isinstance(text, str) else (b"[", b"{", b"\\ud", b"\\uD")
    lists, objects, *halves = (text.count(mark) for mark in marks)  # type: ignore[arg-type]
    if lists + objects > MAX_DEPTH:
        check_depth(value)
    if any(halves):
        _check_characters(value)
    return value


def check_depth(value: Any) -> None:
    """Raise TooDeep for a value that is. It goes level by level, so that no depth is too much for it."""
    level = [value] if isinstance(value, NESTED) else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for inside in level
            for item in (inside.values() if isinstance(inside, dict) else inside)
            if isinstance(item, NESTED)
        ]
        if not level:
            return
    raise TooDeep


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as problem:
        raise ValueError(f"{problem.object[problem.start]!r} is half of a character") from None
