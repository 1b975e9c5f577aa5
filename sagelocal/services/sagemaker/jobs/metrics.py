"""Metric definitions: regular expressions over a job's log lines."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.core.patterns import Expression, InvalidExpression, Several, TooSlow, Worker

Definition = tuple[str, Expression]  # a name, and an expression whose first group is the value


def definitions(given: Sequence[Mapping[str, Any]]) -> list[Definition]:
    """`[{"Name", "Regex"}, …]` compiled. Raises ValidationException for an expression that is none, or has no group."""
    found = []
    for item in given:
        try:
            expression = Expression(item["Regex"])
        except InvalidExpression as problem:
            raise ValidationException(
                f"Metric {item['Name']}: {item['Regex']!r} is no expression: {problem}."
            ) from None
        if expression.groups < 1:
            raise ValidationException(f"Metric {item['Name']}: {item['Regex']!r} needs a group around the value.")
        found.append((item["Name"], expression))
    return found


class Collector:
    """Reads log lines, from any thread, and keeps each metric's last finite value.

    `worker` runs the expressions that may be slow. One that is too slow is off from then on.
    """

    def __init__(
        self,
        definitions: list[Definition],
        worker: Worker,
        on_value: Callable[[str, float], None] | None = None,
    ):
        self._definitions = definitions
        self._several = Several([expression for _, expression in definitions])
        self._worker = worker
        self._on_value = on_value
        self._off: set[Expression] = set()
        self._last: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def read(self, line: str) -> list[str]:
        """What the job's log should say about metrics that are read no more."""
        possible = set(self._several.possible(line)) - self._off
        said = []
        for name, expression in self._definitions if possible else ():
            if expression not in possible:
                continue
            try:
                groups = expression.search(line, self._worker)
            except TooSlow as problem:
                self._off.add(expression)
                why = f"{problem}. Write it without (…+)+ and the like."
                said.append(f"[embedded] Metric {name} is off from here on: {why}")
                continue
            value = _number(groups[1]) if groups else None
            if value is not None:
                with self._lock:
                    self._last[name] = (value, time.time())
                if self._on_value:
                    self._on_value(name, value)
        return said

    def final(self) -> list[Json]:
        """FinalMetricDataList."""
        with self._lock:
            return [
                {"MetricName": name, "Value": value, "Timestamp": when} for name, (value, when) in self._last.items()
            ]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
