"""CloudWatch's log groups and streams as files `logs/<group>/<stream>.log`: a line `<epoch ms>\\t<message>` each."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError

GROUP_MARK = ".group"  # a file in each group's directory, since group names nest like paths


def append(context: Context, group: str, stream: str, message: str, timestamp: int | None = None) -> None:
    """Add one message (`timestamp`: epoch milliseconds, now if left out); group and stream are made as needed."""
    path = stream_file(context, group, stream)
    line = f"{int(time.time() * 1000) if timestamp is None else timestamp}\t{_one_line(message)}\n"
    if not path.exists():
        create_group(context, group)
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(line)


def note(context: Context, group: str, stream: str, message: str) -> None:
    """As append, for what runs whether it can be logged or not: on a full disk the message is dropped."""
    with suppress(OSError):
        append(context, group, stream, message)


def read(context: Context, group: str, stream: str) -> Iterator[tuple[int, str]]:
    """(epoch milliseconds, message) in the order written. Nothing when there is no such stream."""
    path = stream_file(context, group, stream)
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            timestamp, _, message = line.rstrip("\n").partition("\t")
            yield int(timestamp), message


def tail(context: Context, group: str, stream: str, n: int) -> list[str]:
    """The last `n` messages."""
    return [message for _, message in deque(read(context, group, stream), n)]


def groups(context: Context) -> list[str]:
    """All log groups, sorted."""
    root = _root(context)
    return sorted(f"/{mark.parent.relative_to(root)}" for mark in root.rglob(GROUP_MARK)) if root.is_dir() else []


def create_group(context: Context, group: str) -> bool:
    """Make a group. False when it is there already."""
    mark = group_directory(context, group) / GROUP_MARK
    if mark.exists():
        return False
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return True


def streams(context: Context, group: str, prefix: str = "") -> list[str]:
    """The names of a group's streams that start with `prefix`, sorted."""
    directory = group_directory(context, group)
    found = []
    for folder, subfolders, files in os.walk(directory):
        subfolders[:] = [name for name in subfolders if not Path(folder, name, GROUP_MARK).exists()]
        paths = (Path(folder, file).relative_to(directory) for file in files if file.endswith(".log"))
        found += [str(path)[: -len(".log")] for path in paths]
    return sorted(name for name in found if name.startswith(prefix))


def stream_file(context: Context, group: str, stream: str) -> Path:
    """Where a stream is kept, whether it exists or not. Raises InvalidParameterException for a name that is no name."""
    return _inside(group_directory(context, group), f"{stream}.log")


def group_directory(context: Context, group: str) -> Path:
    return _inside(_root(context), group.strip("/"))


def _root(context: Context) -> Path:
    return context.state_dir / "logs"


def _inside(directory: Path, name: str) -> Path:
    if not name or any(part in ("", ".", "..", GROUP_MARK) for part in name.split("/")):
        raise AwsError("InvalidParameterException", f"{name!r} cannot be the name of a log group or stream.")
    return directory / name


def _one_line(message: str) -> str:
    """A line break inside a message is kept as a carriage return."""
    return message.replace("\r\n", "\n").replace("\n", "\r")
