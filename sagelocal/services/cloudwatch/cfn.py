"""AWS::CloudWatch::Alarm."""

from typing import Any

from sagelocal.core.context import Context
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register


class Alarm(Handler):
    type = "AWS::CloudWatch::Alarm"
    fixed = frozenset({"AlarmName"})

    def create(self, context: Context, properties: dict[str, Any], name: str) -> PhysicalResource:
        alarm = properties.get("AlarmName", name)
        call(context, "cloudwatch", "PutMetricAlarm", {**properties, "AlarmName": alarm})
        return PhysicalResource(alarm, {"Arn": context.arn("cloudwatch", f"alarm:{alarm}")})

    def update(
        self, context: Context, made: PhysicalResource, properties: dict[str, Any], before: dict[str, Any]
    ) -> PhysicalResource:
        return self.create(context, properties, made.physical_id)

    def delete(self, context: Context, made: PhysicalResource, properties: dict[str, Any]) -> None:
        call_unless_gone(context, "cloudwatch", "DeleteAlarms", {"AlarmNames": [made.physical_id]})


register(Alarm())
