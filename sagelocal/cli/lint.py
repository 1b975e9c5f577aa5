"""`sagelocal lint`: checks a pipeline definition against AWS's own service model, with no server and no network."""

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from sagelocal.cli.common import UserError, tell
from sagelocal.core import lifecycle
from sagelocal.definition import errors, lint, render
from sagelocal.runtime import images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the definition's JSON; - reads it from standard input")
    parser.add_argument("--local", action="store_true", help="also what the server of this folder would refuse")


def run(arguments: argparse.Namespace) -> int:
    """0 where nothing but warnings was found, 1 where there are errors."""
    local = None
    if arguments.local:
        server = lifecycle.find(arguments.state_dir)
        local = partial(images.entry_for, arguments.state_dir, named=server.images if server else None)
    findings = lint(_text(arguments.file), local=local)
    tell(arguments, {"findings": [asdict(finding) for finding in findings]}, render(findings))
    return 1 if errors(findings) else 0


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{file} cannot be read: {problem}.", "Give the path of a definition in JSON.") from None
