"""Shows the changes and asks. Into your AWS account unless --local."""

from typing import Annotated

import typer

from pipeline import infra, infra_console, parameters
from pipeline.cloud import connect
from pipeline.commands.shared import AwsByDefaultOption, JsonOption, YesOption, tell


def main(
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Parameters of infra/template.yaml as Name=value.")
    ] = None,
    yes: YesOption = False,
    aws: AwsByDefaultOption = True,
    as_json: JsonOption = False,
) -> None:
    given = parameters.parse_assignments(assignments or [])
    cloud = connect(aws=aws)
    change = infra.deploy(
        cloud, given, confirm=infra_console.confirm(yes=yes), watch=infra_console.watch(quiet=as_json)
    )
    name = infra.stack_name(cloud.settings)
    tell({"stack": name, "change": change}, as_json, f"Stack {name}: {change}")
