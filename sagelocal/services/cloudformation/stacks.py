"""Stacks in the store: the document that DescribeStacks answers, and the events of each stack.

A stack's private members: `_Template` (text), `_Texts` (parameter values), `_Resources` (logical id → record, each
after those that it depends on), `_ChangeSets`. A record has Type, PhysicalId, Properties (resolved), Attributes,
Status, Time, DeletionPolicy and UpdateReplacePolicy.
"""

import time
import uuid
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.store import Kind
from sagelocal.services.cloudformation.template import TemplateError

STACK = Kind[dict[str, Any]]("stack")
EVENTS = Kind[dict[str, Any]]("stack-events")


def find(context: Context, name_or_id: str) -> dict[str, Any]:
    """A stack by its name or ARN. Raises TemplateError (ValidationError), as AWS does."""
    name = name_or_id.split("/")[1] if name_or_id.startswith("arn:") else name_or_id
    body = context.store.get(STACK, name)
    if body is None:
        raise TemplateError(f"Stack with id {name_or_id} does not exist")
    return body


def create(context: Context, name: str, request: dict[str, Any], status: str) -> dict[str, Any]:
    """A new stack without resources."""
    body = {
        "StackName": name,
        "StackId": context.arn("cloudformation", f"stack/{name}/{uuid.uuid4()}"),
        "CreationTime": time.time(),
        "StackStatus": status,
        "DisableRollback": False,
        "NotificationARNs": [],
        "Parameters": [],
        "Capabilities": request.get("Capabilities", []),
        "Tags": request.get("Tags", []),
        "Outputs": [],
        "EnableTerminationProtection": False,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        "_Template": "",
        "_Texts": {},
        "_Resources": {},
        "_ChangeSets": {},
    }
    context.store.insert(STACK, name, body)
    context.store.put(EVENTS, name, {"Events": []})
    return body


def forget(context: Context, name: str) -> None:
    context.store.delete(STACK, name)
    context.store.delete(EVENTS, name)


def set_status(context: Context, name: str, status: str, reason: str | None = None) -> dict[str, Any]:
    """Change a stack's status and add the event of it."""
    now = time.time()
    changed: dict[str, Any] = {"StackStatus": status, "StackStatusReason": reason}
    if not status.startswith(("CREATE", "REVIEW", "ROLLBACK")):
        changed["LastUpdatedTime"] = now
    body = context.store.update(STACK, name, changed)
    event(context, body, name, body["StackId"], "AWS::CloudFormation::Stack", status, reason)
    return body


def event(
    context: Context,
    stack: dict[str, Any],
    logical: str,
    physical: str,
    type: str,
    status: str,
    reason: str | None = None,
) -> None:
    """Add one event, newest last."""
    entry = {
        "StackId": stack["StackId"],
        "StackName": stack["StackName"],
        "EventId": f"{logical}-{uuid.uuid4()}",
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": type,
        "Timestamp": time.time(),
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }
    context.store.change(EVENTS, stack["StackName"], lambda body: body["Events"].append(entry))


def events(context: Context, name: str) -> list[dict[str, Any]]:
    """A stack's events, newest first."""
    body = context.store.get(EVENTS, name) or {"Events": []}
    return list(reversed(body["Events"]))


def record(context: Context, name: str, logical: str, entry: dict[str, Any] | None) -> None:
    """Keep a resource's record, or drop it (None)."""

    def edit(body: dict[str, Any]) -> None:
        if entry is None:
            body["_Resources"].pop(logical, None)
        else:
            body["_Resources"][logical] = entry

    context.store.change(STACK, name, edit)
