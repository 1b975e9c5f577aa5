"""Goes on after a failure, and names what is left then."""

from typing import Annotated

import typer

from pipeline import destroy
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, YesOption, tell


def main(
    yes: YesOption = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Leave the bucket, its key and the jobs.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    answer = destroy.run(connect(aws=aws), yes=yes, keep_data=keep_data, quiet=as_json)
    done = "Deleted." if answer["deleted"] else "Nothing was deleted."
    tell(answer, as_json, done if answer["found"] else "There is nothing of this project here.")
