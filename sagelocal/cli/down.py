"""`sagelocal down`: stop the server."""

import argparse

from sagelocal.cli.common import tell
from sagelocal.core import lifecycle


def run(arguments: argparse.Namespace) -> int:
    stopped = lifecycle.stop(arguments.state_dir)
    said = "Stopped; its state is in" if stopped else "No server runs for"
    tell(arguments, {"stopped": stopped}, f"{said} {arguments.state_dir}.")
    return 0
