"""AWS::CloudWatch::Alarm."""

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register


class Alarm(Handler):
    type = "AWS::CloudWatch::Alarm"
    fixed = frozenset({"AlarmName"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        alarm = properties.get("AlarmName", name)
        call(context, "cloudwatch", "PutMetricAlarm", {**properties, "AlarmName": alarm})
        return PhysicalResource(alarm, {"Arn": context.arn("cloudwatch", f"alarm:{alarm}")})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        return self.create(context, properties, made.physical_id)

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        call_unless_gone(context, "cloudwatch", "DeleteAlarms", {"AlarmNames": [made.physical_id]})


register(Alarm())
