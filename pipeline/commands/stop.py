"""A stopped execution can go on: `pawline retry`."""

from typing import Annotated

import typer

from pipeline import execution
from pipeline.cloud import connect, state_dir
from pipeline.commands.shared import AwsOption, ExecutionArgument, JsonOption, tell
from pipeline.errors import UserError
from sagelocal.core import lifecycle


def main(
    chosen: ExecutionArgument = None,
    server: Annotated[bool, typer.Option("--server", help="Stop the embedded server itself.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    if server:
        try:
            stopped = lifecycle.stop(state_dir())
        except lifecycle.CannotStop as problem:
            raise UserError("The embedded SageMaker was not stopped.", str(problem)) from None
        tell({"stopped": stopped}, as_json, "Stopped." if stopped else "No embedded SageMaker runs here.")
        return
    cloud = connect(aws=aws)
    arn = execution.resolve(cloud, chosen)
    execution.stop(cloud, arn)
    tell({"execution_arn": arn}, as_json, f"Stopping {arn}")
