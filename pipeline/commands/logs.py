"""All jobs and hosts of the step, in the order of time."""

from typing import Annotated

import typer

from pipeline import execution
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, ExecutionArgument, JsonOption, tell
from pipeline.errors import UserError


def main(
    step: Annotated[str, typer.Argument(help="A step's name, for instance Train.")],
    chosen: ExecutionArgument = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    cloud = connect(aws=aws)
    arn = execution.resolve(cloud, chosen)
    execution.describe(cloud, arn)
    found = {entry.name: entry for entry in execution.steps(cloud, arn)}
    if step not in found:
        raise UserError(f"The execution has no step {step} that began.", f"It has: {', '.join(found) or 'none yet'}.")
    lines = execution.log_lines(cloud, found[step])
    tell({"step": step, "lines": lines}, as_json, "\n".join(lines) or f"{step} wrote no log.")
