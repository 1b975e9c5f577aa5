"""The metrics of one account: values by quarter-second for the last minutes, by minute for fifteen days.

The quarter-seconds are what a fast clock's alarm periods are made of. The minutes are written to the store, an hour of
one metric in one document, so that they outlive the server.
Source of the times kept: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.services.cloudwatch.documents import METRIC_HOUR, MetricHour
from sagelocal.services.cloudwatch.summary import Summary

FINE = 0.25  # seconds
FINE_KEPT = 960.0  # seconds: an alarm's fifteen minutes and a bit, at speed 1
MINUTE = 60
HOUR = 3600
DAYS_KEPT = 15


@dataclass(frozen=True)
class Metric:
    """A metric's name: namespace, name, and its dimensions, sorted."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Iterable[Mapping[str, Any]]) -> "Metric":
        return cls(namespace, name, tuple(sorted((d["Name"], d.get("Value", "")) for d in dimensions)))

    def key(self) -> str:
        return json.dumps([self.namespace, self.name, self.dimensions])

    def described(self) -> Json:
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions]
        return {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": dimensions}


class Series:
    """The values of one metric."""

    def __init__(self) -> None:
        self.unit = "None"
        self.last = 0.0  # when a value came last
        self.fine: dict[int, Summary] = {}
        self.fine_from = 0.0  # the beginning of a minute: from then on `fine` has everything that `minutes` has
        self.minutes: dict[int, Summary] = {}

    def at(self, moment: float) -> tuple[Summary, Summary]:
        """The two summaries that a value of `moment` belongs to."""
        self.last = max(self.last, moment)
        fine = self.fine.setdefault(int(moment / FINE), Summary())
        return fine, self.minutes.setdefault(int(moment // MINUTE), Summary())


class Metrics:
    """All series of an account. Thread-safe."""

    def __init__(self, context: Context):
        self.context = context
        self._lock = threading.RLock()
        self._series: dict[Metric, Series] = {}
        self._unwritten: set[tuple[Metric, int]] = set()
        for name, body in context.store.items(METRIC_HOUR):
            metric = _metric_of(name)
            series = self._series.setdefault(metric, Series())
            series.unit = body["unit"]
            for minute, kept in body["minutes"].items():
                series.minutes[int(minute)] = Summary.from_json(kept)
                series.last = max(series.last, int(minute) * MINUTE)
        for series in self._series.values():
            newest = max(series.minutes)
            series.fine_from = newest * MINUTE
            series.fine[int(series.fine_from / FINE)] = Summary.from_json(series.minutes[newest].to_json())

    def add(self, metric: Metric, moment: float, value: float, count: float = 1.0, unit: str = "None") -> None:
        """Note a value of a metric at a time (seconds since 1970), `count` times."""
        with self._lock:
            for summary in self._at(metric, moment, unit):
                summary.add(value, count)

    def add_all(self, metric: Metric, moment: float, values: Iterable[float], unit: str = "None") -> None:
        """Note several values of one time."""
        with self._lock:
            fine, minute = self._at(metric, moment, unit)
            for value in values:
                fine.add(value)
                minute.add(value)

    def add_set(self, metric: Metric, moment: float, values: Json, unit: str = "None") -> None:
        """Note a StatisticValues of PutMetricData."""
        with self._lock:
            for summary in self._at(metric, moment, unit):
                summary.add_set(values["SampleCount"], values["Sum"], values["Minimum"], values["Maximum"])

    def between(self, metric: Metric, start: float, end: float) -> Summary:
        """What came from `start` up to `end`; as fine as what is kept of that time."""
        whole = Summary()
        with self._lock:
            series = self._series.get(metric)
            if series is None or series.last < start:
                return whole
            for moment, summary in _parts(series, start, end):
                if start <= moment < end:
                    whole.merge(summary)
        return whole

    def periods(self, metric: Metric, start: float, end: float, period: float) -> list[tuple[float, Summary]]:
        """(beginning, values) of each period with values, oldest first; the first period begins at `start`."""
        found: dict[int, Summary] = {}
        with self._lock:
            series = self._series.get(metric)
            for moment, summary in _parts(series, start, end) if series else ():
                if start <= moment < end:
                    found.setdefault(int((moment - start) // period), Summary()).merge(summary)
        return [(start + index * period, found[index]) for index in sorted(found)]

    def known(self) -> list[tuple[Metric, float]]:
        """Each metric, and when its last value came."""
        with self._lock:
            return [(metric, series.last) for metric, series in self._series.items()]

    def unit(self, metric: Metric) -> str:
        with self._lock:
            series = self._series.get(metric)
            return series.unit if series else "None"

    def write(self) -> None:
        """Put what is new into the store."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, set()
            documents = [(f"{metric.key()}|{hour}", self._document(metric, hour)) for metric, hour in unwritten]
        for name, body in documents:
            self.context.store.put(METRIC_HOUR, name, body)

    def forget(self, now: float) -> None:
        """Drop what is too old to be kept."""
        fine_from = (now - FINE_KEPT) // MINUTE * MINUTE
        oldest_minute = int(now // MINUTE) - DAYS_KEPT * 24 * MINUTE
        with self._lock:
            gone: set[str] = set()
            for metric, series in list(self._series.items()):
                _drop(series.fine, int(fine_from / FINE))
                series.fine_from = max(series.fine_from, fine_from)
                dropped = _drop(series.minutes, oldest_minute)
                gone |= {f"{metric.key()}|{minute // 60}" for minute in dropped if minute // 60 < oldest_minute // 60}
                if not series.minutes:
                    del self._series[metric]
        for name in gone:
            self.context.store.delete(METRIC_HOUR, name)

    def _at(self, metric: Metric, moment: float, unit: str) -> tuple[Summary, Summary]:
        series = self._series.setdefault(metric, Series())
        series.unit = unit
        self._unwritten.add((metric, int(moment // HOUR)))
        return series.at(moment)

    def _document(self, metric: Metric, hour: int) -> MetricHour:
        series = self._series[metric]
        minutes = {str(m): series.minutes[m].to_json() for m in range(hour * 60, hour * 60 + 60) if m in series.minutes}
        return {"unit": series.unit, "minutes": minutes}


def _parts(series: Series, start: float, end: float) -> Iterator[tuple[float, Summary]]:
    """(beginning, values) of what is kept, overlapping the span: minutes, then quarter-seconds."""
    for minute in range(int(start // MINUTE), int(min(end, series.fine_from) // MINUTE) + 1):
        if minute * MINUTE < series.fine_from and minute in series.minutes:
            yield minute * MINUTE, series.minutes[minute]
    span = range(int(max(start, series.fine_from) / FINE), int(end / FINE) + 1)
    for index in span if len(span) < len(series.fine) else sorted(series.fine):
        if index in series.fine and index * FINE >= series.fine_from:
            yield index * FINE, series.fine[index]


def _drop(kept: dict[int, Summary], oldest: int) -> list[int]:
    old = [index for index in kept if index < oldest]
    for index in old:
        del kept[index]
    return old


def _metric_of(name: str) -> Metric:
    namespace, metric, dimensions = json.loads(name.rpartition("|")[0])
    return Metric(namespace, metric, tuple((key, value) for key, value in dimensions))


metrics = one_per_server(Metrics)
