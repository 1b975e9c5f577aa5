"""What EventBridge keeps: the rules of the default bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_events.type_defs import TagTypeDef, TargetOutputTypeDef


class Rule(TypedDict):
    Name: str
    Arn: str
    EventPattern: str
    State: str
    Description: NotRequired[str]
    RoleArn: NotRequired[str]
    EventBusName: str
    _Tags: list[TagTypeDef]
    _Targets: list[TargetOutputTypeDef]


RULE = Kind[Rule]("event-rule")
