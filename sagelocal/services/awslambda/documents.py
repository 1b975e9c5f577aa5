"""What Lambda keeps: functions, their URLs, and events that wait for a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_lambda import type_defs as shapes

    Alias = shapes.AliasConfigurationTypeDef
    FunctionConfiguration = shapes.FunctionConfigurationTypeDef
else:
    Alias = FunctionConfiguration = dict


class Configuration(FunctionConfiguration):
    """$LATEST, or a version."""

    _Code: str  # the directory that its code lies in
    _PublishedFrom: NotRequired[str]  # of a version: the RevisionId of what it was made of


class FunctionDocument(TypedDict):
    """A function, by its name, with all that belongs to it. No single call answers it."""

    Configuration: Configuration  # $LATEST
    Versions: dict[str, Configuration]
    Aliases: dict[str, Alias]
    Tags: dict[str, str]
    Policy: dict[str, Json]  # statements by their Sid
    Concurrency: NotRequired[shapes.ConcurrencyTypeDef]
    Provisioned: NotRequired[dict[str, Json]]  # by version or alias: Number of workers ready at all times, LastModified
    EventConfigs: NotRequired[dict[str, Json]]  # FunctionEventInvokeConfig, by $LATEST, version or alias
    _LastVersion: NotRequired[int]
    _Published: NotRequired[str]  # the version that PublishVersion answered last


class UrlConfig(TypedDict):
    """FunctionUrlConfig without its FunctionUrl: the port is not the same for ever."""

    FunctionArn: str
    AuthType: str
    Cors: NotRequired[shapes.CorsOutputTypeDef]
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
