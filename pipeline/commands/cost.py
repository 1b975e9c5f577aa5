"""At most and as expected, per step and per month. The estimate needs no account."""

from typing import Annotated

import typer

from pipeline import cost, execution, prices, settings
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, checked, tell


def main(
    chosen: Annotated[
        str | None, typer.Argument(metavar="EXECUTION", help="Execution id or ARN: what it did cost.")
    ] = None,
    images: Annotated[int, typer.Option(help="Photos in the data set.")] = 8351,
    parameters: Annotated[list[str] | None, typer.Option("-p", help="A pipeline parameter as Name=value.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Renew prices.json from AWS's Pricing API first.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    values = checked(parameters)
    if refresh:
        prices.refresh(connect(aws=aws))
    if not chosen:
        estimate = cost.for_pipeline(settings.from_environment(), values, images=images)
        tell(estimate, as_json, lambda: cost.show_estimate(estimate))
        return
    cloud = connect(aws=aws)
    actual = cost.actual(cloud, execution.resolve(cloud, None if chosen == "latest" else chosen))
    tell(actual, as_json, lambda: cost.show_actual(actual))
