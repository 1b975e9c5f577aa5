"""AWS::CloudWatch::Alarm."""

from embedded.cloudformation.resources.base import Handler, Made, call, call_unless_gone
from embedded.context import Context


class Alarm(Handler):
    type = "AWS::CloudWatch::Alarm"
    fixed = frozenset({"AlarmName"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        alarm = properties.get("AlarmName", name)
        call(context, "cloudwatch", "PutMetricAlarm", {**properties, "AlarmName": alarm})
        return Made(alarm, {"Arn": context.arn("cloudwatch", f"alarm:{alarm}")})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return self.create(context, properties, made.physical_id)

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        call_unless_gone(context, "cloudwatch", "DeleteAlarms", {"AlarmNames": [made.physical_id]})


HANDLERS = (Alarm(),)
