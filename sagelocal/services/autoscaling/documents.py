"""What Application Auto Scaling keeps: targets, their policies and scheduled actions, and what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import type_defs as shapes


class OfVariant(TypedDict):
    """What all of them have: the variant that they are about."""

    ServiceNamespace: str
    ResourceId: str
    ScalableDimension: str


class ScalableTarget(OfVariant):
    """By `<resource>|<dimension>`; the other documents' names go on from there."""

    ScalableTargetARN: str
    CreationTime: float
    MinCapacity: int
    MaxCapacity: int
    SuspendedState: shapes.SuspendedStateTypeDef
    _Bounds: NotRequired[str | None]  # "new": the count has still to be brought into them


class ScalingPolicy(OfVariant):
    PolicyARN: str
    PolicyName: str
    PolicyType: str
    CreationTime: float
    Alarms: list[shapes.AlarmTypeDef]
    TargetTrackingScalingPolicyConfiguration: NotRequired[shapes.TargetTrackingScalingPolicyConfigurationOutputTypeDef]
    StepScalingPolicyConfiguration: NotRequired[shapes.StepScalingPolicyConfigurationOutputTypeDef]


class ScheduledAction(OfVariant):
    ScheduledActionName: str
    Schedule: str
    Timezone: str
    CreationTime: float
    StartTime: NotRequired[float]
    EndTime: NotRequired[float]
    ScalableTargetAction: shapes.ScalableTargetActionTypeDef


class Activity(OfVariant):
    """ScalingActivity, by `<resource>|<id>`."""

    ActivityId: str
    Description: str
    Cause: str
    StartTime: float
    EndTime: NotRequired[float]
    StatusCode: str
    StatusMessage: NotRequired[str]
    _Count: NotRequired[int]  # the instances that were asked for
    _Cooldown: NotRequired[Json | None]  # what success begins: out (or in), base (the count before), seconds


TARGET = Kind[ScalableTarget]("scalable-target")
POLICY = Kind[ScalingPolicy]("scaling-policy")
SCHEDULED_ACTION = Kind[ScheduledAction]("scheduled-action")
ACTIVITY = Kind[Activity]("scaling-activity")
