"""Delete everything that this project made: list it, ask, delete it, and say what is left where something refused."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contract.gone import is_gone
from pipeline import hints, infra_console
from pipeline.cloud import Cloud
from pipeline.console import console
from pipeline.errors import UserError
from pipeline.inventory import Item, find


def run(cloud: Cloud, *, yes: bool, keep_data: bool, quiet: bool) -> dict[str, Any]:
    """List, ask unless `yes`, delete. Raises UserError with what is left."""
    items = find(cloud, keep_data=keep_data)
    answer = {"found": [f"{item.kind} {item.name}" for item in items], "deleted": False}
    if not items:
        return answer
    if not quiet:
        console.print("This is there and will be deleted, in this order:")
        for item in items:
            console.print(f"  {item.kind}  {item.name}", soft_wrap=True)
    if not yes and not infra_console.agreed("Delete all of it?"):
        return answer
    destroy(
        items, lambda item: None if quiet else console.print(f"  deleted  {item.kind}  {item.name}", soft_wrap=True)
    )
    return answer | {"deleted": True}


def destroy(items: list[Item], tell: Callable[[Item], None]) -> None:
    """Delete all of it. Goes on after a failure; raises UserError with what is left and why."""
    left = []
    for item in items:
        try:
            item.delete()
        except ClientError as error:
            if not is_gone(error):
                left.append(f"{item.kind} {item.name}: {error.response['Error']['Message']}")
                continue
        except (BotoCoreError, UserError, TimeoutError) as error:
            left.append(f"{item.kind} {item.name}: {error}")
            continue
        tell(item)
    if left:
        raise UserError(
            "These could not be deleted:\n  " + "\n  ".join(left), f"Mend that, then again: {hints.DESTROY}"
        )
