"""Prints the next five runs. Another call changes the schedule."""

from typing import Annotated

import typer

from pipeline import schedule
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, ParametersArgument, checked, tell


def main(
    cron: Annotated[str, typer.Argument(help="cron(0 3 ? * MON *), rate(7 days) or at(2027-01-01T00:00:00).")],
    parameters: ParametersArgument = None,
    timezone: Annotated[str, typer.Option(help="IANA time zone of the expression.")] = "UTC",
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    values = checked(parameters)
    schedule.next_runs(cron, timezone)
    found = schedule.schedule(connect(aws=aws), cron, timezone, values)
    tell(found, as_json, lambda: schedule.show(found))
