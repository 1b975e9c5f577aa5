"""The alarms that bring the old fleet back during an update, and watch the endpoint the rest of the time."""

from __future__ import annotations

from typing import Any

from calls import Changes, Clients, contains
from deployment import VARIANT, Deployment

# Shares of requests in a minute. Invocation5XXErrors and InvocationModelErrors are 1 for a failed request and 0 for any
# other, so their average is the share. InvocationModelErrors also counts 4xx answers, which bad photos get rightly.
MAX_5XX = 0.01
MAX_MODEL_ERRORS = 0.25


def names(endpoint_name: str) -> list[str]:
    return [f"{endpoint_name}-{what}" for what in ("5xx", "model-errors", "latency")]


def reconcile_alarms(deployment: Deployment, clients: Clients, changes: Changes) -> list[str]:
    """Create the alarms or change those that differ. The names of those that are not in alarm.

    An alarm that the old fleet has already tripped would undo every update, also the one that mends it. Source:
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    wanted = _wanted(deployment)
    answer = clients.cloudwatch.describe_alarms(AlarmNames=list(wanted), AlarmTypes=["MetricAlarm"])
    present = {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    for name, alarm in wanted.items():
        if not contains(present.get(name), alarm):
            changes.call(clients.cloudwatch, "put_metric_alarm", **alarm)
    return [name for name in wanted if present.get(name, {}).get("StateValue") != "ALARM"]


def delete_alarms(alarm_names: list[str], clients: Clients, changes: Changes) -> list[str]:
    """Delete those that exist; their names."""
    answer = clients.cloudwatch.describe_alarms(AlarmNames=alarm_names, AlarmTypes=["MetricAlarm"])
    present = [alarm["AlarmName"] for alarm in answer["MetricAlarms"]]
    if present:
        changes.call(clients.cloudwatch, "delete_alarms", AlarmNames=present)
    return present


def metric_alarm(deployment: Deployment, name: str, metric: str, threshold: float, **rest: Any) -> dict[str, Any]:
    """PutMetricAlarm's arguments for a metric of the endpoint, looked at each minute."""
    return {
        "AlarmName": name,
        "Namespace": "AWS/SageMaker",
        "MetricName": metric,
        "Dimensions": [
            {"Name": "EndpointName", "Value": deployment.endpoint_name},
            {"Name": "VariantName", "Value": VARIANT},
        ],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **rest,
    }


def _wanted(deployment: Deployment) -> dict[str, dict[str, Any]]:
    errors, model_errors, latency = names(deployment.endpoint_name)
    microseconds = deployment.max_latency_milliseconds * 1000
    found = [
        metric_alarm(deployment, errors, "Invocation5XXErrors", MAX_5XX),
        metric_alarm(deployment, model_errors, "InvocationModelErrors", MAX_MODEL_ERRORS),
        metric_alarm(deployment, latency, "ModelLatency", microseconds),
    ]
    return {alarm["AlarmName"]: alarm for alarm in found}
