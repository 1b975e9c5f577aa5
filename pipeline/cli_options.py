"""What the commands share: their options, the account they act on, and how they answer."""

import json
from typing import Annotated, Any

import typer

AwsOption = Annotated[bool, typer.Option("--aws", help="Act on your AWS account instead of the embedded SageMaker.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout, for scripts.")]
Execution = Annotated[str | None, typer.Argument(help="Execution id or ARN; the newest when left out.")]
Parameters = Annotated[list[str] | None, typer.Argument(help="Pipeline parameters as Name=value.")]


def connect(aws: bool) -> Any:
    from pipeline import cloud as clouds

    return clouds.connect(aws=aws)


def tell(answer: dict[str, Any], as_json: bool, text: str = "") -> None:
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        typer.echo(text or "\n".join(f"{name}: {value}" for name, value in answer.items()))
