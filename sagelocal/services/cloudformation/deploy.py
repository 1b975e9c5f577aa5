"""Bring a stack to a plan, one resource after the other; when one fails, undo what was done, newest first."""

import logging
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.cloudformation import plan, stacks
from sagelocal.services.cloudformation.documents import STACK, Policies, ResourceRecord, Stack
from sagelocal.services.cloudformation.expressions import Scope
from sagelocal.services.cloudformation.plan import Change, Wanted
from sagelocal.services.cloudformation.resource import HANDLERS, PhysicalResource

KEEP_POLICIES = ("Retain", "RetainExceptOnCreate", "Snapshot")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    logical_id: str
    reason: str


def run(context: Context, name: str, wanted: Wanted, creating: bool) -> None:
    """Create or update the stack `name`; its status and events tell how that went."""
    doing = "CREATE" if creating else "UPDATE"
    stacks.set_status(context, name, f"{doing}_IN_PROGRESS", "User Initiated")
    undo: list[Callable[[], None]] = []
    replaced: list[tuple[str, ResourceRecord]] = []
    stack = stacks.find(context, name)
    failure = None
    try:
        present = stack["_Resources"]
        changes = plan.changes(context, stack, wanted, present)
        scope = wanted.scope(context, stack, partial(_look_up, context, name))
        for change in changes:
            if change.action == "Remove":
                continue
            failure = _apply(context, name, change, wanted, scope.resolve, undo, replaced)
            if failure:
                break
        if not failure:
            outputs = _outputs(scope, wanted)
    except AwsError as problem:
        failure = Failure(name, problem.message)
    except Exception as problem:  # a handler's own fault must not leave the stack in progress for ever
        failure = Failure(name, f"{type(problem).__name__}: {problem}")
    if failure:
        _roll_back(context, name, undo, failure, creating)
        return
    removed = [(c.logical_id, present[c.logical_id]) for c in changes if c.action == "Remove"]
    if replaced or removed:
        _clean_up(context, name, replaced, removed)

    def complete(body: Stack) -> None:
        shown = [{"ParameterKey": key, "ParameterValue": text} for key, text in wanted.texts.items()]
        body.update({"Parameters": shown, "Outputs": outputs, "_Texts": wanted.texts, "_Template": wanted.text})
        body["_Resources"] = {logical: body["_Resources"][logical] for logical in wanted.order}

    context.store.change(STACK, name, complete)
    stacks.set_status(context, name, f"{doing}_COMPLETE")


def delete(context: Context, name: str, retain: list[str]) -> None:
    """Delete a stack's resources, newest first, and then the stack; DELETE_FAILED when some could not be deleted."""
    stacks.set_status(context, name, "DELETE_IN_PROGRESS", "User Initiated")
    left = []
    for logical, record in reversed(stacks.find(context, name)["_Resources"].items()):
        keep = logical in retain or record["DeletionPolicy"] in KEEP_POLICIES
        if keep or _delete_resource(context, name, logical, record):
            stacks.record(context, name, logical, None)
        else:
            left.append(logical)
    if left:
        reason = f"The following resource(s) failed to delete: [{', '.join(left)}]. "
        stacks.set_status(context, name, "DELETE_FAILED", reason)
    else:
        stacks.forget(context, name)


def roll_back_creation(context: Context, name: str, reason: str) -> None:
    """Undo a creation that was cut off: delete what there is."""
    stacks.set_status(context, name, "ROLLBACK_IN_PROGRESS", reason)
    for logical, record in reversed(stacks.find(context, name)["_Resources"].items()):
        if record["DeletionPolicy"] != "Retain" and _delete_resource(context, name, logical, record):
            stacks.record(context, name, logical, None)
    stacks.set_status(context, name, "ROLLBACK_COMPLETE", reason)


