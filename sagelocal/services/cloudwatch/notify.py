"""What an alarm tells topics and functions when its state changes."""

import json
from collections.abc import Sequence

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.cloudwatch import alarms
from sagelocal.services.cloudwatch.documents import Alarm
from sagelocal.services.cloudwatch.evaluation import Point
from sagelocal.services.events import delivery
from sagelocal.services.events.state_events import iso
from sagelocal.services.events.targets import Target


def check(arn: str) -> None:
    """Raise ValidationError for what is no action's ARN. Actions that nothing here can run are kept, and do nothing."""
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise AwsError("ValidationError", f"Invalid arn syntax: {arn}")


@alarms.action("sns")
def publish(context: Context, arn: str, alarm: Alarm, points: Sequence[Point], now: float) -> None:
    """The JSON that CloudWatch publishes to a topic."""
    message = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": context.account,
        "NewStateValue": alarm["StateValue"],
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": iso(alarm["StateUpdatedTimestamp"]),
        "Region": context.region,
        "AlarmArn": alarm["AlarmArn"],
        "Trigger": {
            member: alarm.get(member)
            for member in ("MetricName", "Namespace", "Statistic", "Dimensions", "Period", "Threshold")
        },
    }
    wanted = delivery.Delivery(Target(arn), json.dumps(message), {"ALARM_ARN": alarm["AlarmArn"]})
    context.spawn(f"alarm {alarm['AlarmName']}", delivery.deliver, context, wanted)


@alarms.action("lambda")
def invoke(context: Context, arn: str, alarm: Alarm, points: Sequence[Point], now: float) -> None:
    """The event that CloudWatch invokes a function with.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
    """
    said = {"value": alarm["StateValue"], "reason": alarm["StateReason"]}
    event = {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": context.account,
        "time": iso(alarm["StateUpdatedTimestamp"]),
        "region": context.region,
        "alarmData": {"alarmName": alarm["AlarmName"], "state": said},
    }
    wanted = delivery.Delivery(Target(arn), json.dumps(event), {"ALARM_ARN": alarm["AlarmArn"]})
    context.spawn(f"alarm {alarm['AlarmName']}", delivery.deliver, context, wanted)
