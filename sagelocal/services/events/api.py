"""Amazon EventBridge: rules with patterns on the default bus, their targets, and PutEvents.

What is not here (other buses, archives, connections) is moto's, which stores and delivers nothing.
"""

import re
from typing import cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json, read
from sagelocal.core.registry import on_start, operation
from sagelocal.services.events import inputs, patterns, targets
from sagelocal.services.events.bus import bus, now
from sagelocal.services.events.documents import RULE, Rule
from sagelocal.services.events.state_events import iso

MAX_TARGETS = 5  # source: EventBridge quotas, targets per rule


@operation("events", "PutRule")
def put_rule(context: Context, request: Json) -> Json:
    """Create a rule, or replace everything of it but its targets."""
    _only_default_bus(request)
    if "ScheduleExpression" in request:
        raise ValidationException(
            "Scheduled rules are not run by the embedded SageMaker. Use EventBridge Scheduler (CreateSchedule)."
        )
    if "EventPattern" not in request:
        raise ValidationException("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    patterns.parse(request["EventPattern"])
    name = request["Name"]
    members = ("Name", "EventPattern", "Description", "RoleArn")
    known = context.store.get(RULE, name)
    body: Json = {
        **{member: request[member] for member in members if member in request},
        "Arn": context.arn("events", f"rule/{name}"),
        "State": request.get("State", "ENABLED"),
        "EventBusName": "default",
        "CreatedBy": context.account,
        "_Tags": request.get("Tags", known["_Tags"] if known else []),
        "_Targets": known["_Targets"] if known else [],
    }
    context.store.put(RULE, name, cast(Rule, body))
    bus(context).start()
    return {"RuleArn": body["Arn"]}


@operation("events", "DescribeRule")
def describe_rule(context: Context, request: Json) -> Rule:
    _only_default_bus(request)
    name = request["Rule"] if "Rule" in request else request["Name"]
    body = context.store.get(RULE, name)
    if body is None:
        raise AwsError("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.")
    return body


@operation("events", "ListRules")
def list_rules(context: Context, request: Json) -> Json:
    _only_default_bus(request)
    return {"Rules": context.store.list(RULE, request.get("NamePrefix", ""))}


@operation("events", "DeleteRule")
def delete_rule(context: Context, request: Json) -> None:
    """Deleting a rule that does not exist is no error; one with targets cannot be deleted."""
    _only_default_bus(request)
    known = context.store.get(RULE, request["Name"])
    if known and known["_Targets"]:
        raise ValidationException("Rule can't be deleted since it has targets.")
    context.store.delete(RULE, request["Name"])


@operation("events", "EnableRule")
def enable_rule(context: Context, request: Json) -> None:
    context.store.update(RULE, describe_rule(context, request)["Name"], {"State": "ENABLED"})


@operation("events", "DisableRule")
def disable_rule(context: Context, request: Json) -> None:
    context.store.update(RULE, describe_rule(context, request)["Name"], {"State": "DISABLED"})


@operation("events", "PutTargets")
def put_targets(context: Context, request: Json) -> Json:
    """Add targets; one with a known Id is replaced."""
    name = describe_rule(context, request)["Name"]
    for target in request["Targets"]:
        _check_target(target)
    new = {target["Id"]: target for target in request["Targets"]}

    def edit(body: Rule) -> None:
        merged = {target["Id"]: target for target in body["_Targets"]} | new
        if len(merged) > MAX_TARGETS:
            raise AwsError("LimitExceededException", f"A rule has at most {MAX_TARGETS} targets.")
        body["_Targets"] = list(merged.values())

    context.store.change(RULE, name, edit)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@operation("events", "ListTargetsByRule")
def list_targets_by_rule(context: Context, request: Json) -> Json:
    return {"Targets": describe_rule(context, request)["_Targets"]}


@operation("events", "RemoveTargets")
def remove_targets(context: Context, request: Json) -> Json:
    name = describe_rule(context, request)["Name"]

    def edit(body: Rule) -> None:
        body["_Targets"] = [target for target in body["_Targets"] if target["Id"] not in request["Ids"]]

    context.store.change(RULE, name, edit)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@operation("events", "PutEvents")
def put_events(context: Context, request: Json) -> Json:
    entries = [_put_event(context, entry) for entry in request["Entries"]]
    return {"FailedEntryCount": sum("ErrorCode" in entry for entry in entries), "Entries": entries}


@operation("events", "TestEventPattern")
def test_event_pattern(context: Context, request: Json) -> Json:
    pattern = patterns.parse(request["EventPattern"])
    try:
        event = read(request["Event"])
    except ValueError as problem:
        raise ValidationException(f"Parameter Event is not valid. Reason: it is not JSON: {problem}") from None
    return {"Result": patterns.matches(pattern, event)}


@on_start
def listen(context: Context) -> None:
    if context.store.list(RULE):
        bus(context).start()


def _put_event(context: Context, entry: Json) -> Json:
    for member in ("Source", "DetailType", "Detail"):
        if not entry.get(member):
            return _refused("InvalidArgument", f"Parameter {member} is not valid. Reason: {member} is required.")
    if entry["Source"].startswith("aws."):
        return _refused("NotAuthorizedForSource", "Not authorized for the source.")
    try:
        detail = read(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return _refused("MalformedDetail", "Detail is malformed.")
    time = iso(listing.seconds(entry["Time"], 0.0)) if "Time" in entry else now()
    return {"EventId": bus(context).put(entry["Source"], entry["DetailType"], entry.get("Resources", []), detail, time)}


def _refused(code: str, message: str) -> Json:
    return {"ErrorCode": code, "ErrorMessage": message}


def _check_target(target: Json) -> None:
    targets.check(target["Arn"])
    given = [member for member in ("Input", "InputPath", "InputTransformer") if member in target]
    if len(given) > 1:
        raise ValidationException(f"Only one of Input, InputPath, or InputTransformer must be provided ({given}).")
    paths = list(target.get("InputTransformer", {}).get("InputPathsMap", {}).values())
    for path in [*paths, *([target["InputPath"]] if "InputPath" in target else [])]:
        if not inputs.is_path(path):
            raise ValidationException(f"Invalid JSON path {path} in target {target['Id']}.")
    if "Input" in target:
        try:
            read(target["Input"])
        except ValueError:
            raise ValidationException(f"JSON syntax error in Input for target {target['Id']}.") from None


def _only_default_bus(request: Json) -> None:
    name = request.get("EventBusName", "default")
    if not re.search(r"(^|event-bus/)default$", name):
        raise AwsError("ResourceNotFoundException", f"Event bus {name} does not exist.")
