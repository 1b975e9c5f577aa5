"""What several commands need: the server that runs, its clients, and an answer as text or as JSON."""

import argparse
from pathlib import Path
from typing import Any

from sagelocal.core import lifecycle, lock
from sagelocal.core.terminal import json_line, printable


class UserError(Exception):
    """Something that the user can put right: a headline, and the way out."""

    def __init__(self, headline: str, way_out: str):
        super().__init__(headline)
        self.headline, self.way_out = headline, way_out


def running(state_dir: Path) -> lifecycle.Running:
    """The server of a state directory. Raises UserError where none runs, or does not answer."""
    found = lifecycle.find(state_dir)
    if found is None:
        raise unreachable(state_dir)
    return found


def unreachable(state_dir: Path) -> UserError:
    """What to say where no server answers: that none runs, or which one does not answer, and the way out."""
    if not lock.is_held(state_dir):
        return UserError(f"No server runs for {state_dir}.", f"Start it: {command('up', state_dir)}")
    holder = lock.holder(state_dir)
    named = f" (pid {holder.pid})" if holder else ""
    return UserError(
        f"The server of {state_dir}{named} does not answer: it has just begun, or it hangs.",
        f"Stop it if it hangs: {command('down', state_dir)}",
    )


def command(name: str, state_dir: Path) -> str:
    """A command for this state directory as it can be pasted: the directory is named where it is not the default."""
    is_default = state_dir == lifecycle.default_state_dir()
    return f"sagelocal {name}" if is_default else lifecycle.command(name, state_dir)


def client(server: lifecycle.Running, service: str) -> Any:
    """An unmodified boto3 client of a server, whatever else the user's environment says."""
    import boto3  # here, because most commands do without it and it takes longer than all of them

    return boto3.client(service, **server.client_settings())


def tell(arguments: argparse.Namespace, answer: Any, text: str) -> None:
    """Print an answer, in the form that was asked for."""
    print(json_line(answer) if arguments.json else printable(text))
