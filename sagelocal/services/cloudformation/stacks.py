"""Stacks in the store, and the events of each stack."""

import time
import uuid

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.documents import EVENTS, STACK, ResourceRecord, Stack
from sagelocal.services.cloudformation.template import TemplateError


def find(context: Context, name_or_id: str) -> Stack:
    """A stack by its name or ARN. Raises TemplateError (ValidationError), as AWS does."""
    name = name_or_id.split("/")[1] if name_or_id.startswith("arn:") else name_or_id
    body = context.store.get(STACK, name)
    if body is None:
        raise TemplateError(f"Stack with id {name_or_id} does not exist")
    return body


def new(context: Context, name: str, request: Json, status: str) -> Stack:
    """A stack without resources, which is not kept yet."""
    return {
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


def keep(context: Context, stack: Stack) -> None:
    """Raises AlreadyExists when the name is taken."""
    with context.store.transaction():
        context.store.insert(STACK, stack["StackName"], stack)
        context.store.put(EVENTS, stack["StackName"], {"Events": []})


def forget(context: Context, name: str) -> None:
    with context.store.transaction():
        context.store.delete(STACK, name)
        context.store.delete(EVENTS, name)


def set_status(context: Context, name: str, status: str, reason: str | None = None) -> Stack:
    """Change a stack's status and add the event of it."""
    now = time.time()
    changed: Json = {"StackStatus": status, "StackStatusReason": reason}
    if not status.startswith(("CREATE", "REVIEW", "ROLLBACK")):
        changed["LastUpdatedTime"] = now
    with context.store.transaction():
        body = context.store.update(STACK, name, changed)
        event(context, body, name, body["StackId"], "AWS::CloudFormation::Stack", status, reason)
    return body


def event(
    context: Context, stack: Stack, logical: str, physical: str, type: str, status: str, reason: str | None = None
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


def events(context: Context, name: str) -> list[Json]:
    """A stack's events, newest first."""
    body = context.store.get(EVENTS, name)
    return body["Events"][::-1] if body else []


def record(context: Context, name: str, logical: str, entry: ResourceRecord | None) -> None:
    """Keep a resource's record, or drop it (None)."""

    def edit(body: Stack) -> None:
        if entry is None:
            body["_Resources"].pop(logical, None)
        else:
            body["_Resources"][logical] = entry

    context.store.change(STACK, name, edit)
