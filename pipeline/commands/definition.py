"""Needs no credentials and no network."""

import typer

from pipeline import definition, settings


def main() -> None:
    typer.echo(definition.definition(settings.from_environment()))
