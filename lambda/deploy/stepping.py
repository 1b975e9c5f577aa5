"""Step scaling, the alternative to target tracking: more instances the further the load is over the target."""

from __future__ import annotations

from typing import Any

from alarms import delete_alarms, metric_alarm
from calls import Changes, Clients, contains
from deployment import Deployment

# As target tracking does it: out after three minutes over the target, in after fifteen well below it.
MINUTES_OUT, MINUTES_IN = 3, 15
LOW = 0.5


def names(endpoint_name: str) -> list[str]:
    """Of the policies and of the alarms that set them off: out, in."""
    return [f"{endpoint_name}-scale-out", f"{endpoint_name}-scale-in"]


def reconcile_steps(
    deployment: Deployment,
    variant: dict[str, str],
    present: dict[str, dict[str, Any]],
    clients: Clients,
    changes: Changes,
) -> None:
    """A policy and an alarm for each direction. `present`: the variant's policies by name."""
    out, back = names(deployment.endpoint_name)
    starts = [step.above for step in deployment.scaling_steps]
    adjustments: list[dict[str, Any]] = [
        {"MetricIntervalLowerBound": step.above, "ScalingAdjustment": step.add} for step in deployment.scaling_steps
    ]
    for adjustment, end in zip(adjustments, starts[1:], strict=False):
        adjustment["MetricIntervalUpperBound"] = end
    removal = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}]
    target = deployment.target_invocations_per_instance
    # Without requests there is no metric: that is no reason to scale out, but one to scale in.
    alarms = {
        out: metric_alarm(
            deployment, out, "InvocationsPerInstance", target, Statistic="Sum", EvaluationPeriods=MINUTES_OUT
        ),
        back: metric_alarm(
            deployment,
            back,
            "InvocationsPerInstance",
            target * LOW,
            Statistic="Sum",
            EvaluationPeriods=MINUTES_IN,
            ComparisonOperator="LessThanThreshold",
            TreatMissingData="breaching",
        ),
    }
    answer = clients.cloudwatch.describe_alarms(AlarmNames=list(alarms), AlarmTypes=["MetricAlarm"])
    there = {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    for name, steps, cooldown in (
        (out, adjustments, deployment.scale_out_cooldown),
        (back, removal, deployment.scale_in_cooldown),
    ):
        wanted = {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": steps,
            "Cooldown": cooldown,
            "MetricAggregationType": "Average",
        }
        arn = present.get(name, {}).get("PolicyARN", "")
        if not contains(present.get(name, {}).get("StepScalingPolicyConfiguration"), wanted):
            arn = changes.call(
                clients.autoscaling,
                "put_scaling_policy",
                PolicyName=name,
                PolicyType="StepScaling",
                StepScalingPolicyConfiguration=wanted,
                **variant,
            )["PolicyARN"]
        alarm = alarms[name] | {"AlarmActions": [arn]}
        if not contains(there.get(name), alarm):
            changes.call(clients.cloudwatch, "put_metric_alarm", **alarm)


def remove(
    endpoint_name: str,
    variant: dict[str, str],
    present: dict[str, dict[str, Any]],
    clients: Clients,
    changes: Changes,
) -> None:
    """Take both away where they were; alarms first, since the policies are what tells that they are there."""
    policies = [name for name in names(endpoint_name) if name in present]
    if policies:
        delete_alarms(names(endpoint_name), clients, changes)
    for name in policies:
        changes.call(clients.autoscaling, "delete_scaling_policy", PolicyName=name, **variant)
