"""The expressions of the definition language: {"Get": …}, {"Std:Join": …}, {"Std:JsonGet": …}.

A path is `.Name`, `['key']` and `[index]`. A list may be addressed by key where its members carry a name:
`ProcessingOutputConfig.Outputs['train']`, `FinalMetricDataList['validation:accuracy']`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagelocal.definition.document import Step

FUNCTIONS = ("Std:Join", "Std:JsonGet")
EXECUTION_VARIABLES = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)

_HEAD = re.compile(r"(Parameters|Steps|Execution|PipelineExperimentConfig)\.([A-Za-z0-9\-_]+)")
_WORD = r"[^\s.\[\]'\"$]+"
_TOKEN = re.compile(rf"\.(?P<name>{_WORD})|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]|\[(?P<index>\d+)\]")

Key = str | int


class BadReference(Exception):
    """An expression that cannot be read, or that leads nowhere; the message says where it ends."""


@dataclass(frozen=True)
class Token:
    """One step of a path. `kind`: name (.a), key (['a']) or index ([0])."""

    kind: str
    value: Key


@dataclass(frozen=True)
class Reference:
    """A Get that was read: `root` (Parameters, Steps, Execution or PipelineExperimentConfig), name and path in it."""

    root: str
    name: str
    path: tuple[Token, ...] = ()

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(token.value for token in self.path)


@dataclass(frozen=True)
class Found:
    """An expression and the path of the field that it fills. `file`: it is the property file of a JsonGet."""

    field: str
    expression: dict[str, Any]
    file: bool = False


@lru_cache(maxsize=4096)
def parse(expression: str) -> Reference:
    """What `{"Get": expression}` refers to. Raises BadReference."""
    head = _HEAD.match(expression)
    if not head:
        raise BadReference(f"{expression!r} is no reference.")
    return Reference(head[1], head[2], _tokens(expression[head.end() :], expression))


@lru_cache(maxsize=4096)
def parse_json_path(path: str) -> tuple[Key, ...]:
    """The keys of a Std:JsonGet path: `a.b[0]['c d']`, with or without `$.` before it. Raises BadReference."""
    rest = path.removeprefix("$")
    dotted = rest if not rest or rest[0] in ".[" else f".{rest}"
    if not path:
        raise BadReference("An empty path leads nowhere.")
    return tuple(token.value for token in _tokens(dotted, path))


def _tokens(path: str, whole: str) -> tuple[Token, ...]:
    read: list[Token] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if not match:
            raise BadReference(f"{whole!r} cannot be read from {path[position:]!r} on.")
        kind = next(name for name in ("name", "key", "index") if match[name] is not None)
        read.append(Token(kind, int(match["index"]) if kind == "index" else match[kind]))
        position = match.end()
    return tuple(read)


def kind(value: Any) -> str:
    """ "Get", "Std:Join" or "Std:JsonGet" where `value` is such an expression, else ""."""
    if isinstance(value, dict) and len(value) == 1:
        (key,) = value
        if key in FUNCTIONS or (key == "Get" and isinstance(value["Get"], str)):
            return str(key)
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


def steps_named_by(step: Step) -> Iterator[tuple[str, str]]:
    """(field, name of the step that it refers to) for every `Steps.…` in a step."""
    for found in of_step(step):
        if kind(found.expression) == "Get":
            head = _HEAD.match(found.expression["Get"])
            if head and head[1] == "Steps":
                yield found.field, head[2]


def select(value: Any, path: Sequence[Key], what: str) -> Any:
    """The part of `value` at `path`. Raises BadReference with what there is where the path leaves the road."""
    for depth, part in enumerate(path):
        try:
            value = _member(value, part)
        except (KeyError, IndexError):
            raise BadReference(f"{what} has no {_written(path[: depth + 1])}: {_inventory(value)}.") from None
    return value


def _member(value: Any, part: Key) -> Any:
    """One step into a value; a list's member is found by index or by its name (OutputName, MetricName …)."""
    if isinstance(value, dict):
        return value[part]
    if isinstance(value, list) and isinstance(part, int):
        return value[part]
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and any(k.endswith("Name") and v == part for k, v in item.items()):
            return item
    raise KeyError(part)


def _written(path: Sequence[Key]) -> str:
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if re.fullmatch(r"\w+", part) else f"['{part}']"
        for part in path
    )
    return text.removeprefix(".")


def _inventory(value: Any) -> str:
    if isinstance(value, dict):
        return f"there is {', '.join(sorted(map(str, value))[:20])}" if value else "nothing is there"
    if isinstance(value, list):
        names = [next((str(v) for k, v in i.items() if k.endswith("Name")), "?") for i in value if isinstance(i, dict)]
        return f"the list has {len(value)} members{': ' + ', '.join(names[:20]) if names else ''}"
    return f"the value there is {value!r}"
