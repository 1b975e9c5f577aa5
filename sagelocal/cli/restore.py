"""`sagelocal restore`: an account out of the file that `sagelocal snapshot` made."""

import argparse
import time
from pathlib import Path

from sagelocal.cli.common import UserError, command, tell
from sagelocal.core import archive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="what sagelocal snapshot made")


def run(arguments: argparse.Namespace) -> int:
    path, state_dir = arguments.path, arguments.state_dir
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Give what sagelocal snapshot made.")
    try:
        about = archive.restore(path, state_dir)
    except archive.BadArchive as problem:
        raise UserError(str(problem), "Give what sagelocal snapshot made.") from None
    except FileExistsError as problem:
        way_out = f"Choose another --state-dir, or remove it first: {command('reset', state_dir)}"
        raise UserError(str(problem), way_out) from None
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about["time"]))
    said = f"{state_dir} is the account of {made} again.\nStart its server: {command('up', state_dir)}"
    tell(arguments, {"state_dir": str(state_dir), "time": about["time"]}, said)
    return 0
