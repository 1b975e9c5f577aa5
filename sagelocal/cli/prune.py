"""`sagelocal prune`: removes what is old and needed by nothing, or shows what that would be."""

import argparse
import json
import re
from collections import defaultdict
from urllib.parse import urlencode

from sagelocal.cli.common import UserError, command, running, tell

PAGE = "/_sagelocal/prune"
UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", default="90d", metavar="AGE", help="hours, days or weeks: 12h, 90d (default), 8w"
    )
    parser.add_argument(
        "--keep", default="10", metavar="N", help="newest executions of each pipeline that stay (default: 10)"
    )
    parser.add_argument("--yes", action="store_true", help="remove it; without this it is only shown")


def run(arguments: argparse.Namespace) -> int:
    if not arguments.keep.isdecimal():
        raise UserError(f"--keep is {arguments.keep!r}, which is no number.", "Give a whole number from 0.")
    asked = urlencode({"keep": arguments.keep, "seconds": _seconds(arguments.older_than)})
    server = running(arguments.state_dir)
    found = json.loads(server.ask("POST" if arguments.yes else "GET", f"{PAGE}?{asked}"))
    lines = [f"{item['kind']} {item['name']}: {item['bytes']:,} bytes" for item in found]
    counts: dict[str, int] = defaultdict(int)
    for item in found:
        counts[item["kind"]] += 1
    total = sum(item["bytes"] for item in found)
    of = ", ".join(f"{count} × {kind}" for kind, count in counts.items())
    if not found:
        lines.append("Nothing is old enough.")
    elif arguments.yes:
        lines.append(f"Removed {of}: {total:,} bytes.")
    else:
        lines += [f"{of}: {total:,} bytes.", f"Nothing was removed. To remove it: {_again(arguments)}"]
    tell(arguments, {"removed": bool(arguments.yes), "bytes": total, "items": found}, "\n".join(lines))
    return 0


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if not match:
        raise UserError(f"--older-than is {text!r}, which is no age.", "Write 12h, 90d or 8w.")
    return int(match[1]) * UNITS[match[2]]


def _again(arguments: argparse.Namespace) -> str:
    return command(f"prune --older-than {arguments.older_than} --keep {arguments.keep} --yes", arguments.state_dir)
