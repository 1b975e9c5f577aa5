"""Target tracking: the two alarms of a policy, and the count that they ask for.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking.html
"""

import math
import uuid
from typing import TYPE_CHECKING, Final

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.services.autoscaling import targets
from sagelocal.services.autoscaling.documents import ScalingPolicy
from sagelocal.services.cloudwatch import alarms
from sagelocal.services.cloudwatch.documents import METRIC_ALARM

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.type_defs import AlarmTypeDef

CONFIGURATION: Final = "TargetTrackingScalingPolicyConfiguration"
INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
PERIOD = 60
HIGH_PERIODS = 3
LOW_PERIODS = 15
LOW_SHARE = 0.9  # of the target: below it for LOW_PERIODS there is an instance too many
LEAST_KEPT = 0.5  # AWS says that it scales in "more gradually", not how: here at most half goes at once


def check(configuration: Json) -> None:
    """Raise ValidationException for a configuration that cannot be tracked here."""
    predefined = configuration.get("PredefinedMetricSpecification")
    customized = configuration.get("CustomizedMetricSpecification")
    if (predefined is None) == (customized is None):
        raise ValidationException(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be given."
        )
    if predefined and predefined["PredefinedMetricType"] != INVOCATIONS:
        raise ValidationException(
            f"The embedded Application Auto Scaling tracks {INVOCATIONS}, not {predefined['PredefinedMetricType']}; "
            "another metric can be given as CustomizedMetricSpecification."
        )
    if customized and not {"MetricName", "Namespace", "Statistic"} <= set(customized):
        raise ValidationException(
            "A CustomizedMetricSpecification needs MetricName, Namespace and Statistic; metric math is not run here."
        )
    if configuration["TargetValue"] <= 0:
        raise ValidationException("TargetValue must be greater than 0.")


def put_alarms(context: Context, policy: ScalingPolicy) -> "list[AlarmTypeDef]":
    """Make or change the alarms of a policy; [{AlarmName, AlarmARN}], that for scaling out first."""
    configuration = policy[CONFIGURATION]
    target = configuration["TargetValue"]
    wanted = {"AlarmHigh": ("GreaterThanThreshold", target, HIGH_PERIODS)}
    if not configuration.get("DisableScaleIn"):
        wanted["AlarmLow"] = ("LessThanThreshold", target * LOW_SHARE, LOW_PERIODS)
    known = {_kind(alarm["AlarmName"]): alarm for alarm in policy["Alarms"]}
    kept: list[AlarmTypeDef] = []
    for kind, (comparison, threshold, periods) in wanted.items():
        before = known.pop(kind, None)
        fresh = f"TargetTracking-{policy['ResourceId']}-{kind}-{uuid.uuid4()}"
        name = before["AlarmName"] if before else fresh
        body = alarms.put(
            context,
            {
                "AlarmName": name,
                "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
                "AlarmActions": [policy["PolicyARN"]],
                **_metric(policy),
                "Period": PERIOD,
                "EvaluationPeriods": periods,
                "ComparisonOperator": comparison,
                "Threshold": threshold,
            },
        )
        kept.append({"AlarmName": name, "AlarmARN": body["AlarmArn"]})
    for alarm in known.values():
        context.store.delete(METRIC_ALARM, alarm["AlarmName"])
    return kept


def delete_alarms(context: Context, policy: ScalingPolicy) -> None:
    for alarm in policy["Alarms"]:
        context.store.delete(METRIC_ALARM, alarm["AlarmName"])


def is_high(alarm_name: str) -> bool:
    return _kind(alarm_name) == "AlarmHigh"


def wanted_out(base: int, value: float, target: float) -> int:
    """The count with which the metric, now `value` with `base` instances, would be at the target."""
    return max(base, math.ceil(base * value / target - 1e-9))


def wanted_in(current: int, value: float, target: float) -> int:
    """The same when the metric is low: never more than there are, and never less than half of them."""
    proportional = math.ceil(current * value / target - 1e-9)
    return min(current, max(proportional, math.ceil(current * LEAST_KEPT)))


def _kind(alarm_name: str) -> str:
    return "AlarmHigh" if "-AlarmHigh-" in alarm_name else "AlarmLow"


def _metric(policy: ScalingPolicy) -> Json:
    """What the policy's alarms look at."""
    customized = policy[CONFIGURATION].get("CustomizedMetricSpecification")
    if customized:
        return listing.members(("MetricName", "Namespace", "Dimensions", "Statistic", "Unit"))(customized)
    endpoint, variant = targets.variant_of(policy)
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationsPerInstance",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        "Statistic": "Sum",
    }
