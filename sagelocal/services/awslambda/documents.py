"""What Lambda keeps: functions, their URLs, and events that wait for a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import (
        AliasRoutingConfigurationOutputTypeDef,
        ConcurrencyTypeDef,
        CorsOutputTypeDef,
        DeadLetterConfigTypeDef,
        DestinationConfigTypeDef,
        EphemeralStorageTypeDef,
        LayerTypeDef,
        LoggingConfigTypeDef,
        TracingConfigTypeDef,
    )


class Environment(TypedDict, total=False):
    Variables: dict[str, str]


class Configuration(TypedDict):
    """FunctionConfiguration: $LATEST, or a version."""

    FunctionName: str
    FunctionArn: str
    Version: str
    Description: str
    Runtime: str
    Handler: str
    Role: str
    Timeout: int  # seconds
    MemorySize: int  # MiB
    Environment: NotRequired[Environment | None]
    Layers: list[LayerTypeDef] | None
    DeadLetterConfig: NotRequired[DeadLetterConfigTypeDef | None]
    TracingConfig: TracingConfigTypeDef
    EphemeralStorage: EphemeralStorageTypeDef
    LoggingConfig: LoggingConfigTypeDef
    State: str
    LastUpdateStatus: str
    PackageType: str
    Architectures: list[str]
    CodeSize: int
    CodeSha256: str
    LastModified: str
    RevisionId: str
    _Code: str  # the directory that its code lies in
    _PublishedFrom: NotRequired[str]  # of a version: the RevisionId of what it was made of


class Alias(TypedDict):
    """AliasConfiguration."""

    AliasArn: str
    Name: str
    FunctionVersion: str
    Description: str
    RoutingConfig: AliasRoutingConfigurationOutputTypeDef | None
    RevisionId: str


class Provision(TypedDict):
    """How many workers a version or alias has ready at all times."""

    Number: int
    LastModified: str


class EventConfig(TypedDict):
    """FunctionEventInvokeConfig."""

    FunctionArn: str
    LastModified: float
    DestinationConfig: DestinationConfigTypeDef
    MaximumRetryAttempts: NotRequired[int]
    MaximumEventAgeInSeconds: NotRequired[int]


class FunctionDocument(TypedDict):
    """A function, by its name, with all that belongs to it. No single call answers it."""

    Configuration: Configuration  # $LATEST
    Versions: dict[str, Configuration]
    Aliases: dict[str, Alias]
    Tags: dict[str, str]
    Policy: dict[str, Json]  # statements by their Sid
    Concurrency: NotRequired[ConcurrencyTypeDef]
    Provisioned: NotRequired[dict[str, Provision]]  # by version or alias
    EventConfigs: NotRequired[dict[str, EventConfig]]  # by $LATEST, version or alias
    _LastVersion: NotRequired[int]
    _Published: NotRequired[str]  # the version that PublishVersion answered last


class UrlConfig(TypedDict):
    """FunctionUrlConfig without its FunctionUrl: the port is not the same for ever."""

    FunctionArn: str
    AuthType: str
    Cors: NotRequired[CorsOutputTypeDef]
    InvokeMode: str
    CreationTime: str
    LastModifiedTime: str
    _Id: str  # the URL's, and the document's name
    _Function: str
    _Qualifier: str | None  # an alias


class QueuedEvent(TypedDict):
    """An asynchronous invocation, by its request id, until it is dealt with. Times are seconds since 1970."""

    RequestId: str
    FunctionName: str
    Qualifier: NotRequired[str]
    ClientContext: NotRequired[str]
    Event: str  # JSON
    Received: float
    Due: float  # when it is tried next
    Runs: int
    Throttled: int


FUNCTION = Kind[FunctionDocument]("lambda-function")
URL = Kind[UrlConfig]("lambda-url")
QUEUED_EVENT = Kind[QueuedEvent]("lambda-event")
