"""Give one photo: a file, or the https address of one."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import hints, predict
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell
from pipeline.errors import UserError


def main(
    file: Annotated[Path | None, typer.Option(help="A photo on disk.")] = None,
    url: Annotated[str | None, typer.Option(help="A photo on the web (https).")] = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    hints.act_on(aws=aws)
    if (file is None) == (url is None):
        ways = hints.PREDICT_FILE(file="dog.jpg"), hints.PREDICT_URL(url="https://…/dog.jpg")
        raise UserError("Give one photo: a file or a URL.", " or ".join(ways))
    cloud = connect(aws=aws)
    answer = predict.of_file(cloud, file) if file else predict.of_url(cloud, url or "")
    lines = [f"{p['probability']:7.1%}  {p['breed']}" for p in answer["predictions"]]
    tell(answer, as_json, "\n".join(lines))
