"""CloudWatch's metrics: PutMetricData in, datapoints out. Dashboards and the rest are moto's.

Reading is in real time, whatever the clock's speed; periods below a minute find what came in the last minutes.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.services.cloudwatch import endpoints, loop
from sagelocal.services.cloudwatch.metrics import Metric, metrics
from sagelocal.services.cloudwatch.summary import Summary, known

SERVICE = "cloudwatch"
MOST_POINTS = 1440  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
MOST_DATA_POINTS = 100_800
MOST_LISTED = 500
LISTED_SECONDS = 14 * 24 * 3600.0
RECENT_SECONDS = 3 * 3600.0


@on_start
def begin(context: Context) -> None:
    """Load what an earlier server kept, and start counting."""
    metrics(context)
    context.spawn("cloudwatch", loop.run, context)


@on_stop
def keep(context: Context) -> None:
    endpoints.count(context)
    metrics(context).write()


@operation(SERVICE, "PutMetricData")
def put_metric_data(context: Context, request: Json) -> None:
    """Values, values with counts, or statistic sets. Raises InvalidParameter…, MissingParameter."""
    namespace = request["Namespace"]
    if namespace.startswith("AWS/"):
        raise _invalid("The value AWS/ for parameter Namespace is invalid: it is reserved for AWS's own metrics.")
    data = request.get("MetricData", [])
    for datum in data:
        if "StatisticValues" not in datum and "Value" not in datum and "Values" not in datum:
            raise AwsError(
                "MissingParameter", f"The metric {datum['MetricName']} needs a Value, Values or StatisticValues."
            )
        if len(datum.get("Counts", datum.get("Values", []))) != len(datum.get("Values", [])):
            raise _invalid(f"The metric {datum['MetricName']} needs as many Counts as Values.")
    kept = metrics(context)
    for datum in data:
        metric = Metric.of(namespace, datum["MetricName"], datum.get("Dimensions", []))
        moment = seconds(datum["Timestamp"]) if "Timestamp" in datum else time.time()
        unit = datum.get("Unit", "None")
        if "StatisticValues" in datum:
            kept.add_set(metric, moment, datum["StatisticValues"], unit)
        if "Value" in datum:
            kept.add(metric, moment, datum["Value"], unit=unit)
        values = datum.get("Values", [])
        for value, count in zip(values, datum.get("Counts", [1.0] * len(values)), strict=True):
            kept.add(metric, moment, value, count, unit)


@operation(SERVICE, "GetMetricStatistics")
def get_metric_statistics(context: Context, request: Json) -> Json:
    endpoints.count(context)
    statistics = request.get("Statistics", [])
    extended = request.get("ExtendedStatistics", [])
    if not statistics and not extended:
        raise AwsError("MissingParameter", "Must specify either Statistics or ExtendedStatistics.")
    _check_statistics(extended)
    start, end, period = _span(request)
    if (end - start) / period > MOST_POINTS:
        raise AwsError(
            "InvalidParameterCombination",
            f"You have requested up to {int((end - start) / period)} datapoints, which exceeds the limit of "
            f"{MOST_POINTS}. You may reduce the datapoints requested by increasing Period, or decreasing the time "
            "range.",
        )
    metric = Metric.of(request["Namespace"], request["MetricName"], request.get("Dimensions", []))
    unit = metrics(context).unit(metric)
    points = []
    for moment, summary in _periods(context, metric, start, end, period, request.get("Unit")):
        point: Json = {"Timestamp": moment, "Unit": unit}
        point |= {name: summary.statistic(name) for name in statistics}
        found = {name: summary.statistic(name) for name in extended}
        if extended:
            point["ExtendedStatistics"] = {name: value for name, value in found.items() if value is not None}
        points.append(point)
    return {"Label": request["MetricName"], "Datapoints": points}


@operation(SERVICE, "GetMetricData")
def get_metric_data(context: Context, request: Json) -> Json:
    """Metric by metric; metric math and Metrics Insights are refused."""
    endpoints.count(context)
    results = []
    queries = request["MetricDataQueries"]
    for query in queries:
        if "MetricStat" not in query:
            raise AwsError(
                "ValidationError",
                f"The embedded CloudWatch reads metrics, not the expression {query['Id']}: leave it out.",
            )
        stat = query["MetricStat"]
        _check_statistics([stat["Stat"]])
        asked = {"StartTime": request["StartTime"], "EndTime": request["EndTime"], "Period": stat["Period"]}
        start, end, period = _span(asked)
        named = {"Namespace": "", "MetricName": "", "Dimensions": [], **stat["Metric"]}
        metric = Metric.of(named["Namespace"], named["MetricName"], named["Dimensions"])
        found = [
            (moment, value)
            for moment, summary in _periods(context, metric, start, end, period, stat.get("Unit"))
            if (value := summary.statistic(stat["Stat"])) is not None
        ]
        if request.get("ScanBy") != "TimestampAscending":
            found.reverse()
        found = found[: request.get("MaxDatapoints", MOST_DATA_POINTS)]
        if query.get("ReturnData", True):
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label", metric.name),
                    "Timestamps": [moment for moment, _ in found],
                    "Values": [value for _, value in found],
                    "StatusCode": "Complete",
                }
            )
    return {"MetricDataResults": results, "Messages": []}


@operation(SERVICE, "ListMetrics")
def list_metrics(context: Context, request: Json) -> Json:
    endpoints.count(context)
    now = time.time()
    newest = RECENT_SECONDS if request.get("RecentlyActive") else LISTED_SECONDS
    wanted = [(d["Name"], d.get("Value")) for d in request.get("Dimensions", [])]
    found = [
        metric.described()
        for metric, last in metrics(context).known()
        if now - last <= newest
        and request.get("Namespace", metric.namespace) == metric.namespace
        and request.get("MetricName", metric.name) == metric.name
        and all(any(n == name and value in (None, v) for n, v in metric.dimensions) for name, value in wanted)
    ]
    found, token = page(found, request, MOST_LISTED)
    return {"Metrics": found, "NextToken": token}


def seconds(moment: Any) -> float:
    """A time of a request, in any of the protocols, as seconds since 1970. Raises InvalidParameterValue."""
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    try:
        return float(moment)
    except ValueError:
        pass
    try:
        return seconds(datetime.fromisoformat(moment.replace("Z", "+00:00")))
    except ValueError:
        raise _invalid(f"{moment!r} is no time.") from None


def page(items: list[Any], request: Json, most: int) -> tuple[list[Any], str | None]:
    """A page of a list, and the token of the next one. Raises InvalidNextToken."""
    token = request.get("NextToken", "0")
    if not is_whole(token):
        raise AwsError("InvalidNextToken", f"Invalid NextToken: {token}")
    last = int(token) + most
    return items[int(token) : last], str(last) if last < len(items) else None


def _span(request: Json) -> tuple[float, float, int]:
    """(start, end, period): the first period begins at a multiple of its length."""
    period = request["Period"]
    if period not in (1, 5, 10, 20, 30) and (period < 1 or period % 60):
        raise _invalid(f"Period {period} is not possible: give 1, 5, 10, 20, 30 or a multiple of 60 seconds.")
    start, end = seconds(request["StartTime"]), seconds(request["EndTime"])
    if start >= end:
        raise AwsError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    return start // period * period, end, period


def _periods(
    context: Context, metric: Metric, start: float, end: float, period: int, unit: str | None
) -> list[tuple[float, Summary]]:
    """Datapoints of a metric; none when it was sent in another unit than is asked for."""
    if unit not in (None, metrics(context).unit(metric)):
        return []
    return metrics(context).periods(metric, start, end, period)


def _check_statistics(names: Iterable[str]) -> None:
    for name in names:
        if not known(name):
            raise _invalid(
                f"The embedded CloudWatch knows no statistic {name!r}: use Average, Sum, Minimum, Maximum, "
                "SampleCount, or a percentile as p99."
            )


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)
