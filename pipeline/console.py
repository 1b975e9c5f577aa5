"""What a person sees while an execution runs: a live table on a terminal, one line per change elsewhere."""

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from pipeline import execution
from pipeline.cloud import Cloud
from pipeline.execution import Step

POLL_SECONDS = 0.25
DETAIL_SECONDS = 1.0  # log lines and tuning counts are asked for less often than states

STYLES = {"Succeeded": "green", "Executing": "cyan", "Starting": "cyan", "Failed": "bold red", "Stopped": "yellow"}

console = Console(stderr=True, highlight=False, soft_wrap=True)
logging.getLogger("botocore").setLevel(logging.WARNING)  # the SDK turns INFO on for everybody


@contextmanager
def upload_progress():
    """A callback for pipeline.upload that draws a bar per file, and nothing where nothing had to be sent."""
    columns = TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done)

        yield show


def follow(cloud: Cloud, arn: str, *, quiet: bool = False) -> list[Step]:
    """Show an execution until it ends; its steps. Ctrl-C stops watching, not the execution."""
    if console.is_terminal and not quiet:
        with Live(console=console, refresh_per_second=8) as live:
            return _watch(cloud, arn, lambda steps, details: live.update(table(steps, details)))
    seen: dict[str, str] = {}

    def tell(steps: list[Step], details: dict[str, str]) -> None:
        for step in steps:
            state = "Cached" if step.cached else step.status
            if seen.get(step.name) != state and not quiet:
                took = f" in {step.seconds:.1f} s" if state not in ("Executing", "Starting") else ""
                why = f"  [dim]{_plain(details.get(step.name, ''))[:100]}[/]" if state == "Executing" else ""
                console.print(f"  {step.name:<10} {state}{took}{why}")
            seen[step.name] = state

    return _watch(cloud, arn, tell)


def _watch(cloud: Cloud, arn: str, show: Callable[[list[Step], dict[str, str]], None]) -> list[Step]:
    details: dict[str, str] = {}
    asked = 0.0
    while True:
        ended = execution.describe(cloud, arn)["PipelineExecutionStatus"] in execution.ENDED
        steps = execution.steps(cloud, arn)
        if time.monotonic() - asked > DETAIL_SECONDS or any(step.name not in details for step in steps):
            details.update({step.name: "" for step in steps if step.name not in details})
            details.update(not_reused(cloud, arn))
            for step in steps:
                if step.status == "Executing":
                    details[step.name] = execution.progress(cloud, step) or details[step.name]
            asked = time.monotonic()
        show(steps, details)
        if ended:
            return steps
        time.sleep(POLL_SECONDS)


def not_reused(cloud: Cloud, arn: str) -> dict[str, str]:
    """Why steps could not be taken from an earlier execution, as shown beside them."""
    return {step: f"not reused: {why}" for step, why in execution.cache_misses(cloud, arn).items()}


def table(steps: list[Step], details: dict[str, str] | None = None) -> Table:
    """The steps of an execution as a table: state, time, and what a step says last."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title, options in (("step", {}), ("type", {}), ("state", {}), ("time", {"justify": "right"}), ("last", {})):
        shown.add_column(title, header_style="dim", no_wrap=True, **options)  # type: ignore[arg-type]
    for step in steps:
        state = "Cached" if step.cached else step.status
        last = step.reason or (details or {}).get(step.name, "")
        shown.add_row(
            step.name,
            f"[dim]{step.type}[/]",
            f"[{STYLES.get(step.status, 'white')}]{state}[/]",
            f"{step.seconds:.1f} s",
            f"[dim]{_plain(last)[:90]}[/]",
        )
    return shown


def failure(cloud: Cloud, arn: str, steps: list[Step]) -> None:
    """Why an execution failed: each failed step's reason, its last log lines, and the command that goes on."""
    for step in steps:
        if step.status != "Failed":
            continue
        headline = "\n".join(step.reason.splitlines()[:3])
        console.print(f"\n[bold red]{step.name} failed.[/] {_plain(headline)}")
        for line in execution.log_lines(cloud, step, limit=15):
            console.print(f"  [dim]{_plain(line)}[/]")
    if not any(step.status == "Failed" for step in steps):
        console.print(
            f"\n[bold red]{_plain(execution.describe(cloud, arn).get('FailureReason', 'It did not succeed.'))}[/]"
        )
    execution_id = arn.rpartition("/")[2]
    console.print(f"\nGo on from the failed step:  python -m pipeline retry {execution_id}")


def summary(report: dict[str, Any]) -> None:
    """The outcome of a successful run in a few lines."""
    metrics = report["metrics"]
    if metrics:
        console.print(f"\n  test top-1 {metrics['test:top1']:.3f}, top-5 {metrics['test:top5']:.3f}")
    if report["model_package_arn"]:
        console.print(f"  model      {report['model_package_arn']}")
    if report["endpoint"]:
        console.print(f"  endpoint   {report['endpoint']}")
    prediction = report.get("prediction")
    if prediction:
        console.print(f"  {prediction['file']}: [bold]{prediction['breed']}[/] ({prediction['probability']:.0%})")
    console.print(f"\n[bold green]{report['status']}[/] in {report['seconds']:.1f} s")


def _plain(text: str) -> str:
    """Text from jobs, safe to print between Rich's markup."""
    return text.replace("[", "\\[")
