"""Its data and weights are the pipeline's defaults, or the parameters InputDataUri and PretrainedWeightsUri."""

import time

from pipeline import execution, hints
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, FollowOption, JsonOption, ParametersArgument, checked, follow, tell


def main(
    parameters: ParametersArgument = None,
    aws: AwsOption = False,
    watch: FollowOption = False,
    as_json: JsonOption = False,
) -> None:
    values = checked(parameters)
    cloud = connect(aws=aws)
    began = time.monotonic()
    arn = execution.start(cloud, values)
    if watch:
        follow(cloud, arn, began, as_json)
    follow_it = hints.FOLLOW_OF(execution=arn.rpartition("/")[2])
    tell({"execution_arn": arn}, as_json, f"Started {arn}\nFollow it:  {follow_it}")
