"""The expressions of the definition language, as they stand in a document: where they are and how their paths read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.lint.document import Step

FUNCTIONS = ("Std:Join", "Std:JsonGet")

_TOKEN = re.compile(r"\.(?P<name>[A-Za-z0-9_\-]+)|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]|\[(?P<index>\d+)\]")
_WORD = r"[^\s.\[\]'\"$]+"
_JSON_PATH = re.compile(
    rf"(\$\.?)?({_WORD}|\[\d+\]|\['[^']+'\]|\[\"[^\"]+\"\])(\.{_WORD}|\[\d+\]|\['[^']+'\]|\[\"[^\"]+\"\])*"
)


@dataclass(frozen=True)
class Found:
    """An expression and the path of the field that it fills. `file` is a reference to a JsonGet's property file."""

    field: str
    expression: dict[str, Any]
    file: bool = False


def kind(value: Any) -> str:
    """ "Get", "Std:Join" or "Std:JsonGet" where `value` is such an expression, else ""."""
    if isinstance(value, dict) and len(value) == 1:
        (key,) = value
        if key in FUNCTIONS or (key == "Get" and isinstance(value["Get"], str)):
            return key
    return ""


def walk(value: Any, path: str, *, file: bool = False) -> Iterator[Found]:
    """Every expression in `value`, outer ones before those inside them."""
    if found := kind(value):
        yield Found(path, value, file)
        inner = value[found] if found != "Get" else None
        path = f"{path}.{found}"
    else:
        inner = value
    if isinstance(inner, dict):
        for key, item in inner.items():
            yield from walk(item, f"{path}.{key}", file=found == "Std:JsonGet" and key == "PropertyFile")
    elif isinstance(inner, list):
        for index, item in enumerate(inner):
            yield from walk(item, f"{path}[{index}]")


def of_step(step: Step) -> Iterator[Found]:
    """Every expression of a step itself; those of the steps nested in it are theirs."""
    for key, value in step.own.items():
        yield from walk(value, key)


def step_references(step: Step) -> Iterator[tuple[str, str]]:
    """(field, name of the step that it refers to) for every `Steps.…` in a step."""
    for found in of_step(step):
        if kind(found.expression) == "Get":
            name, _ = step_path(found.expression["Get"])
            if name:
                yield found.field, name


def step_path(expression: str) -> tuple[str, str]:
    """("S", ".a['b'][0]") of `Steps.S.a['b'][0]`; ("", "") of anything else."""
    match = re.fullmatch(r"Steps\.([A-Za-z0-9\-_]+)(.*)", expression, re.DOTALL)
    return (match[1], match[2]) if match else ("", "")


def tokens(path: str) -> list[tuple[str, str | int]] | None:
    """[("name", "a"), ("key", "b"), ("index", 0)] of `.a['b'][0]`; None where the path cannot be read."""
    read: list[tuple[str, str | int]] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if not match:
            return None
        group = next(name for name in ("name", "key", "index") if match[name] is not None)
        read.append((group, int(match["index"]) if group == "index" else match[group]))
        position = match.end()
    return read


def is_json_path(path: Any) -> bool:
    """Whether Std:JsonGet can read `path`: a.b[0]['c d']."""
    return isinstance(path, str) and _JSON_PATH.fullmatch(path) is not None
