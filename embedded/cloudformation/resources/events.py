"""AWS::Events::Rule, AWS::Scheduler::Schedule and AWS::Scheduler::ScheduleGroup."""

import json

from embedded.cloudformation.resources.base import Handler, Made, answered, call, call_unless_gone
from embedded.context import Context


class Rule(Handler):
    type = "AWS::Events::Rule"
    fixed = frozenset({"Name", "EventBusName"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        rule = properties.get("Name", name)
        if answered("events", "PutRule"):
            request = {
                "Name": rule,
                "EventPattern": json.dumps(properties["EventPattern"]) if "EventPattern" in properties else None,
                **{m: properties[m] for m in ("Description", "State", "ScheduleExpression") if m in properties},
            }
            call(context, "events", "PutRule", request)
            if properties.get("Targets"):
                call(context, "events", "PutTargets", {"Rule": rule, "Targets": properties["Targets"]})
        return Made(rule, {"Arn": context.arn("events", f"rule/{rule}")})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        stay = {target["Id"] for target in properties.get("Targets", [])}
        gone = [target["Id"] for target in before.get("Targets", []) if target["Id"] not in stay]
        if gone and answered("events", "PutRule"):
            call(context, "events", "RemoveTargets", {"Rule": made.physical_id, "Ids": gone})
        return self.create(context, properties, made.physical_id)

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        if not answered("events", "PutRule"):
            return
        targets = [target["Id"] for target in properties.get("Targets", [])]
        if targets:
            call_unless_gone(context, "events", "RemoveTargets", {"Rule": made.physical_id, "Ids": targets})
        call_unless_gone(context, "events", "DeleteRule", {"Name": made.physical_id})


class Schedule(Handler):
    type = "AWS::Scheduler::Schedule"
    fixed = frozenset({"Name"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        schedule, group = properties.get("Name", name), properties.get("GroupName", "default")
        if answered("scheduler", "CreateSchedule"):
            call(context, "scheduler", "CreateSchedule", {**properties, "Name": schedule})
        return Made(schedule, {"Arn": context.arn("scheduler", f"schedule/{group}/{schedule}")})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        if answered("scheduler", "CreateSchedule"):
            call(context, "scheduler", "UpdateSchedule", {**properties, "Name": made.physical_id})
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        if answered("scheduler", "CreateSchedule"):
            request = {"Name": made.physical_id, "GroupName": properties.get("GroupName")}
            call_unless_gone(context, "scheduler", "DeleteSchedule", request)


class ScheduleGroup(Handler):
    type = "AWS::Scheduler::ScheduleGroup"
    fixed = frozenset({"Name"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        group = properties.get("Name", name)
        if answered("scheduler", "CreateScheduleGroup"):
            call(context, "scheduler", "CreateScheduleGroup", {"Name": group})
        return Made(group, {"Arn": context.arn("scheduler", f"schedule-group/{group}")})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        if answered("scheduler", "CreateScheduleGroup"):
            call_unless_gone(context, "scheduler", "DeleteScheduleGroup", {"Name": made.physical_id})


HANDLERS = (Rule(), ScheduleGroup(), Schedule())
