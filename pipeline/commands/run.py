"""Everything that is given is checked before anything is started. Steps whose inputs did not change are reused."""

import sys
from typing import Annotated

import typer

from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, ParametersArgument, tell
from pipeline.run import run


def main(
    data: Annotated[str, typer.Option(help="Zip, tar or folder of photos; drawn pictures when left out.")] = "",
    weights: Annotated[str, typer.Option(help="Backbone weights: a path, `imagenet`, or `random`.")] = "",
    backbone: Annotated[str, typer.Option(help="resnet50, resnet18 or mobilenet_v2.")] = "",
    parameters: ParametersArgument = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    report = run(data, weights, backbone, parameters or [], connect=lambda: connect(aws=aws), quiet=as_json)
    if as_json:
        tell(report, as_json)
    sys.exit(0 if report["status"] == "Succeeded" else 1)
