"""AWS CloudFormation: change sets and stacks. Resources are made in the background, as on AWS."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from sagelocal.core import patterns
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.core.store import AlreadyExists
from sagelocal.services.cloudformation import deploy, parameters, plan, stacks, template
from sagelocal.services.cloudformation.documents import STACK, Stack
from sagelocal.services.cloudformation.plan import Change, Wanted
from sagelocal.services.cloudformation.stacks import find
from sagelocal.services.cloudformation.template import TemplateError

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
NAMED_IAM = ("AWS::IAM::Role", "AWS::IAM::InstanceProfile")
UNUSABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED")


@operation("cloudformation", "ValidateTemplate")
def validate_template(context: Context, request: Json) -> Json:
    loaded = template.load(_text(request))
    declared = loaded.get("Parameters", {})
    return {
        "Description": loaded.get("Description"),
        "Parameters": [
            {"ParameterKey": n, "DefaultValue": str(body.get("Default", "")), "Description": body.get("Description")}
            for n, body in declared.items()
        ],
        "Capabilities": _capabilities(loaded),
    }


@operation("cloudformation", "CreateChangeSet")
def create_change_set(context: Context, request: Json) -> Json:
    """Complete at once; FAILED when nothing would change, as on AWS."""
    name, kind = request["StackName"], request.get("ChangeSetType", "UPDATE")
    known = context.store.get(STACK, name.split("/")[1] if name.startswith("arn:") else name)
    if kind == "CREATE" and known and known["StackStatus"] != "REVIEW_IN_PROGRESS":
        raise TemplateError(f"Stack [{name}] already exists and cannot be created again with the changeSet [CREATE].")
    if kind == "UPDATE":
        _check_updatable(find(context, name))
    stack = known or stacks.new(context, name, request, "REVIEW_IN_PROGRESS")
    wanted = _wanted(context, stack, request)
    changes = [c for c in plan.changes(context, stack, wanted, stack["_Resources"]) if c.action != "Keep"]
    if known is None:
        stacks.keep(context, stack)
    change_set: Json = {
        "ChangeSetName": request["ChangeSetName"],
        "ChangeSetId": context.arn("cloudformation", f"changeSet/{request['ChangeSetName']}/{uuid.uuid4()}"),
        "StackId": stack["StackId"],
        "StackName": stack["StackName"],
        "Description": request.get("Description"),
        "Parameters": [{"ParameterKey": n, "ParameterValue": text} for n, text in wanted.texts.items()],
        "CreationTime": time.time(),
        "ExecutionStatus": "AVAILABLE",
        "Status": "CREATE_COMPLETE",
        "Capabilities": request.get("Capabilities", []),
        "Tags": request.get("Tags", []),
        "Changes": [_shown(change) for change in changes],
        "_Kind": kind,
        "_Template": wanted.text,
        "_Texts": wanted.texts,
    }
    if not changes and _outputs_stay(stack, wanted):
        change_set.update({"ExecutionStatus": "UNAVAILABLE", "Status": "FAILED", "StatusReason": NO_CHANGES})
    context.store.change(
        STACK, stack["StackName"], lambda b: b["_ChangeSets"].update({request["ChangeSetName"]: change_set})
    )
    return {"Id": change_set["ChangeSetId"], "StackId": stack["StackId"]}


@operation("cloudformation", "DescribeChangeSet")
def describe_change_set(context: Context, request: Json) -> Json:
    name = request["ChangeSetName"]
    if name.startswith("arn:"):
        found = [
            c for stack in context.store.list(STACK) for c in stack["_ChangeSets"].values() if c["ChangeSetId"] == name
        ]
    else:
        found = [c for key, c in find(context, request["StackName"])["_ChangeSets"].items() if key == name]
    if not found:
        raise AwsError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)
    return found[0]


@operation("cloudformation", "ListChangeSets")
def list_change_sets(context: Context, request: Json) -> Json:
    return {"Summaries": list(find(context, request["StackName"])["_ChangeSets"].values())}


@operation("cloudformation", "DeleteChangeSet")
def delete_change_set(context: Context, request: Json) -> None:
    change_set = describe_change_set(context, request)
    name = change_set["ChangeSetName"]
    context.store.change(STACK, change_set["StackName"], lambda body: body["_ChangeSets"].pop(name, None))


@operation("cloudformation", "ExecuteChangeSet")
def execute_change_set(context: Context, request: Json) -> None:
    change_set = describe_change_set(context, request)
    if change_set["ExecutionStatus"] != "AVAILABLE":
        raise AwsError(
            "InvalidChangeSetStatus",
            f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of "
            f"[{change_set['Status']}]",
        )
    name = change_set["StackName"]
    stack = find(context, name)
    wanted = plan.want(context, stack, change_set["_Template"], change_set["_Texts"])
    _begin(context, stack, wanted, change_set["_Kind"] == "CREATE", change_set)


@operation("cloudformation", "CreateStack")
def create_stack(context: Context, request: Json) -> Json:
    name = request["StackName"]
    stack = stacks.new(context, name, request, "REVIEW_IN_PROGRESS")
    wanted = _wanted(context, stack, request)
    try:
        stacks.keep(context, stack)
    except AlreadyExists:
        raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists") from None
    _begin(context, stack, wanted, True, request)
    return {"StackId": stack["StackId"]}


@operation("cloudformation", "UpdateStack")
def update_stack(context: Context, request: Json) -> Json:
    stack = find(context, request["StackName"])
    _check_updatable(stack)
    wanted = _wanted(context, stack, request)
    changes = plan.changes(context, stack, wanted, stack["_Resources"])
    if all(change.action == "Keep" for change in changes) and _outputs_stay(stack, wanted):
        raise TemplateError("No updates are to be performed.")
    _begin(context, stack, wanted, False, request)
    return {"StackId": stack["StackId"]}


@operation("cloudformation", "DeleteStack")
def delete_stack(context: Context, request: Json) -> None:
    """Deleting a stack that does not exist is no error."""
    try:
        stack = find(context, request["StackName"])
    except TemplateError:
        return
    _check_idle(stack)
    name, retain = stack["StackName"], request.get("RetainResources", [])
    context.store.update(STACK, name, {"StackStatus": "DELETE_IN_PROGRESS"})
    context.spawn(f"delete stack {name}", deploy.delete, context, name, retain)


@operation("cloudformation", "DescribeStacks")
def describe_stacks(context: Context, request: Json) -> Json:
    found = [find(context, request["StackName"])] if "StackName" in request else context.store.list(STACK)
    return {"Stacks": found}


@operation("cloudformation", "ListStacks")
def list_stacks(context: Context, request: Json) -> Json:
    wanted = request.get("StackStatusFilter")
    found = [stack for stack in context.store.list(STACK) if not wanted or stack["StackStatus"] in wanted]
    return {"StackSummaries": found}


@operation("cloudformation", "DescribeStackEvents")
def describe_stack_events(context: Context, request: Json) -> Json:
    return {"StackEvents": stacks.events(context, find(context, request["StackName"])["StackName"])}


@operation("cloudformation", "DescribeStackResources")
def describe_stack_resources(context: Context, request: Json) -> Json:
    wanted = request.get("LogicalResourceId")
    resources = _resources(find(context, request["StackName"]))
    return {"StackResources": [r for r in resources if wanted in (None, r["LogicalResourceId"])]}


@operation("cloudformation", "ListStackResources")
def list_stack_resources(context: Context, request: Json) -> Json:
    return {"StackResourceSummaries": _resources(find(context, request["StackName"]))}


@operation("cloudformation", "GetTemplate")
def get_template(context: Context, request: Json) -> Json:
    return {"TemplateBody": find(context, request["StackName"])["_Template"], "StagesAvailable": ["Original"]}


@on_start
def settle(context: Context) -> None:
    """What a killed server left half done: a creation is undone, an update stays where it is, a deletion goes on."""
    reason = "The embedded SageMaker stopped while the stack was being worked on."
    for stack in context.store.list(STACK):
        name, status = stack["StackName"], stack["StackStatus"]
        if status in ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
            deploy.roll_back_creation(context, name, reason)
        elif status == "DELETE_IN_PROGRESS":
            deploy.delete(context, name, [])
        elif status.startswith("UPDATE_") and status.endswith("_IN_PROGRESS"):
            stacks.set_status(context, name, "UPDATE_ROLLBACK_COMPLETE", reason)


def _begin(context: Context, stack: Stack, wanted: Wanted, creating: bool, request: Mapping[str, Any]) -> None:
    """Start the work. The status changes now, so that who asks next sees a stack in progress."""
    _check_idle(stack)
    name = stack["StackName"]
    status = f"{'CREATE' if creating else 'UPDATE'}_IN_PROGRESS"
    changed = {"StackStatus": status, "Capabilities": request.get("Capabilities", []), "_ChangeSets": {}}
    if request.get("Tags"):
        changed["Tags"] = request["Tags"]
    context.store.update(STACK, name, changed)
    context.spawn(f"stack {name}", deploy.run, context, name, wanted, creating)


def _wanted(context: Context, stack: Stack, request: Json) -> Wanted:
    text = stack["_Template"] if request.get("UsePreviousTemplate") else _text(request)
    loaded = template.load(text)
    declared, given = loaded.get("Parameters", {}), request.get("Parameters", [])
    texts = parameters.values(declared, given, stack["_Texts"], patterns.worker(context))
    missing = [c for c in _capabilities(loaded) if c not in request.get("Capabilities", [])]
    if missing:
        raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]")
    return plan.want(context, stack, text, texts)


def _text(request: Json) -> str:
    if "TemplateBody" not in request:
        raise TemplateError("The embedded CloudFormation takes a template as TemplateBody only.")
    return str(request["TemplateBody"])


def _capabilities(loaded: Json) -> list[str]:
    named = any(resource["Type"] in NAMED_IAM for resource in loaded["Resources"].values())
    return ["CAPABILITY_NAMED_IAM"] if named else []


def _check_updatable(stack: Stack) -> None:
    _check_idle(stack)
    if stack["StackStatus"] in UNUSABLE or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
        raise TemplateError(f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated.")


def _check_idle(stack: Stack) -> None:
    status = stack["StackStatus"]
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        raise TemplateError(f"Stack:{stack['StackId']} is in {status} state and can not be updated.")


def _outputs_stay(stack: Stack, wanted: Wanted) -> bool:
    """Whether a template without changes of resources leaves the outputs too; a new stack has none to leave."""
    if not stack["_Template"]:
        return False
    return template.load(stack["_Template"]).get("Outputs") == wanted.template.get("Outputs")


def _shown(change: Change) -> Json:
    detail: Json = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "PhysicalResourceId": change.physical_id or None,
        "ResourceType": change.type,
    }
    if change.action == "Modify":
        detail["Replacement"] = "True" if change.replacement else "False"
        detail["Scope"] = ["Properties"]
        detail["Details"] = [
            {"Target": {"Attribute": "Properties", "Name": name}, "Evaluation": "Static"} for name in change.properties
        ]
    return {"Type": "Resource", "ResourceChange": detail}


def _resources(stack: Stack) -> list[Json]:
    return [
        {
            "StackName": stack["StackName"],
            "StackId": stack["StackId"],
            "LogicalResourceId": logical,
            "PhysicalResourceId": record["PhysicalId"],
            "ResourceType": record["Type"],
            "Timestamp": record["Time"],
            "LastUpdatedTimestamp": record["Time"],
            "ResourceStatus": record["Status"],
        }
        for logical, record in stack["_Resources"].items()
    ]
