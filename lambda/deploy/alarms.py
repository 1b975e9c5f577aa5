"""The alarms that bring the old fleet back during an update, and watch the endpoint the rest of the time."""

from __future__ import annotations

from typing import Any

from calls import Calls, contains
from deployment import VARIANT, Deployment

from contract.deployment import alarm_names

# Shares of requests in a minute. Invocation5XXErrors and InvocationModelErrors are 1 for a failed request and 0 for any
# other, so their average is the share. InvocationModelErrors also counts 4xx answers, which bad photos get rightly.
MAX_5XX = 0.01
MAX_MODEL_ERRORS = 0.25


def reconcile_alarms(deployment: Deployment, calls: Calls) -> list[str]:
    """Create the alarms or change those that differ. The names of those that are not in alarm.

    An alarm that the old fleet has already tripped would undo every update, also the one that mends it. Source:
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    wanted = _wanted(deployment)
    answer = calls.clients.cloudwatch.describe_alarms(AlarmNames=list(wanted), AlarmTypes=["MetricAlarm"])
    present = {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    for name, alarm in wanted.items():
        if not contains(present.get(name), alarm):
            calls.change("cloudwatch", "put_metric_alarm", **alarm)
    return [name for name in wanted if present.get(name, {}).get("StateValue") != "ALARM"]


def delete_alarms(endpoint_name: str, calls: Calls) -> list[str]:
    """Delete those that exist; their names."""
    names = alarm_names(endpoint_name)
    answer = calls.clients.cloudwatch.describe_alarms(AlarmNames=names, AlarmTypes=["MetricAlarm"])
    present = [alarm["AlarmName"] for alarm in answer["MetricAlarms"]]
    if present:
        calls.change("cloudwatch", "delete_alarms", AlarmNames=present)
    return present


def _wanted(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """PutMetricAlarm's arguments by name: metrics of the endpoint, looked at each minute."""
    errors, model_errors, latency = alarm_names(deployment.endpoint_name)
    limits = {
        errors: ("Invocation5XXErrors", MAX_5XX),
        model_errors: ("InvocationModelErrors", MAX_MODEL_ERRORS),
        latency: ("ModelLatency", deployment.max_latency_milliseconds * 1000),  # in microseconds
    }
    shared = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [
            {"Name": "EndpointName", "Value": deployment.endpoint_name},
            {"Name": "VariantName", "Value": VARIANT},
        ],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    return {
        name: {"AlarmName": name, "MetricName": metric, "Threshold": threshold, **shared}
        for name, (metric, threshold) in limits.items()
    }
