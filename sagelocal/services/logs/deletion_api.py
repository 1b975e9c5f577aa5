"""CloudWatch Logs: deleting groups and streams."""

import os
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.logs import streams


@operation("logs", "DeleteLogGroup")
def delete_log_group(context: Context, request: Json) -> None:
    group = request["logGroupName"]
    directory = _existing(context, group)
    for stream in streams.streams(context, group):
        _remove(streams.stream_file(context, group, stream), directory)
    (directory / streams.GROUP_MARK).unlink()
    _remove_empty(directory, context.state_dir / "logs")


@operation("logs", "DeleteLogStream")
def delete_log_stream(context: Context, request: Json) -> None:
    group, stream = request["logGroupName"], request["logStreamName"]
    directory = _existing(context, group)
    path = streams.stream_file(context, group, stream)
    if not path.exists():
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    _remove(path, directory)


def _existing(context: Context, group: str) -> Path:
    directory = streams.group_directory(context, group)
    if not (directory / streams.GROUP_MARK).exists():
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return directory


def _remove(path: Path, root: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_empty(path.parent, root)


def _remove_empty(directory: Path, root: Path) -> None:
    """Remove a directory and those above it for as long as nothing is in them; `root` stays."""
    while directory != root and not any(os.scandir(directory)):
        directory.rmdir()
        directory = directory.parent
