"""`sagelocal reset`: stop the server and remove all its state."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sagelocal.cli.common import UserError, command, tell
from sagelocal.core import lifecycle, lock

KEPT = "images.toml"  # the user's own settings are no state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    state_dir: Path = arguments.state_dir
    if not state_dir.exists():
        tell(arguments, {"removed": False}, f"There is no state in {state_dir}.")
        return 0
    if not any((state_dir / name).is_file() for name in ("state.db", "server.lock")):
        raise UserError(f"{state_dir} is no state directory; nothing was removed.", "Correct --state-dir.")
    if not (arguments.yes or _agreed(state_dir)):
        raise UserError("Nothing was removed.", f"To remove without being asked: {command('reset --yes', state_dir)}")
    lifecycle.stop(state_dir)
    held = lock.hold(state_dir)
    if held is None:
        raise UserError(f"Another server has {state_dir} again; nothing was removed.", "Try again.")
    try:
        _empty(state_dir)
    finally:
        os.close(held)
    tell(arguments, {"removed": True}, f"All state in {state_dir} is removed.")
    return 0


def _agreed(state_dir: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    question = f"Remove all state in {state_dir}, its S3 objects, models and logs too? [y/N] "
    return input(question).lower() in ("y", "yes")


def _empty(state_dir: Path) -> None:
    for path in state_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != KEPT:
            path.unlink()
    if not any(state_dir.iterdir()):
        state_dir.rmdir()
