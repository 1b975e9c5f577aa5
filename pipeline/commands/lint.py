"""Each finding names the step and the field, and says what to do. Needs no credentials and no network."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline import definition, lint, settings
from pipeline.commands.shared import JsonOption, tell
from pipeline.errors import UserError


def main(
    file: Annotated[Path | None, typer.Argument(help="A definition's JSON; our own when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    findings = lint.lint(_text(file) if file else definition.definition(settings.from_environment()))
    tell({"findings": [asdict(finding) for finding in findings]}, as_json, lint.render(findings))
    sys.exit(1 if lint.errors(findings) else 0)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.", "Give the path of a definition in JSON.") from None
