"""What is kept of the values of a metric in a span of time: enough for every statistic, in a few hundred bytes."""

import math
import re
from collections import Counter
from typing import Any

STEP = math.log(1.01)  # a percentile is at most half a percent off
SIMPLE = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
RATES = ("SampleCount", "Sum")  # statistics that grow with the length of the span
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


class Summary:
    """Count, sum, extremes, and counts of values in bins that are one percent wide.

    Negative values have no bins: CloudWatch gives no percentiles for them either.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#Percentiles
    """

    __slots__ = ("bins", "count", "high", "low", "total")

    def __init__(self) -> None:
        self.count = 0.0
        self.total = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.bins: Counter[int | None] = Counter()  # None: the value 0

    def add(self, value: float, count: float = 1.0) -> None:
        """Note `value`, `count` times."""
        self.count += count
        self.total += value * count
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if value >= 0:
            key = round(math.log(value) / STEP) if value else None
            self.bins[key] += count  # type: ignore[assignment]  # Counter is typed for whole numbers only

    def add_set(self, count: float, total: float, low: float, high: float) -> None:
        """Note a statistic set of PutMetricData: percentiles need its values, which it has only when all are equal."""
        if low == high:
            self.add(low, count)
            return
        self.count += count
        self.total += total
        self.low, self.high = min(self.low, low), max(self.high, high)

    def merge(self, other: "Summary") -> None:
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.bins.update(other.bins)

    def statistic(self, name: str) -> float | None:
        """SampleCount, Sum, Average, Minimum, Maximum or p0 … p100; None where there are no values to tell it from."""
        if not self.count:
            return None
        if name in SIMPLE:
            whole = {"SampleCount": self.count, "Sum": self.total, "Minimum": self.low, "Maximum": self.high}
            return whole.get(name, self.total / self.count)
        found = PERCENTILE.fullmatch(name)
        return self._percentile(float(found[1]) / 100) if found else None

    def _percentile(self, share: float) -> float | None:
        if sum(self.bins.values()) < self.count:
            return None
        if share in (0, 1):
            return self.high if share else self.low
        passed = 0.0
        for key in sorted(self.bins, key=lambda key: -math.inf if key is None else key):
            passed += self.bins[key]
            if passed >= share * self.count:
                value = 0.0 if key is None else math.exp(key * STEP)
                return min(max(value, self.low), self.high)
        return self.high

    def to_json(self) -> list[Any]:
        return [self.count, self.total, self.low, self.high, [[key, count] for key, count in self.bins.items()]]

    @classmethod
    def from_json(cls, kept: list[Any]) -> "Summary":
        made = cls()
        made.count, made.total, made.low, made.high = kept[:4]
        made.bins.update(dict(map(tuple, kept[4])))
        return made


def known(statistic: str) -> bool:
    """Whether `statistic` is one of those above."""
    return statistic in SIMPLE or PERCENTILE.fullmatch(statistic) is not None
