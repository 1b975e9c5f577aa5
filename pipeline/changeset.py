"""One CloudFormation change set: made, shown, executed, watched to its end."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipeline import hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError

FIRST_POLL, LONGEST_POLL, GROWTH = 0.02, 5.0, 1.4  # seconds
NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")

Watch = Callable[[dict[str, Any]], None]  # called with each stack event as it comes


@dataclass(frozen=True)
class Change:
    """What happens to one resource. `replaced`: True, False or Conditional, as CloudFormation puts it."""

    action: str
    logical_id: str
    type: str
    replaced: str
    properties: tuple[str, ...]


@dataclass(frozen=True)
class ChangeSet:
    stack: str
    arn: str
    creating: bool
    changes: tuple[Change, ...]


def stack(cloud: Cloud, name: str) -> dict[str, Any] | None:
    """DescribeStacks for one stack; None when there is none."""
    try:
        return cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def create(
    cloud: Cloud, name: str, template: str, parameters: Mapping[str, str], *, creating: bool
) -> ChangeSet | None:
    """A change set that can be executed; None when nothing would change. Raises UserError for a refused one."""
    client = cloud.client("cloudformation")
    try:
        arn = client.create_change_set(
            StackName=name,
            ChangeSetName=f"{name}-{int(time.time() * 1000)}",
            ChangeSetType="CREATE" if creating else "UPDATE",
            TemplateBody=template,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": "Project", "Value": cloud.settings.project}],
        )["Id"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        said = error.response["Error"]["Message"]
        raise UserError(f"CloudFormation refuses the template: {said}", _way_out(said)) from None
    for _ in _pauses():
        described = client.describe_change_set(ChangeSetName=arn)
        if described["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
    if described["Status"] == "CREATE_COMPLETE":
        return ChangeSet(name, arn, creating, tuple(_changes(client, arn)))
    discard(cloud, ChangeSet(name, arn, creating, ()))
    reason = described.get("StatusReason", "no reason given")
    if any(words in reason for words in NOTHING_TO_DO):
        return None
    raise UserError(f"CloudFormation made no change set: {reason}", _way_out(reason))


def discard(cloud: Cloud, change_set: ChangeSet) -> None:
    """Delete a change set that will not be executed, and the empty stack that came with one that creates."""
    client = cloud.client("cloudformation")
    client.delete_change_set(ChangeSetName=change_set.arn)
    if change_set.creating:
        client.delete_stack(StackName=change_set.stack)


def execute(cloud: Cloud, change_set: ChangeSet, watch: Watch) -> None:
    """Execute and wait. Raises UserError that names the resource which failed, and why."""
    client = cloud.client("cloudformation")
    seen = {event["EventId"] for event in _events(cloud, change_set.stack)}
    client.execute_change_set(ChangeSetName=change_set.arn)
    failed = follow(cloud, change_set.stack, seen, watch)
    if failed is None:
        return
    status, first = failed
    way_out = "Mend that and deploy again: everything is as it was before."
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
        way_out = f"Mend that, then {hints.DESTROY_BUT_DATA} (removes the failed stack), then {hints.DEPLOY_INFRA}"
    raise UserError(f"Stack {change_set.stack} is {status}. {first}", way_out)


def follow(cloud: Cloud, name: str, seen: set[str], watch: Watch) -> tuple[str, str] | None:
    """Watch a stack until it rests; None when all went well, else (status, what failed first and why)."""
    first = ""
    status = ""
    for _ in _pauses():
        present = stack(cloud, name)
        for event in reversed(_events(cloud, name) if present else []):
            if event["EventId"] not in seen:
                seen.add(event["EventId"])
                watch(event)
                first = first or _failure(event)
        status = present["StackStatus"] if present else "DELETE_COMPLETE"
        if not status.endswith("_IN_PROGRESS"):
            break
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
        return None
    return status, first or (present or {}).get("StackStatusReason", "CloudFormation gives no reason.")


def _failure(event: dict[str, Any]) -> str:
    reason = event.get("ResourceStatusReason", "")
    if not event["ResourceStatus"].endswith("_FAILED") or "cancelled" in reason.lower():
        return ""
    return f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"


def _events(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    """The newest page of events, newest first: more than a look at a time ever brings."""
    try:
        return cloud.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return []
        raise


def _changes(client: Any, arn: str) -> Iterator[Change]:
    for page in client.get_paginator("describe_change_set").paginate(ChangeSetName=arn):
        for entry in page["Changes"]:
            change = entry["ResourceChange"]
            names = {detail["Target"].get("Name", "") for detail in change.get("Details", [])}
            yield Change(
                change["Action"],
                change["LogicalResourceId"],
                change["ResourceType"],
                change.get("Replacement", ""),
                tuple(sorted(names - {""})),
            )


def _pauses() -> Iterator[None]:
    """Moments to look again, further and further apart."""
    pause = FIRST_POLL
    while True:
        yield
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_POLL)


def _way_out(said: str) -> str:
    if "do not exist in the template" in said:
        return "infra/template.yaml lists its parameters at the top."
    if "already exist" in said.lower():
        return "Delete what is in the way, or choose another PAWLINE_PROJECT."
    return "Check the parameters that you gave and your permissions (docs/aws.md)."
