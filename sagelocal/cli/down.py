"""`sagelocal down`: stop the server."""

import argparse

from sagelocal.cli.common import json_option, tell
from sagelocal.core import lifecycle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    stopped = lifecycle.stop(arguments.state_dir)
    said = (
        f"Stopped; its state is in {arguments.state_dir}." if stopped else f"No server runs for {arguments.state_dir}."
    )
    tell(arguments, {"stopped": stopped}, said)
    return 0
