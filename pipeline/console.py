"""What a person sees while an execution runs: a live table on a terminal, one line per change elsewhere."""

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from pipeline import execution, hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.execution import Step
from sagelocal.core.terminal import printable

Show = Callable[[list[Step], dict[str, str]], None]  # (steps, what each said last)

POLL_SECONDS = 0.25
DETAIL_SECONDS = 1.0  # log lines and tuning counts are asked for less often than states

STYLES = {"Succeeded": "green", "Executing": "cyan", "Starting": "cyan", "Failed": "bold red", "Stopped": "yellow"}


class _Terminal(Console):
    """Whatever is printed, in a table too, goes through here as text before Rich adds its own control codes."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


console = _Terminal(stderr=True, highlight=False)
if not console.is_terminal:
    console.width = 120
logging.getLogger("botocore").setLevel(logging.WARNING)  # the SDK turns INFO on for everybody


def stdout() -> Console:
    """For what a command was asked for, rather than for what goes on beside it; wide where nobody looks."""
    made = _Terminal(highlight=False)
    if not made.is_terminal:
        made.width = 200
    return made


def plain_table(*titles: str, **options: Any) -> Table:
    """A table without lines. `options` are those of each of its columns."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        shown.add_column(title, header_style="dim", **options)
    return shown


def echo(text: str, **style: Any) -> None:
    """Print plain text, on stdout unless `err` is true."""
    typer.secho(printable(text), **style)


def say(text: str) -> None:
    """Print a line as long as it is: addresses and commands stay in one piece."""
    console.print(text, soft_wrap=True)


@contextmanager
def upload_progress():
    """A callback for pipeline.upload that draws a bar per file, and nothing where nothing had to be sent."""
    columns = TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(escape(printable(what)), total=total or None)
            bars.update(tasks[what], completed=done)

        yield show


def follow(cloud: Cloud, arn: str, *, quiet: bool = False) -> list[Step]:
    """Show an execution until it ends; its steps. Ctrl-C stops watching, not the execution."""
    if console.is_terminal and not quiet:
        with Live(console=console, refresh_per_second=8) as live:
            return _watch(cloud, arn, lambda steps, told: live.update(table(steps, told)))
    seen: dict[str, str] = {}

    def tell(steps: list[Step], told: dict[str, str]) -> None:
        for step in steps:
            state = "Cached" if step.cached else step.status
            if seen.get(step.name) != state and not quiet:
                took = f" in {step.seconds:.1f} s" if state not in ("Executing", "Starting") else ""
                why = f"  [dim]{escape(told.get(step.name, '')[:100])}[/]" if state == "Executing" else ""
                say(f"  {escape(step.name):<10} {state}{took}{why}")
            seen[step.name] = state

    return _watch(cloud, arn, tell)


def _watch(cloud: Cloud, arn: str, show: Show) -> list[Step]:
    try:
        return _until_it_ends(cloud, arn, show)
    except KeyboardInterrupt:
        name = arn.rpartition("/")[2]
        raise UserError(
            "You stopped watching; the execution goes on.",
            f"Watch again: {hints.FOLLOW_OF(execution=name)}\nEnd it: {hints.STOP_OF(execution=name)}",
        ) from None


def _until_it_ends(cloud: Cloud, arn: str, show: Show) -> list[Step]:
    told: dict[str, str] = {}
    states: dict[str, str] = {}
    asked = 0.0
    while True:
        ended = execution.describe(cloud, arn)["PipelineExecutionStatus"] in execution.ENDED
        steps = execution.steps(cloud, arn)
        changed = [step for step in steps if states.get(step.name) != step.status]
        if changed or time.monotonic() - asked > DETAIL_SECONDS:
            told.update(details(cloud, arn, changed + [step for step in steps if step.status == "Executing"]))
            states.update({step.name: step.status for step in steps})
            asked = time.monotonic()
        show(steps, told)
        if ended:
            return steps
        time.sleep(POLL_SECONDS)


def details(cloud: Cloud, arn: str, steps: list[Step]) -> dict[str, str]:
    """What is shown last in each step's row: what its job said last, or why it could not be reused."""
    missed = execution.cache_misses(cloud, arn)
    shown = {}
    for step in steps:
        said = "" if step.cached else execution.progress(cloud, step)
        shown[step.name] = said or (f"not reused: {missed[step.name]}" if step.name in missed else "")
    return shown


def table(steps: list[Step], told: dict[str, str]) -> Table:
    """The steps of an execution as a table: state, time, and what a step says last."""
    shown = plain_table()
    for title, width in (("step", 9), ("type", 13), ("state", 9)):
        shown.add_column(title, header_style="dim", no_wrap=True, min_width=width)
    shown.add_column("time", header_style="dim", no_wrap=True, min_width=8, justify="right")
    shown.add_column("last", header_style="dim", no_wrap=True, overflow="ellipsis")
    for step in steps:
        state = "Cached" if step.cached else step.status
        last = " ".join((step.reason or told.get(step.name, "")).split())[: max(20, console.width - 50)]
        state = f"[{STYLES.get(step.status, 'white')}]{state}[/]"
        shown.add_row(
            escape(step.name), f"[dim]{step.type}[/]", state, f"{step.seconds:.1f} s", f"[dim]{escape(last)}[/]"
        )
    return shown


def failure(cloud: Cloud, arn: str, steps: list[Step]) -> None:
    """Why an execution failed: each failed step's reason, its last log lines, and the command that goes on."""
    for step in steps:
        if step.status != "Failed":
            continue
        headline = "\n".join(step.reason.splitlines()[:3])
        say(f"\n[bold red]{escape(step.name)} failed.[/] {escape(headline)}")
        for line in execution.log_lines(cloud, step, limit=15):
            say(f"  [dim]{escape(line)}[/]")
    if not any(step.status == "Failed" for step in steps):
        say(f"\n[bold red]{escape(execution.describe(cloud, arn).get('FailureReason', 'It did not succeed.'))}[/]")
    say(f"\nGo on from the failed step:  {hints.RETRY_OF(execution=arn.rpartition('/')[2])}")


def summary(report: dict[str, Any]) -> None:
    """The outcome of a successful run in a few lines."""
    metrics = report["metrics"]
    if metrics:
        say(f"\n  test top-1 {metrics['test:top1']:.3f}, top-5 {metrics['test:top5']:.3f}")
    if report["model_package_arn"]:
        say(f"  model      {report['model_package_arn']}")
    if report["endpoint"]:
        say(f"  endpoint   {report['endpoint']}")
    prediction = report.get("prediction")
    if prediction:
        say(f"  {prediction['file']}: [bold]{prediction['breed']}[/] ({prediction['probability']:.0%})")
    say(f"\n[bold green]{report['status']}[/] in {report['seconds']:.1f} s")
