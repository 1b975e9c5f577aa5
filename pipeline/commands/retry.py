"""Finished steps are kept."""

import time

from pipeline import execution
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, ExecutionArgument, JsonOption, follow


def main(chosen: ExecutionArgument = None, aws: AwsOption = False, as_json: JsonOption = False) -> None:
    cloud = connect(aws=aws)
    began = time.monotonic()
    arn = execution.resolve(cloud, chosen)
    execution.retry(cloud, arn)
    follow(cloud, arn, began, as_json)
