"""What the Debugger rules said of an execution's training: the verdict as a table, and the report in a browser."""

import json
import sys
import webbrowser
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.markup import escape
from rich.table import Table

from pipeline import console, execution, hints
from pipeline.cloud import Cloud, state_dir
from pipeline.errors import UserError
from pipeline.execution import Step
from pipeline.settings import OFF

STYLES = {"NoIssuesFound": "green", "IssuesFound": "bold red", "Error": "bold red", "Stopped": "bold red"}
FILES = ("debug.html", "losses.png", "gradients.png", "activations.png")
NO_FILE = ("NoSuchKey", "404", "NoSuchBucket")


def verdict(cloud: Cloud, arn: str) -> dict[str, Any]:
    """debug.json of an execution (docs/formats.md). Raises UserError where there is none, saying why."""
    body = _get(cloud, _step(cloud, arn), "debug.json")
    if body is None:
        raise UserError(
            "The verdict of this execution is not in the bucket any more: debug.json was deleted, or has expired.",
            f"Make it again (what is cached is not computed anew): {hints.START}",
        )
    return json.loads(body)


def report(cloud: Cloud, arn: str) -> Path:
    """Fetch debug.html and its pictures; where the page lies. Raises UserError where there is none."""
    step, name = _step(cloud, arn), arn.rpartition("/")[2]
    folder = state_dir() / "reports" / name
    found = {file: body for file in FILES if (body := _get(cloud, step, file)) is not None}
    if FILES[0] not in found:
        why = f"Why: {hints.LOGS(step='Debug', execution=name)}"
        raise UserError("The Debug step of this execution left no debug.html.", why)
    folder.mkdir(parents=True, exist_ok=True)
    for file, body in found.items():
        (folder / file).write_bytes(body)
    return folder / FILES[0]


def show(page: Path) -> None:
    """Open a page in the browser, if somebody sits at a terminal."""
    if sys.stdout.isatty():
        webbrowser.open(page.as_uri())


def table(said: dict[str, Any]) -> Table:
    """A row per rule: status, and where it fired first, with value and threshold."""
    shown = console.plain_table("rule", "status", "blocks", no_wrap=True, overflow="fold")
    shown.add_column("says", header_style="dim", overflow="fold")
    for rule in said["rules"]:
        state = rule["RuleEvaluationStatus"]
        details = escape(rule["StatusDetails"])
        blocks = {True: "yes", False: "no", None: ""}[rule.get("blocks")]
        shown.add_row(
            escape(rule["RuleConfigurationName"]), f"[{STYLES.get(state, 'white')}]{state}[/]", blocks, details
        )
    return shown


def _step(cloud: Cloud, arn: str) -> Step:
    """The Debug step of an execution that has ended well. Raises UserError."""
    execution.describe(cloud, arn)
    found = {step.name: step for step in execution.steps(cloud, arn)}
    step = found.get("Debug")
    name = arn.rpartition("/")[2]
    if step is None:
        off = cloud.settings.debugger == OFF
        raise UserError(
            f"Execution {name} has no Debug step{'' if off else ' that began'}.",
            f"PAWLINE_DEBUGGER is off. Set it to open or managed, then: {hints.UPSERT}"
            if off
            else f"It got as far as {list(found)[-1] if found else 'its start'}, or its debugger was off: "
            f"{hints.STATUS_OF(execution=name)}",
        )
    if step.status != "Succeeded":
        why = f": {step.reason}" if step.reason else ""
        if step.status in ("Starting", "Executing"):
            way_out = f"Wait for it: {hints.FOLLOW_OF(execution=name)}"
        else:
            way_out = f"See its log: {hints.LOGS(step='Debug', execution=name)}"
        raise UserError(f"The Debug step of execution {name} is {step.status}{why}.", way_out)
    return step


def _get(cloud: Cloud, step: Step, name: str) -> bytes | None:
    """A file of the Debug step's output; None where there is none."""
    bucket, prefix = execution.output_location(cloud, step)
    try:
        return cloud.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in NO_FILE:
            return None
        raise
