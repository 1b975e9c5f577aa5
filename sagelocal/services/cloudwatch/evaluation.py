"""Whether an alarm's datapoints put it into ALARM: pure rules.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html and, for what a missing
datapoint means, …/alarms-and-missing-data.html.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
MORE_PERIODS = 2  # CloudWatch looks a little further back than EvaluationPeriods for datapoints that are there

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Point:
    """A datapoint: when its period began (seconds since 1970), and its value; None where nothing came."""

    moment: float
    value: float | None


@dataclass(frozen=True)
class Verdict:
    """What an alarm's state should be, and AWS's sentence of why; the datapoints that decided it, newest first."""

    state: str
    reason: str
    points: tuple[Point, ...] = ()


def evaluate(alarm: Mapping[str, Any], points: Sequence[Point], before: str) -> Verdict:
    """The verdict on an alarm (a MetricAlarm) with these datapoints, newest first, MORE_PERIODS more than it needs.

    `before`: the state it is in. M (DatapointsToAlarm) of the last N (EvaluationPeriods) datapoints that are there must
    breach. Where fewer than N are there, TreatMissingData says what the rest count as.
    """
    periods = alarm["EvaluationPeriods"]
    wanted = alarm.get("DatapointsToAlarm") or periods
    treatment = alarm.get("TreatMissingData", "missing")
    compare = COMPARISONS[alarm["ComparisonOperator"]][0]
    there = [point for point in points if point.value is not None][:periods]
    breaching = [point for point in there if point.value is not None and compare(point.value, alarm["Threshold"])]
    absent = periods - len(there)
    if not there and treatment in ("missing", "ignore"):
        unknown = f"Insufficient Data: {periods} datapoint{'s were' if periods > 1 else ' was'} unknown."
        return Verdict(INSUFFICIENT_DATA if treatment == "missing" else before, unknown)
    in_alarm = len(breaching) + (absent if treatment == "breaching" else 0) >= wanted
    if not in_alarm and absent and treatment in ("missing", "ignore") and len(breaching) == len(there):
        if treatment == "ignore" or not _old_enough(points[:periods], breaching, wanted):
            return Verdict(before, "")
        in_alarm = True
    return Verdict(ALARM if in_alarm else OK, _reason(alarm, in_alarm, there, breaching, wanted), tuple(there))


def _old_enough(recent: Sequence[Point], breaching: list[Point], wanted: int) -> bool:
    """Whether too few datapoints are no reason to wait: the oldest that breaches is M periods old."""
    ages = [age for age, point in enumerate(recent) if point in breaching]
    return bool(ages) and max(ages) >= wanted - 1


def _reason(alarm: Mapping[str, Any], in_alarm: bool, there: list[Point], breaching: list[Point], wanted: int) -> str:
    periods = alarm["EvaluationPeriods"]
    if not there:
        shown = "Breaching" if in_alarm else "NonBreaching"
        many = f"{periods} period{'s' * (periods > 1)}"
        verb = "datapoints were" if periods > 1 else "datapoint was"
        return (
            f"Threshold Crossed: no datapoints were received for {many} and {periods} missing {verb} treated as "
            f"[{shown}]."
        )
    chosen = [point for point in there if (point in breaching) == in_alarm] or there
    listed = ", ".join(f"{point.value} ({_time(point.moment)})" for point in chosen)
    verb = f"{'were' if len(chosen) > 1 else 'was'}{'' if in_alarm else ' not'}"
    change = "OK -> ALARM" if in_alarm else "ALARM -> OK"
    minimum = wanted if in_alarm else periods - wanted + 1
    return (
        f"Threshold Crossed: {len(chosen)} out of the last {periods} datapoints [{listed}] {verb} "
        f"{COMPARISONS[alarm['ComparisonOperator']][1]} the threshold ({alarm['Threshold']}) "
        f"(minimum {minimum} datapoint{'s' * (minimum > 1)} for {change} transition)."
    )


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d/%m/%y %H:%M:%S")
