"""What the commands share: their options, how they answer, and how they follow an execution."""

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

import typer

from pipeline import console, execution, parameters
from pipeline.cloud import Cloud
from pipeline.parameters import Value
from sagelocal.core.terminal import json_line

AwsOption = Annotated[bool, typer.Option("--aws", help="Act on your AWS account instead of the embedded SageMaker.")]
AwsByDefaultOption = Annotated[bool, typer.Option("--aws/--local", help="Your AWS account, or the embedded SageMaker.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout, for scripts.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
FollowOption = Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")]
ExecutionArgument = Annotated[
    str | None, typer.Argument(metavar="EXECUTION", help="Execution id or ARN; the newest when left out.")
]
ParametersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Pipeline parameters as Name=value.")
]


def checked(assignments: list[str] | None) -> dict[str, Value]:
    """Pipeline parameters given as Name=value. Raises ParameterError."""
    return parameters.check(parameters.parse_assignments(assignments or []))


def tell(answer: Any, as_json: bool, show: str | Callable[[], None] = "") -> None:
    """Give a command's answer: one line of JSON, or text, or what `show` prints, or its members."""
    if as_json:
        typer.echo(json_line(answer))
    elif callable(show):
        show()
    else:
        console.echo(show or _members(answer))


def _members(answer: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in answer.items())


def follow(cloud: Cloud, arn: str, began: float, as_json: bool) -> NoReturn:
    """Watch an execution until it ends, say how, and end with code 0 where it succeeded."""
    steps = console.follow(cloud, arn, quiet=as_json)
    report = execution.report(cloud, arn, began=began)
    succeeded = report["status"] == "Succeeded"
    tell(report, as_json, lambda: console.summary(report) if succeeded else console.failure(cloud, arn, steps))
    sys.exit(0 if succeeded else 1)
