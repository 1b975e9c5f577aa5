"""Step scaling: by how much the count changes for a breach of a given size. Pure rules.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json

CONFIGURATION: Final = "StepScalingPolicyConfiguration"
AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {"Average": fmean, "Minimum": min, "Maximum": max}


def check(configuration: Json) -> None:
    """Raise ValidationException for steps that overlap, leave a gap, or do not reach as far as they must."""
    steps = configuration.get("StepAdjustments") or []
    if not configuration.get("AdjustmentType") or not steps:
        raise ValidationException("A step scaling policy needs AdjustmentType and StepAdjustments.")
    spans = sorted(map(_span, steps))
    for low, high in spans:
        if low >= high:
            raise ValidationException("MetricIntervalUpperBound of a step must be greater than its lower bound.")
    for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
        if begin < end:
            raise ValidationException(
                f"StepAdjustment intervals can't overlap: one begins at {begin:g} within another."
            )
        if begin > end:
            raise ValidationException(
                f"There must not be a gap between StepAdjustments: {end:g} to {begin:g} has none."
            )
    if spans[0][0] < 0 and spans[0][0] != -math.inf:
        raise ValidationException("With a negative lower bound one step must have no MetricIntervalLowerBound.")
    if spans[-1][1] > 0 and spans[-1][1] != math.inf:
        raise ValidationException("With a positive upper bound one step must have no MetricIntervalUpperBound.")


def breach(configuration: Mapping[str, Any], values: Sequence[float], threshold: float) -> float:
    """How far the datapoints that an alarm looked at are beyond its threshold, by MetricAggregationType."""
    return AGGREGATIONS[configuration.get("MetricAggregationType", "Average")](values) - threshold


def adjustment(configuration: Mapping[str, Any], breach: float) -> int | None:
    """The ScalingAdjustment of the step that a breach falls into; None where there is none.

    Above the threshold a step has its lower bound and not its upper one, below it the other way round.
    """
    for step in configuration["StepAdjustments"]:
        low, high = _span(step)
        if (low <= breach < high) if breach >= 0 else (low < breach <= high):
            return int(step["ScalingAdjustment"])
    return None


def wanted(configuration: Mapping[str, Any], base: int, amount: int) -> int:
    """The count after an adjustment of `base` by `amount`, which AdjustmentType gives a meaning."""
    kind = configuration["AdjustmentType"]
    if kind == "ExactCapacity":
        return amount
    if kind == "ChangeInCapacity":
        return max(0, base + amount)
    change = _rounded(base * amount / 100)
    least = configuration.get("MinAdjustmentMagnitude", 0)
    if change and abs(change) < least:
        change = least if change > 0 else -least
    return max(0, base + change)


def _rounded(change: float) -> int:
    """12.7 is 12, 0.67 is 1, -0.58 is -1, -6.67 is -6."""
    if 0 < abs(change) < 1:
        return 1 if change > 0 else -1
    return math.trunc(change)


def _span(step: Mapping[str, Any]) -> tuple[float, float]:
    return step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf)
