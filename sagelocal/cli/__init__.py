"""`sagelocal` starts, asks and stops the server of a state directory. Only the called command's module is imported."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sagelocal import VERSION
from sagelocal.cli.common import UserError
from sagelocal.core.lifecycle import CannotStart, CannotStop, default_state_dir
from sagelocal.core.terminal import printable

# command: what it does. The module of its name has run(arguments) -> exit code, and may have add_arguments(parser).
COMMANDS = {
    "up": "start the server of this folder, or join the one that runs",
    "down": "stop it; its state stays",
    "status": "its address, and what runs on it",
    "env": 'the variables that point AWS clients to it: eval "$(sagelocal env)"',
    "logs": "the server's log, or a CloudWatch log group, a stream or a job's output by its name",
    "snapshot": "write the whole account into one file",
    "restore": "make the account of such a file that of this folder",
    "prune": "what is old and needed by nothing: shown, or removed with --yes",
    "reset": "stop it and remove all its state",
    "lint": "everything that is wrong with a pipeline definition",
    "images": "which container images it can stand in for, and how",
    "doctor": "whether this machine can run it: pass, warn, fail, and the fix",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 2 for what the user can put right, as argparse has it."""
    given = list(sys.argv[1:] if words is None else words)
    command = given[0] if given and given[0] in COMMANDS else None
    arguments = _parser(command).parse_args(given)
    try:
        run: Callable[[argparse.Namespace], int] = importlib.import_module(f"{__name__}.{arguments.command}").run
        return run(arguments)
    except UserError as problem:
        print(printable(f"{problem.headline}\n{problem.way_out}"), file=sys.stderr)
    except CannotStart as problem:
        print(printable(f"The server did not start.\n{problem}"), file=sys.stderr)
    except CannotStop as problem:
        print(printable(f"The server was not stopped.\n{problem}"), file=sys.stderr)
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        print(
            f"The state directory {arguments.state_dir} cannot be used: {problem.strerror or problem}.\n"
            "Choose another with --state-dir or SAGELOCAL_STATE_DIR.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        return 130
    return 2


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Only the module of the command that is called is imported, so that --help answers at once."""
    parser = argparse.ArgumentParser(prog="sagelocal", description="SageMaker on this machine, without Docker.")
    parser.add_argument("--version", action="version", version=f"sagelocal {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, does in COMMANDS.items():
        one = commands.add_parser(name, help=does.replace("%", "%%"), description=f"{does[0].upper()}{does[1:]}.")
        one.add_argument(
            "--state-dir",
            type=lambda text: Path(text).resolve(),
            default=default_state_dir(),
            metavar="DIR",
            help="where everything is kept (default: SAGELOCAL_STATE_DIR, or .sagelocal in this folder)",
        )
        if name == command:
            module = importlib.import_module(f"{__name__}.{name}")
            if hasattr(module, "add_arguments"):
                module.add_arguments(one)
        if name != "logs":
            one.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser
