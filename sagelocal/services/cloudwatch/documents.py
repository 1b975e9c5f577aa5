"""What CloudWatch keeps: alarms, and the values of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, TagTypeDef


class Alarm(TypedDict):
    """MetricAlarm, by its name."""

    AlarmName: str
    AlarmArn: str
    AlarmDescription: NotRequired[str]
    ActionsEnabled: bool
    OKActions: list[str]
    AlarmActions: list[str]
    InsufficientDataActions: list[str]
    StateValue: str  # OK, ALARM or INSUFFICIENT_DATA
    StateReason: str
    StateReasonData: NotRequired[str]
    StateUpdatedTimestamp: float
    StateTransitionedTimestamp: float
    Namespace: str
    MetricName: str
    Dimensions: list[DimensionTypeDef]
    Statistic: NotRequired[str]  # this or ExtendedStatistic
    ExtendedStatistic: NotRequired[str]
    Unit: NotRequired[str]
    Period: int  # AWS's seconds
    EvaluationPeriods: int
    DatapointsToAlarm: NotRequired[int]
    Threshold: float
    ComparisonOperator: str
    TreatMissingData: str
    _History: list[Json]  # AlarmHistoryItems, newest first
    _Acted: NotRequired[float]  # when an auto scaling action ran last
    _Tags: NotRequired[list[TagTypeDef]]


class MetricHour(TypedDict):
    """An hour of one metric, by `<metric's key>|<hour since 1970>`. No Describe call answers it."""

    unit: str
    minutes: dict[str, list[Any]]  # minute since 1970 -> a Summary's to_json


METRIC_ALARM = Kind[Alarm]("cloudwatch-alarm")
METRIC_HOUR = Kind[MetricHour]("metric-hour")
