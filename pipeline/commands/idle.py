"""An endpoint is idle when it had no invocation for --hours."""

from typing import Annotated

import typer

from pipeline import idle
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell


def main(
    hours: Annotated[float, typer.Option(help="Without invocations for so long.")] = 24,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    found = idle.idle(connect(aws=aws), hours)
    tell(found, as_json, lambda: idle.show(found, hours))
