"""Level by level: requests/s, p50, p99. With --scaling: a step load, and whether the policy scales out and in."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import hints
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell
from pipeline.load_test import command, plan


def main(
    target: Annotated[
        str, typer.Option(help="endpoint, or function: the predict function in front of it.")
    ] = "endpoint",
    endpoint: Annotated[str, typer.Option(help="An endpoint other than the project's.")] = "",
    photo: Annotated[Path | None, typer.Option(help="The photo that is sent; a test photo when left out.")] = None,
    levels: Annotated[str, typer.Option(help="Concurrent users, level by level.")] = "1 2 4 8",
    seconds: Annotated[float, typer.Option(help="How long each level lasts.")] = 10,
    max_requests: Annotated[int, typer.Option(help="The test ends there.")] = 100_000,
    slo_ms: Annotated[float | None, typer.Option(help="The p99 that is still good; twice level 1's.")] = None,
    scaling: Annotated[bool, typer.Option("--scaling", help="Scale out and in by the policy instead.")] = False,
    speed: Annotated[float, typer.Option(help="--scaling: how fast the embedded server's minutes pass.")] = 30,
    folder: Annotated[Path | None, typer.Option(help="For the results; load-test in the state directory.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; more load than usual is meant.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    hints.act_on(aws=aws)
    phases = plan.ladder(plan.levels(levels), seconds, max_requests=max_requests, yes=yes)
    chosen = command.Chosen(endpoint=endpoint, photo=photo, folder=folder, ask=aws and not yes, quiet=as_json)
    if scaling:
        report = command.scale(connect(aws=aws), chosen, speed=speed)
    else:
        report = command.climb(
            connect(aws=aws), chosen, target=target, phases=phases, max_requests=max_requests, slo_ms=slo_ms
        )
    if as_json:
        tell(report, as_json)
    sys.exit({"complete": 0, "enough": 0, "interrupted": 130}.get(report["status"], 1))
