"""What EventBridge Scheduler keeps: schedules and their groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_scheduler.type_defs import TargetOutputTypeDef


class Schedule(TypedDict):
    """By `<group>/<name>`."""

    Arn: str
    Name: str
    GroupName: str
    Description: NotRequired[str]
    ScheduleExpression: str
    ScheduleExpressionTimezone: str
    StartDate: NotRequired[float]
    EndDate: NotRequired[float]
    State: str
    Target: TargetOutputTypeDef
    ActionAfterCompletion: NotRequired[str]
    CreationDate: float
    LastModificationDate: float
    _ClientToken: str | None
    _Fired: NotRequired[float]  # of a schedule that has fired for the last time: when it was due


class ScheduleGroup(TypedDict):
    Arn: str
    Name: str
    State: str
    CreationDate: NotRequired[float]  # the default group has none
    LastModificationDate: NotRequired[float]


SCHEDULE = Kind[Schedule]("schedule")
GROUP = Kind[ScheduleGroup]("schedule-group")
