"""`sagelocal logs`: the server's own log, or what jobs, endpoints and functions wrote to CloudWatch Logs."""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from sagelocal.cli.common import UserError, client, command, running
from sagelocal.core.terminal import printable

POLL_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        help="a log group (/aws/sagemaker/TrainingJobs), a group with a stream behind it, or how a stream begins "
        "(a job's name); without it, the server's log",
    )
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what is written, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    if not arguments.name:
        lines = _server_log(arguments.state_dir, arguments.follow)
    else:
        logs = client(running(arguments.state_dir), "logs")
        lines = _events(logs, _chosen(logs, arguments.name, arguments.state_dir), arguments.follow)
    for line in lines:
        print(printable(line), flush=arguments.follow)
    return 0


def _server_log(state_dir: Path, follow: bool) -> Iterator[str]:
    path = state_dir / "server.log"
    if not path.is_file():
        raise UserError(f"There is no server log in {state_dir}.", f"Start a server: {command('up', state_dir)}")
    log = path.open(errors="replace")
    while True:
        put_aside = _is_another(path, log)  # asked before the rest is read, so that no line of it is lost
        for line in log:
            yield line.rstrip("\n")
        if put_aside:
            log = path.open(errors="replace")
        elif not follow:
            return
        else:
            time.sleep(POLL_SECONDS)


def _is_another(path: Path, log: TextIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(log.fileno()))
    except FileNotFoundError:
        return False


def _chosen(logs: Any, name: str, state_dir: Path) -> list[tuple[str, str]]:
    """(group, how its streams begin) that a name means: a group of that name alone, else every group that has it."""
    pages = logs.get_paginator("describe_log_groups").paginate()
    groups = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    if name in groups:
        return [(name, "")]
    inside = [(group, name.removeprefix(f"{group}/")) for group in groups if name.startswith(f"{group}/")]
    found = [
        (group, stream) for group, stream in inside or [(group, name) for group in groups] if _has(logs, group, stream)
    ]
    if not found:
        raise UserError(
            f"No log group or stream is named {name}.",
            f"Log groups are {', '.join(groups)}." if groups else "Nothing has written to a log group yet.",
        )
    return found


def _has(logs: Any, group: str, stream: str) -> bool:
    return bool(logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream, limit=1)["logStreams"])


def _events(logs: Any, chosen: list[tuple[str, str]], follow: bool) -> Iterator[str]:
    """Each message once, those of one look in the order in which they were written."""
    seen: set[tuple[str, str, str]] = set()
    while True:
        new = []
        for group, stream in chosen:
            more = {"logStreamNamePrefix": stream} if stream else {}
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, **more):
                for event in page["events"]:
                    key = (group, event["logStreamName"], event["eventId"])
                    if key not in seen:
                        seen.add(key)
                        new.append((event["timestamp"], event["message"]))
        yield from (message for _, message in sorted(new, key=lambda item: item[0]))
        if not follow:
            return
        time.sleep(POLL_SECONDS)
