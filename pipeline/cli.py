"""The entry point of `pawline`: runs a command, and says what is wrong where one cannot go on."""

import sys
from typing import NoReturn

import typer

from pipeline import hints
from pipeline.commands import program
from pipeline.errors import UserError
from sagelocal.core.terminal import printable


def main() -> None:
    """Run a command; what the user can mend ends with a message and code 2, never with a traceback."""
    try:
        program(prog_name="pawline")
    except UserError as error:
        fail(error.headline, error.way_out)
    except Exception as error:
        # By name: importing botocore here would slow down --help.
        kinds = {base.__name__ for base in type(error).__mro__ if base.__module__ == "botocore.exceptions"}
        if not kinds:
            raise
        if kinds & {"ConnectionError", "HTTPClientError"}:
            fail(f"SageMaker does not answer any more: {error}", f"Go on from there: {hints.RETRY}")
        fail(f"AWS refused: {error}", "Check the name, the permissions of who you are, and AWS_ENDPOINT_URL.")


def fail(headline: str, way_out: str) -> NoReturn:
    """Say what is wrong and what to do, and end with code 2."""
    typer.secho(printable(headline), fg="red", err=True, bold=True)
    if way_out:
        typer.echo(printable(way_out), err=True)
    sys.exit(2)
