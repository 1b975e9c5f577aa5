"""AWS::Events::Rule, AWS::Scheduler::Schedule and AWS::Scheduler::ScheduleGroup."""

import json

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register


class Rule(Handler):
    type = "AWS::Events::Rule"
    fixed = frozenset({"Name", "EventBusName"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        rule = properties.get("Name", name)
        request: Json = {
            "Name": rule,
            "EventPattern": json.dumps(properties["EventPattern"]) if "EventPattern" in properties else None,
            **{m: properties[m] for m in ("Description", "State", "ScheduleExpression") if m in properties},
        }
        call(context, "events", "PutRule", request)
        if properties.get("Targets"):
            call(context, "events", "PutTargets", {"Rule": rule, "Targets": properties["Targets"]})
        return PhysicalResource(rule, {"Arn": context.arn("events", f"rule/{rule}")})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        stay = {target["Id"] for target in properties.get("Targets", [])}
        gone = [target["Id"] for target in before.get("Targets", []) if target["Id"] not in stay]
        if gone:
            call(context, "events", "RemoveTargets", {"Rule": made.physical_id, "Ids": gone})
        return self.create(context, properties, made.physical_id)

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        targets = [target["Id"] for target in properties.get("Targets", [])]
        if targets:
            call_unless_gone(context, "events", "RemoveTargets", {"Rule": made.physical_id, "Ids": targets})
        call_unless_gone(context, "events", "DeleteRule", {"Name": made.physical_id})


class Schedule(Handler):
    type = "AWS::Scheduler::Schedule"
    fixed = frozenset({"Name"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        schedule, group = properties.get("Name", name), properties.get("GroupName", "default")
        call(context, "scheduler", "CreateSchedule", {**properties, "Name": schedule})
        return PhysicalResource(schedule, {"Arn": context.arn("scheduler", f"schedule/{group}/{schedule}")})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        call(context, "scheduler", "UpdateSchedule", {**properties, "Name": made.physical_id})
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        request = {"Name": made.physical_id, "GroupName": properties.get("GroupName")}
        call_unless_gone(context, "scheduler", "DeleteSchedule", request)


class ScheduleGroup(Handler):
    type = "AWS::Scheduler::ScheduleGroup"
    fixed = frozenset({"Name"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        group = properties.get("Name", name)
        call(context, "scheduler", "CreateScheduleGroup", {"Name": group})
        return PhysicalResource(group, {"Arn": context.arn("scheduler", f"schedule-group/{group}")})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        call_unless_gone(context, "scheduler", "DeleteScheduleGroup", {"Name": made.physical_id})


register(Rule(), ScheduleGroup(), Schedule())
