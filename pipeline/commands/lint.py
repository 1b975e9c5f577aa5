"""Each finding names the step and the field, and says what to do. Needs no credentials and no network."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline import definition, rules, settings
from pipeline.commands.shared import JsonOption, tell
from pipeline.errors import UserError
from sagelocal.definition import errors, lint, render


def main(
    file: Annotated[Path | None, typer.Argument(help="A definition's JSON; our own when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    if file:
        findings = lint(_text(file), extra=[rules.as_advice(rule) for rule in rules.ADVICE])
    else:
        findings = lint(definition.definition(settings.from_environment()), extra=rules.RULES)
    tell({"findings": [asdict(finding) for finding in findings]}, as_json, render(findings))
    sys.exit(1 if errors(findings) else 0)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.", "Give the path of a definition in JSON.") from None
