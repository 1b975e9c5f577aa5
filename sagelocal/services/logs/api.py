"""CloudWatch Logs, as far as writing, reading and deleting log events goes."""

import os
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import operation
from sagelocal.services.logs import streams

PAGE = 10_000  # events an answer may hold; source: API reference, GetLogEvents
POSITION_DIGITS = 56  # of a token and of an event's identifier, as many as AWS's have


@operation("logs", "CreateLogGroup")
def create_log_group(context: Context, request: Json) -> None:
    if not streams.create_group(context, request["logGroupName"]):
        raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")


@operation("logs", "CreateLogStream")
def create_log_stream(context: Context, request: Json) -> None:
    group, stream = _group(context, request), request["logStreamName"]
    path = streams.stream_file(context, group, stream)
    if path.exists():
        raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@operation("logs", "DeleteLogGroup")
def delete_log_group(context: Context, request: Json) -> None:
    group = _group(context, request)
    directory = streams.group_directory(context, group)
    for stream in streams.streams(context, group):
        _remove(streams.stream_file(context, group, stream), directory)
    (directory / streams.GROUP_MARK).unlink()
    _remove_empty(directory, context.state_dir / "logs")


@operation("logs", "DeleteLogStream")
def delete_log_stream(context: Context, request: Json) -> None:
    group, stream = _stream(context, request)
    _remove(streams.stream_file(context, group, stream), streams.group_directory(context, group))


@operation("logs", "PutLogEvents")
def put_log_events(context: Context, request: Json) -> Json:
    group, stream = _stream(context, request)
    for event in request["logEvents"]:
        streams.append(context, group, stream, event["message"], event["timestamp"])
    return {"nextSequenceToken": "0"}


@operation("logs", "DescribeLogGroups")
def describe_log_groups(context: Context, request: Json) -> Json:
    prefix, part = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    names = [name for name in streams.groups(context) if name.startswith(prefix) and part.lower() in name.lower()]
    return _page(names, request, "logGroups", lambda name: _described_group(context, name))


def _described_group(context: Context, name: str) -> Json:
    arn = context.arn("logs", f"log-group:{name}")
    created = int(streams.group_directory(context, name).stat().st_ctime * 1000)
    described = {"logGroupName": name, "creationTime": created, "arn": f"{arn}:*", "logGroupArn": arn}
    return {**described, "metricFilterCount": 0, "storedBytes": 0, "logGroupClass": "STANDARD"}


@operation("logs", "DescribeLogStreams")
def describe_log_streams(context: Context, request: Json) -> Json:
    group = _group(context, request)
    found = [
        _described_stream(context, group, name)
        for name in streams.streams(context, group, request.get("logStreamNamePrefix", ""))
    ]
    if request.get("orderBy") == "LastEventTime":
        found.sort(key=lambda stream: stream.get("lastEventTimestamp", 0))
    if request.get("descending"):
        found.reverse()
    return _page(found, request, "logStreams", lambda stream: stream)


def _described_stream(context: Context, group: str, name: str) -> Json:
    path = streams.stream_file(context, group, name)
    first = next(streams.read(context, group, name), None)
    changed = int(path.stat().st_mtime * 1000)
    described = {
        "logStreamName": name,
        "creationTime": first[0] if first else changed,
        "arn": context.arn("logs", f"log-group:{group}:log-stream:{name}"),
        "storedBytes": 0,
    }
    if first:
        last = {"lastEventTimestamp": changed, "lastIngestionTime": changed}
        described |= {"firstEventTimestamp": first[0], **last}
    return described


@operation("logs", "GetLogEvents")
def get_log_events(context: Context, request: Json) -> Json:
    """A token is a direction and a position in the stream; at its end a token gives itself back, which is how readers
    know that there is nothing more for now."""
    group, stream = _stream(context, request)
    events = list(streams.read(context, group, stream))
    limit = request.get("limit", PAGE)
    direction, position = _token(request.get("nextToken"))
    from_head = request.get("startFromHead") or direction == "f"
    if direction == "b":
        first, last = max(0, position - limit), position
    elif from_head:
        first, last = position, min(len(events), position + limit)
    else:
        first, last = max(0, len(events) - limit), len(events)
    inside = [event for event in events[first:last] if _in_time(event[0], request)]
    return {
        "events": [_event(timestamp, message) for timestamp, message in inside],
        "nextForwardToken": f"f/{last:0{POSITION_DIGITS}d}",
        "nextBackwardToken": f"b/{first:0{POSITION_DIGITS}d}",
    }


@operation("logs", "FilterLogEvents")
def filter_log_events(context: Context, request: Json) -> Json:
    """The pattern is words that must all occur, quoted phrases among them, a leading minus for those that must not."""
    group = _group(context, request)
    names = request.get("logStreamNames") or streams.streams(context, group, request.get("logStreamNamePrefix", ""))
    wanted = _words(request.get("filterPattern", ""))
    found = [
        {"logStreamName": name, "eventId": f"{index:0{POSITION_DIGITS}d}", **_event(timestamp, message)}
        for name in names
        for index, (timestamp, message) in enumerate(streams.read(context, group, name))
        if _in_time(timestamp, request) and all((word in message) == included for word, included in wanted)
    ]
    found.sort(key=lambda event: event["timestamp"])
    return _page(found, request, "events", lambda event: event, PAGE)


def _words(pattern: str) -> list[tuple[str, bool]]:
    if pattern.startswith(("{", "[", "%")):
        raise AwsError("InvalidParameterException", f"The filter pattern {pattern!r} is not run here; use words.")
    found = re.findall(r'([-?]?)(?:"([^"]*)"|(\S+))', pattern)
    return [(quoted or word, sign != "-") for sign, quoted, word in found]


def _group(context: Context, request: Json) -> str:
    identifier: str = request.get("logGroupIdentifier", "")
    group: str = request.get("logGroupName") or identifier.partition(":log-group:")[2]
    if not (streams.group_directory(context, group) / streams.GROUP_MARK).exists():
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def _stream(context: Context, request: Json) -> tuple[str, str]:
    group, stream = _group(context, request), request["logStreamName"]
    if not streams.stream_file(context, group, stream).exists():
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    return group, stream


def _event(timestamp: int, message: str) -> Json:
    return {"timestamp": timestamp, "message": message, "ingestionTime": timestamp}


def _in_time(timestamp: int, request: Json) -> bool:
    start: float = request.get("startTime", 0)
    end: float = request.get("endTime", float("inf"))
    return start <= timestamp < end


def _token(token: str | None) -> tuple[str, int]:
    if token is None:
        return "", 0
    direction, _, position = token.partition("/")
    if direction not in ("f", "b") or not is_whole(position, POSITION_DIGITS):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return direction, int(position)


def _page(items: list[Any], request: Json, member: str, describe: Callable[[Any], Json], default: int = 50) -> Json:
    token = request.get("nextToken", "0")
    if not is_whole(token):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    first, limit = int(token), request.get("limit", default)
    more = {"nextToken": str(first + limit)} if first + limit < len(items) else {}
    return {member: [describe(item) for item in islice(items, first, first + limit)], **more}


def _remove(path: Path, root: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_empty(path.parent, root)


def _remove_empty(directory: Path, root: Path) -> None:
    """Remove a directory and those above it for as long as nothing is in them; `root` stays."""
    while directory != root and not any(os.scandir(directory)):
        directory.rmdir()
        directory = directory.parent
