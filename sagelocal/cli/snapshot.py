"""`sagelocal snapshot`: the whole account as one file."""

import argparse
import sqlite3
import time
from pathlib import Path

from sagelocal.cli.common import UserError, command, tell
from sagelocal.core import archive
from sagelocal.core.snapshots import Damaged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", nargs="?", type=lambda text: Path(text).resolve(), help="(default: sagelocal-DATE-TIME.tar here)"
    )


def run(arguments: argparse.Namespace) -> int:
    state_dir: Path = arguments.state_dir
    path: Path = arguments.path or Path.cwd() / time.strftime("sagelocal-%Y%m%d-%H%M%S.tar")
    if not (state_dir / "state.db").is_file():
        raise UserError(f"There is no state in {state_dir}.", "Correct --state-dir.")
    if path.exists() or not path.parent.is_dir() or path.is_relative_to(state_dir):
        why = "is there already" if path.exists() else "cannot be written there"
        raise UserError(f"{path} {why}.", "Give another path, in a folder that is there and not in the state itself.")
    try:
        size = archive.save(state_dir, path)
    except Damaged as problem:
        way_out = f"Start the server anew, which makes it sound: {command('up', state_dir)}"
        raise UserError(f"state.db is damaged: {problem}.", way_out) from None
    except (OSError, sqlite3.Error) as problem:
        why = str((isinstance(problem, OSError) and problem.strerror) or problem)
        raise UserError(f"{path} was not written: {why}.", "Free some space there, or give another path.") from None
    tell(arguments, {"path": str(path), "bytes": size}, f"{path}: {size:,} bytes. The owner's keys are not in it.")
    return 0
