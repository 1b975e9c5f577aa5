"""References: {"Get": "Parameters.X"}, {"Get": "Steps.S.<path>"}, {"Get": "Execution.V"}.

A path is `.Name`, `['key']` and `[index]`. A list may be addressed by key where its members carry a name:
`ProcessingOutputConfig.Outputs['train']`, `FinalMetricDataList['validation:accuracy']`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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

_HEAD = re.compile(r"(Parameters|Steps|Execution)\.([A-Za-z0-9_\-]+)")
_PART = re.compile(r"\.?(?:([^.\[\]'\"]+)|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[(\d+)\])")


class BadReference(Exception):
    """An expression that does not parse, or that leads nowhere; the message says where it ends."""


@dataclass(frozen=True)
class Reference:
    """A parsed Get: `root` is Parameters, Steps or Execution; `path` is what follows the name."""

    root: str
    name: str
    path: tuple[str | int, ...]


@lru_cache(maxsize=4096)
def parse(expression: str) -> Reference:
    """Raises BadReference."""
    head = _HEAD.match(expression)
    if not head:
        raise BadReference(f"{expression!r} is no reference: it must start with Parameters., Steps. or Execution.")
    return Reference(head[1], head[2], parse_path(expression[head.end() :], expression))


@lru_cache(maxsize=4096)
def parse_path(path: str, expression: str = "") -> tuple[str | int, ...]:
    """The parts of `a.b[0]['k']`. Raises BadReference."""
    parts: list[str | int] = []
    position = 0
    while position < len(path):
        part = _PART.match(path, position)
        if not part:
            raise BadReference(f"{expression or path!r} cannot be read from {path[position:]!r} on.")
        name, single, double, index = part.groups()
        parts.append(int(index) if index is not None else next(k for k in (name, single, double) if k is not None))
        position = part.end()
    return tuple(parts)


def find(tree: Any) -> Iterator[str]:
    """The expression of every Get anywhere in a tree of Arguments or conditions."""
    if isinstance(tree, dict):
        if len(tree) == 1 and isinstance(tree.get("Get"), str):
            yield tree["Get"]
            return
        for value in tree.values():
            yield from find(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from find(value)


def select(value: Any, path: tuple[str | int, ...], what: str) -> Any:
    """The part of `value` at `path`. Raises BadReference with what there is where the path leaves the road."""
    for depth, part in enumerate(path):
        try:
            value = _member(value, part)
        except (KeyError, IndexError):
            raise BadReference(f"{what} has no {_written(path[: depth + 1])}: {_inventory(value)}.") from None
    return value


def _member(value: Any, part: str | int) -> Any:
    """One step into a value; a list's member is found by index or by its name (OutputName, MetricName …)."""
    if isinstance(value, dict):
        return value[part]
    if isinstance(value, list) and isinstance(part, int):
        return value[part]
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and any(k.endswith("Name") and v == part for k, v in item.items()):
            return item
    raise KeyError(part)


def _written(path: tuple[str | int, ...]) -> str:
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
