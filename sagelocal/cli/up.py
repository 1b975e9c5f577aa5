"""`sagelocal up`: start the server, or join the one that runs."""

import argparse
import os
from pathlib import Path

from sagelocal.cli.common import UserError, command, tell
from sagelocal.core import lifecycle

PORT_VARIABLE = "SAGELOCAL_PORT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", metavar="N", help="port on 127.0.0.1 (default: SAGELOCAL_PORT, or any free one)")
    parser.add_argument(
        "--images", type=Path, action="append", default=[], metavar="FILE", help="a file that says how images run"
    )
    parser.add_argument("--foreground", action="store_true", help="serve in this process, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    port = _port(arguments.port or os.environ.get(PORT_VARIABLE) or "0")
    for path in arguments.images:
        if not path.is_file():
            raise UserError(f"There is no images file {path}.", "Correct its name, or leave out --images.")
    if arguments.foreground:
        from sagelocal.cli.serve import serve  # here, because it loads all services

        os.environ[lifecycle.IMAGES_VARIABLE] = os.pathsep.join(lifecycle.named_images(arguments.images))
        serve(arguments.state_dir, port)
        return 0
    server = lifecycle.ensure(arguments.state_dir, port=port, images=arguments.images)
    if port and not server.url.endswith(f":{port}"):
        raise UserError(
            f"The server of {arguments.state_dir} runs already, at {server.url}.",
            f"Leave out the port, or stop it first: {command('down', arguments.state_dir)}",
        )
    tell(
        arguments,
        {"url": server.url, "pid": server.pid, "version": server.version, "state_dir": str(arguments.state_dir)},
        f"sagelocal {server.version} at {server.url} (pid {server.pid}), state in {arguments.state_dir}\n"
        f'Point AWS clients to it: eval "$({command("env", arguments.state_dir)})"',
    )
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise UserError(f"{text!r} is no port.", f"Give a number up to 65535 as --port or {PORT_VARIABLE}, or neither.")
    return int(text)
