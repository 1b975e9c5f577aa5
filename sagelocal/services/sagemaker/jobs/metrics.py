"""Metric definitions: regular expressions over a job's log lines."""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json

Definition = tuple[str, re.Pattern[str]]  # a name, and an expression whose first group is the value


def definitions(given: Sequence[Mapping[str, Any]]) -> list[Definition]:
    """`[{"Name", "Regex"}, …]` compiled. Raises ValidationException for an expression that is none, or has no group."""
    found = []
    for item in given:
        try:
            pattern = re.compile(item["Regex"])
        except re.error as problem:
            raise ValidationException(
                f"Metric {item['Name']}: {item['Regex']!r} is no expression: {problem}."
            ) from None
        if pattern.groups < 1:
            raise ValidationException(f"Metric {item['Name']}: {item['Regex']!r} needs a group around the value.")
        found.append((item["Name"], pattern))
    return found


class Collector:
    """Reads log lines, from any thread, and keeps each metric's last finite value."""

    def __init__(self, definitions: list[Definition], on_value: Callable[[str, float], None] | None = None):
        self._definitions = definitions
        self._on_value = on_value
        self._last: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def read(self, line: str) -> None:
        for name, pattern in self._definitions:
            match = pattern.search(line)
            value = _number(match[1]) if match else None
            if value is not None:
                with self._lock:
                    self._last[name] = (value, time.time())
                if self._on_value:
                    self._on_value(name, value)

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
