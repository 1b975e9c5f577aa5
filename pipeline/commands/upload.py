"""What is there already is not sent again. Prints the S3 prefixes that the pipeline's parameters take."""

from typing import Annotated

import typer

from pipeline import console, upload
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell


def main(
    data: Annotated[str | None, typer.Option(help="Zip, tar or folder: a path, https:// or s3://.")] = None,
    weights: Annotated[str | None, typer.Option(help="State dict, `imagenet`, `random`, or s3://.")] = None,
    backbone: Annotated[str, typer.Option(help="Which network `imagenet` weights are for.")] = "resnet50",
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    cloud = connect(aws=aws)
    s3, settings = cloud.client("s3"), cloud.settings
    with console.upload_progress() as progress:
        uris = {"code_uri": upload.upload_code(s3, settings)}
        if data:
            uris["input_data_uri"] = upload.upload_data(s3, settings, data, progress)
        if weights:
            uris["weights_uri"] = upload.upload_weights(s3, settings, weights, backbone, progress)
    tell(uris, as_json)
