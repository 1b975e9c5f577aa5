"""Amazon EventBridge Scheduler: schedules that fire, and their groups. They are fired in loop.py."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ConflictException, ValidationException
from sagelocal.core.json import Json, read
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.core.store import AlreadyExists
from sagelocal.services.events import targets
from sagelocal.services.scheduler import expressions
from sagelocal.services.scheduler.documents import GROUP, SCHEDULE, Schedule, ScheduleGroup
from sagelocal.services.scheduler.loop import loop

DEFAULT_GROUP = "default"
SETTINGS = ("Description", "Target", "FlexibleTimeWindow", "KmsKeyArn", "ActionAfterCompletion")
SUMMARY = ("Arn", "Name", "GroupName", "State", "CreationDate", "LastModificationDate")


@operation("scheduler", "CreateSchedule")
def create_schedule(context: Context, request: Json) -> Json:
    group, name = request.get("GroupName", DEFAULT_GROUP), request["Name"]
    _group(context, group)
    now = time.time()
    body = _body(context, request, group, now)
    try:
        context.store.insert(SCHEDULE, f"{group}/{name}", body)
    except AlreadyExists:
        known = context.store.get(SCHEDULE, f"{group}/{name}")
        if known and body["_ClientToken"] and known["_ClientToken"] == body["_ClientToken"]:
            return {"ScheduleArn": known["Arn"]}
        raise ConflictException(f"Schedule {name} already exists.") from None
    loop(context).changed(f"{group}/{name}", expressions.just_before(now))  # a rate without a start date fires at once
    return {"ScheduleArn": body["Arn"]}


@operation("scheduler", "UpdateSchedule")
def update_schedule(context: Context, request: Json) -> Json:
    """Replaces the whole schedule: what is left out goes back to its default. A rate keeps its beat."""
    known = get_schedule(context, request)
    body = _body(context, request, known["GroupName"], known["CreationDate"])
    name = f"{known['GroupName']}/{known['Name']}"
    context.store.put(SCHEDULE, name, body)
    loop(context).changed(name, time.time())
    return {"ScheduleArn": body["Arn"]}


@operation("scheduler", "GetSchedule")
def get_schedule(context: Context, request: Json) -> Schedule:
    name = f"{request.get('GroupName', DEFAULT_GROUP)}/{request['Name']}"
    body = context.store.get(SCHEDULE, name)
    if body is None:
        raise AwsError("ResourceNotFoundException", f"Schedule {request['Name']} does not exist.", 404)
    return body


@operation("scheduler", "DeleteSchedule")
def delete_schedule(context: Context, request: Json) -> None:
    body = get_schedule(context, request)
    name = f"{body['GroupName']}/{body['Name']}"
    context.store.delete(SCHEDULE, name)
    loop(context).changed(name, time.time())


@operation("scheduler", "ListSchedules")
def list_schedules(context: Context, request: Json) -> Json:
    group = request.get("GroupName")
    found = [
        {**listing.members(SUMMARY)(body), "Target": {"Arn": body["Target"]["Arn"]}}
        for body in context.store.list(SCHEDULE, f"{group}/" if group else "")
        if body["Name"].startswith(request.get("NamePrefix", ""))
        and body["State"] == request.get("State", body["State"])
    ]
    return _page(found, request, "Schedules")


@operation("scheduler", "CreateScheduleGroup")
def create_schedule_group(context: Context, request: Json) -> Json:
    name, now = request["Name"], time.time()
    arn = context.arn("scheduler", f"schedule-group/{name}")
    body: ScheduleGroup = {
        "Arn": arn,
        "Name": name,
        "State": "ACTIVE",
        "CreationDate": now,
        "LastModificationDate": now,
    }
    try:
        if name == DEFAULT_GROUP:
            raise AlreadyExists
        context.store.insert(GROUP, name, body)
    except AlreadyExists:
        raise ConflictException(f"Schedule group {name} already exists.") from None
    return {"ScheduleGroupArn": arn}


@operation("scheduler", "GetScheduleGroup")
def get_schedule_group(context: Context, request: Json) -> ScheduleGroup:
    return _group(context, request["Name"])


@operation("scheduler", "ListScheduleGroups")
def list_schedule_groups(context: Context, request: Json) -> Json:
    groups = [_group(context, DEFAULT_GROUP), *context.store.list(GROUP)]
    return _page([g for g in groups if g["Name"].startswith(request.get("NamePrefix", ""))], request, "ScheduleGroups")


@operation("scheduler", "DeleteScheduleGroup")
def delete_schedule_group(context: Context, request: Json) -> None:
    """Deletes the group's schedules with it."""
    name = request["Name"]
    _group(context, name)
    if name == DEFAULT_GROUP:
        raise ValidationException("The default schedule group cannot be deleted.")
    for body in context.store.list(SCHEDULE, f"{name}/"):
        context.as_service().call("scheduler", "DeleteSchedule", Name=body["Name"], GroupName=name)
    context.store.delete(GROUP, name)


@on_start
def fire_again(context: Context) -> None:
    now = time.time()
    for body in context.store.list(SCHEDULE):
        loop(context).take_up(f"{body['GroupName']}/{body['Name']}", body, now)


@on_stop
def stop_firing(context: Context) -> None:
    loop(context).wake()


def _body(context: Context, request: Json, group: str, created: float) -> Schedule:
    """A schedule's document from a request. Raises ValidationException for what could never fire."""
    zone = request.get("ScheduleExpressionTimezone", "UTC")
    try:
        expressions.parse(request["ScheduleExpression"])
        expressions.zone(zone)
    except expressions.ExpressionError as problem:
        raise ValidationException(f"Invalid Schedule Expression {request['ScheduleExpression']}. {problem}") from None
    _check_target(request["Target"])
    body = {member: request[member] for member in SETTINGS if member in request} | {
        "Arn": context.arn("scheduler", f"schedule/{group}/{request['Name']}"),
        "Name": request["Name"],
        "GroupName": group,
        "ScheduleExpression": request["ScheduleExpression"],
        "ScheduleExpressionTimezone": zone,
        "State": request.get("State", "ENABLED"),
        "CreationDate": created,
        "LastModificationDate": time.time(),
        "_ClientToken": request.get("ClientToken"),
    }
    for member in ("StartDate", "EndDate"):
        if request.get(member) is not None:
            body[member] = listing.seconds(request[member], 0.0)
    if body.get("EndDate", float("inf")) <= body.get("StartDate", 0.0):
        raise ValidationException("The EndDate must be after the StartDate.")
    return cast(Schedule, body)


def _check_target(target: Json) -> None:
    targets.check(target["Arn"])
    if target["Arn"].split(":")[2] == "lambda" and "Input" in target:
        try:
            read(target["Input"])
        except ValueError as problem:
            raise ValidationException(f"Target.Input is not JSON: {problem}") from None


def _group(context: Context, name: str) -> ScheduleGroup:
    body = context.store.get(GROUP, name)
    if body is None and name == DEFAULT_GROUP:
        return {"Arn": context.arn("scheduler", f"schedule-group/{name}"), "Name": name, "State": "ACTIVE"}
    if body is None:
        raise AwsError("ResourceNotFoundException", f"Schedule group {name} does not exist.", 404)
    return body


def _page(found: Sequence[Mapping[str, Any]], request: Json, member: str) -> Json:
    token = request.get("NextToken", "0")
    if not is_whole(token):
        raise ValidationException(f"Invalid NextToken: {token}")
    first = int(token)
    last = first + request.get("MaxResults", 100)
    return {member: found[first:last], **({"NextToken": str(last)} if last < len(found) else {})}
