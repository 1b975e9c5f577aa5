"""What a person sees of a load test: a line while it runs, then a table, then what follows from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from pipeline import console, hints
from pipeline.load_test.ladder import BUSY_CLIENT, REASONS, Advice, Tell


@contextmanager
def progress(levels: int, *, quiet: bool) -> Iterator[Tell]:
    """A callback for the worker's lines: one line that changes on a terminal, a line per level elsewhere."""
    if quiet:
        yield lambda line: None
        return
    if not console.console.is_terminal:
        yield _line_per_level
        return
    with console.console.status("Warming up ...") as status:
        done = 0

        def tell(line: dict[str, Any]) -> None:
            nonlocal done
            if "phase" in line:
                done += 1
            if "tick" in line:
                status.update(f"level {done + 1} of {levels}: {_in_words(line['tick'])}")

        yield tell


def table(levels: list[dict[str, Any]], knee: dict[str, Any] | None) -> Table:
    """A row per level: milliseconds of answered requests, errors by code."""
    figures = ("users", "requests/s", "p50 ms", "p90 ms", "p99 ms", "answered")
    shown = console.plain_table(*figures, justify="right", no_wrap=True)
    for heading in ("errors", ""):
        shown.add_column(heading, header_style="dim")
    for level in levels:
        marks = ["[green]knee[/]"] if level is knee else []
        if level["client_cpu"] > BUSY_CLIENT:
            marks.append(f"[yellow]the client was {level['client_cpu']:.0%} busy: it measured itself[/]")
        errors = ", ".join(f"{count} x {code}" for code, count in level["errors"].items())
        shown.add_row(
            str(level["users"]),
            f"{level['requests_per_second']:.1f}",
            *(_milliseconds(level[f"p{share}_ms"]) for share in (50, 90, 99)),
            str(level["requests"]),
            f"[red]{errors}[/]",
            ", ".join(marks),
        )
    return shown


def ladder(report: dict[str, Any], advice: Advice) -> None:
    """The table, how the test ended, and what to set."""
    console.console.print(table(report["levels"], advice.knee))
    if report["status"] != "complete":
        last = f" {report['error']}" if report["error"] and report["status"] == "gone" else ""
        console.say(f"\n[yellow]{REASONS[report['status']]}[/] {len(report['levels'])} level(s) are measured.{last}")
    console.say(f"\n{advice.why}")
    if report["instances_after"] != report["instances"]:
        console.say(
            f"[yellow]The endpoint went from {report['instances']} to {report['instances_after']} instances "
            "meanwhile: the levels are not of one endpoint. Measure again with shorter levels.[/]"
        )
    if advice.target and advice.knee:
        per = f"{advice.knee['requests_per_second']:.1f} requests/s / {report['instances']} instance(s)"
        console.say(f"{per} x 60 x 0.5 = [bold]{advice.target}[/] requests a minute and instance:")
        console.say(f"  {hints.RUN_WITH_TARGET(target=advice.target)}")
    for name in report["files"]:
        console.say(f"[dim]{name}[/]")


def scaling(report: dict[str, Any]) -> None:
    """The activities, and whether the count went where the policy leads."""
    shown = console.plain_table("minute", "activity", "state", "cause")
    for activity in report["activities"]:
        cells = (activity["description"], activity["status"], activity["cause"])
        shown.add_row(f"{activity['minute']:.1f}", *(cell.replace("[", "\\[") for cell in cells))
    console.console.print(shown)
    failed = sum(sum(tick["errors"].values()) for tick in report["load"])
    way = f"{report['from']} -> {report['highest']} -> {report['last']} instances"
    done = "[bold green]" if report["status"] == "complete" else "[bold red]"
    console.say(f"\n{done}{way}[/] by the policy's own rules, {failed} failed requests, in {report['seconds']:.0f} s.")
    if report["status"] in REASONS:
        console.say(f"[yellow]{REASONS[report['status']]}[/]")
    for name in report["files"]:
        console.say(f"[dim]{name}[/]")


def _line_per_level(line: dict[str, Any]) -> None:
    if "phase" in line:
        console.say(f"  {_in_words(line['phase'])}")


def _in_words(measured: dict[str, Any]) -> str:
    failed = sum(measured["errors"].values())
    return (
        f"{measured['users']} users, {measured['requests_per_second']:.1f} requests/s, "
        f"p50 {_milliseconds(measured['p50_ms'])} ms, p99 {_milliseconds(measured['p99_ms'])} ms"
        + (f", {failed} errors" if failed else "")
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
