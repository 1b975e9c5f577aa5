"""Each step with its state, its time, and what it said last or why it was not reused."""

import time

from pipeline import console, execution
from pipeline.cloud import Cloud, connect
from pipeline.commands.shared import AwsOption, ExecutionArgument, FollowOption, JsonOption, follow, tell


def main(
    chosen: ExecutionArgument = None, watch: FollowOption = False, aws: AwsOption = False, as_json: JsonOption = False
) -> None:
    cloud = connect(aws=aws)
    began = time.monotonic()
    arn = execution.resolve(cloud, chosen)
    if watch:
        follow(cloud, arn, began, as_json)
    if as_json:
        tell(execution.report(cloud, arn, began=began), as_json)
    else:
        _show(cloud, arn)


def _show(cloud: Cloud, arn: str) -> None:
    state = execution.describe(cloud, arn)["PipelineExecutionStatus"]
    console.console.print(f"{arn}: {state}")
    steps = execution.steps(cloud, arn)
    console.console.print(console.table(steps, console.details(cloud, arn, steps)))
