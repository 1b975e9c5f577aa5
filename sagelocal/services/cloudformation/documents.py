"""What CloudFormation keeps: stacks with their resources and change sets, and the events of each stack."""

from typing import TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind


class Policies(TypedDict):
    """What becomes of a resource that is taken out of a stack, or made anew: Delete, Retain …"""

    DeletionPolicy: str
    UpdateReplacePolicy: str


class ResourceRecord(Policies):
    """A resource as it was made."""

    Type: str
    PhysicalId: str
    Properties: Json  # resolved
    Attributes: Json  # what Fn::GetAtt gives
    Status: str
    Time: float


class Stack(TypedDict):
    """By its name."""

    StackName: str
    StackId: str
    CreationTime: float
    StackStatus: str
    DisableRollback: bool
    NotificationARNs: list[str]
    Parameters: list[dict[str, str]]
    Capabilities: list[str]
    Tags: list[dict[str, str]]
    Outputs: list[Json]
    EnableTerminationProtection: bool
    DriftInformation: dict[str, str]
    _Template: str
    _Texts: dict[str, str]  # parameters' values
    _Resources: dict[str, ResourceRecord]  # by logical id, each after those that it depends on
    _ChangeSets: dict[str, Json]  # what DescribeChangeSet answers, _Kind (its ChangeSetType), _Template and _Texts


STACK = Kind[Stack]("stack")
EVENTS = Kind[Json]("stack-events")  # by the stack's name: Events, oldest first