def _clean_up(
    context: Context, name: str, replaced: list[tuple[str, ResourceRecord]], removed: list[tuple[str, ResourceRecord]]
) -> None:
    """Delete what the update has left behind, unless a policy keeps it; as on AWS, a failure here fails nothing."""
    stacks.set_status(context, name, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    for logical, record in reversed(replaced):
        if record["UpdateReplacePolicy"] not in KEEP_POLICIES:
            _delete_resource(context, name, logical, record)
    for logical, record in removed:
        if record["DeletionPolicy"] not in KEEP_POLICIES:
            _delete_resource(context, name, logical, record)
        if stacks.find(context, name)["_Resources"].get(logical) == record:
            stacks.record(context, name, logical, None)


def _apply(
    context: Context,
    name: str,
    change: Change,
    wanted: Wanted,
    resolve: Callable[[Any], Any],
    undo: list[Callable[[], None]],
    replaced: list[tuple[str, ResourceRecord]],
) -> Failure | None:
    """Make one change and note how to undo it. The properties are resolved now, when what they refer to exists."""
    logical, handler = change.logical_id, HANDLERS[change.type]
    body = wanted.template["Resources"][logical]
    stack = stacks.find(context, name)
    before = stack["_Resources"].get(logical)
    policies: Policies = {
        "DeletionPolicy": body.get("DeletionPolicy", "Delete"),
        "UpdateReplacePolicy": body.get("UpdateReplacePolicy", "Delete"),
    }
    properties = resolve(body.get("Properties", {}))
    if before and change.action == "Keep":
        stacks.record(context, name, logical, {**before, **policies})
        return None
    altered = None if change.action == "Add" or change.replacement else before
    doing = "CREATE" if change.action == "Add" else "UPDATE"
    stacks.event(context, stack, logical, change.physical_id, change.type, f"{doing}_IN_PROGRESS")
    try:
        if altered is None:
            made = handler.create(context, properties, free_name(name, logical))
        else:
            made = handler.update(context, _made(altered), properties, altered["Properties"])
    except (AwsError, KeyError) as problem:
        reason = problem.message if isinstance(problem, AwsError) else f"Property {problem} is needed."
        code = problem.code if isinstance(problem, AwsError) else "ValidationError"
        said = f"{reason} (Service: {change.type.split('::')[1]}, Error code: {code})"
        stacks.event(context, stack, logical, change.physical_id, change.type, f"{doing}_FAILED", said)
        return Failure(logical, said)
    entry: ResourceRecord = {
        "Type": change.type,
        "PhysicalId": made.physical_id,
        "Properties": properties,
        "Attributes": made.attributes,
        **policies,
        "Status": f"{doing}_COMPLETE",
        "Time": time.time(),
    }
    stacks.record(context, name, logical, entry)
    stacks.event(context, stack, logical, made.physical_id, change.type, f"{doing}_COMPLETE")
    if altered is None:
        undo.append(lambda: _undo_creation(context, name, logical, entry, before))
        if before and change.replacement:
            replaced.append((logical, before))
    else:
        undo.append(lambda: _undo_update(context, name, logical, entry, altered))
    return None


def _roll_back(context: Context, name: str, undo: list[Callable[[], None]], failure: Failure, creating: bool) -> None:
    reason = f"The following resource(s) failed to {'create' if creating else 'update'}: [{failure.logical_id}]. "
    if failure.logical_id == name:
        reason = failure.reason
    doing = "ROLLBACK" if creating else "UPDATE_ROLLBACK"
    stacks.set_status(context, name, f"{doing}_IN_PROGRESS", f"{reason}Rollback requested by user.")
    for step in reversed(undo):
        try:
            step()
        except AwsError as problem:
            logger.warning("a step of the rollback of stack %s failed: %s", name, problem)
    stacks.set_status(context, name, f"{doing}_COMPLETE", None if not creating else reason)


def _undo_creation(
    context: Context, name: str, logical: str, entry: ResourceRecord, before: ResourceRecord | None
) -> None:
    if entry["DeletionPolicy"] != "Retain":
        _delete_resource(context, name, logical, entry)
    stacks.record(context, name, logical, before)


def _undo_update(context: Context, name: str, logical: str, entry: ResourceRecord, before: ResourceRecord) -> None:
    HANDLERS[entry["Type"]].update(context, _made(entry), before["Properties"], entry["Properties"])
    stacks.record(context, name, logical, before)


def _delete_resource(context: Context, name: str, logical: str, record: ResourceRecord) -> bool:
    """Delete one resource, with the events of it. False when that failed."""
    stack, type = stacks.find(context, name), record["Type"]
    stacks.event(context, stack, logical, record["PhysicalId"], type, "DELETE_IN_PROGRESS")
    try:
        HANDLERS[type].delete(context, _made(record), record["Properties"])
    except AwsError as problem:
        stacks.event(context, stack, logical, record["PhysicalId"], type, "DELETE_FAILED", problem.message)
        return False
    stacks.event(context, stack, logical, record["PhysicalId"], type, "DELETE_COMPLETE")
    return True


def _look_up(context: Context, name: str, logical: str, attribute: str | None) -> Any:
    return plan.attribute_of(logical, stacks.find(context, name)["_Resources"][logical], attribute)


def _outputs(scope: Scope, wanted: Wanted) -> list[Json]:
    return [
        {"OutputKey": key, "OutputValue": str(scope.resolve(output["Value"])), "Description": output.get("Description")}
        for key, output in wanted.template.get("Outputs", {}).items()
        if "Condition" not in output or scope.condition(output["Condition"])
    ]


def _made(record: ResourceRecord) -> PhysicalResource:
    return PhysicalResource(record["PhysicalId"], record["Attributes"])


def free_name(stack: str, logical: str) -> str:
    """`<stack>-<logical id>-<random>`: the physical name of a resource whose properties give none."""
    tail = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
    return f"{stack}-{logical}"[:50] + f"-{tail}"
