"""What a person sees of a deployment: the changes as a table, a question, and each resource as it is done."""

import sys
from typing import Any

from rich.table import Table

from pipeline.changeset import ChangeSet, Watch
from pipeline.console import console
from pipeline.errors import UserError
from pipeline.infra import Confirm

STYLES = {"Add": "green", "Modify": "yellow", "Remove": "red", "Import": "cyan", "Dynamic": "yellow"}


def table(change_set: ChangeSet) -> Table:
    shown = Table(
        "Action", "Resource", "Type", "What", title=f"Changes to stack {change_set.stack}", title_justify="left"
    )
    for change in change_set.changes:
        what = ", ".join(change.properties)
        if change.replaced in ("True", "Conditional"):
            what += " (made anew)" if change.replaced == "True" else " (may be made anew)"
        style = STYLES.get(change.action, "")
        shown.add_row(f"[{style}]{change.action}", change.logical_id, change.type.removeprefix("AWS::"), what)
    return shown


def confirm(*, yes: bool) -> Confirm:
    """Shows the changes and asks; with `yes` it only shows them."""

    def ask(change_set: ChangeSet) -> bool:
        console.print(table(change_set))
        if change_set.creating:
            console.print("After that: the two functions and the rule that deploys approved models.")
        return yes or agreed("Make these changes?")

    return ask


def agreed(question: str) -> bool:
    """The answer to a question. Raises UserError where nobody is there to give one."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody is here to answer.", "Say so beforehand with --yes.")
    return console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def watch(*, quiet: bool) -> Watch:
    def tell(event: dict[str, Any]) -> None:
        status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
        if quiet or not status.endswith(("_COMPLETE", "_FAILED")):
            return
        style = "red" if status.endswith("_FAILED") or "ROLLBACK" in status else "green"
        line = f"  [{style}]{status:24}[/] {event['LogicalResourceId']}"
        console.print(f"{line}  {reason}" if style == "red" and reason else line)

    return tell
