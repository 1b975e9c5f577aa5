"""A row per rule: its status, whether it blocks, and where it fired first."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import console, debug, execution
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, ExecutionArgument, JsonOption, tell


def main(
    chosen: ExecutionArgument = None,
    opened: Annotated[bool, typer.Option("--open", help="Fetch the report too, and open it in the browser.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    cloud = connect(aws=aws)
    arn = execution.resolve(cloud, chosen)
    said = debug.verdict(cloud, arn)
    page = debug.report(cloud, arn) if opened else None
    answer = {"execution_arn": arn, **said, **({"report": str(page)} if page else {})}
    tell(answer, as_json, lambda: _show(said, page))


def _show(said: dict[str, Any], page: Path | None) -> None:
    console.stdout().print(debug.table(said))
    console.echo(f"{said['verdict']}, {said['blocking']} blocking.")
    if page:
        typer.echo(page)
        debug.show(page)
