"""CloudWatch's alarms on one metric each. They are evaluated in alarms.py."""

import time
from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.cloudwatch import alarms, notify
from sagelocal.services.cloudwatch.api import SERVICE, page, seconds
from sagelocal.services.cloudwatch.documents import METRIC_ALARM, Alarm
from sagelocal.services.cloudwatch.evaluation import COMPARISONS, Verdict
from sagelocal.services.cloudwatch.summary import known

LONGEST_SPAN = 7 * 24 * 3600  # seconds that all evaluation periods may cover
LONGEST_SPAN_BELOW_HOUR = 24 * 3600
TREATMENTS = ("missing", "notBreaching", "breaching", "ignore")
MOST_DESCRIBED = 100


@operation(SERVICE, "PutMetricAlarm")
def put_metric_alarm(context: Context, request: Json) -> None:
    """Make an alarm, or replace one. Raises ValidationError for what the embedded CloudWatch cannot evaluate."""
    for member in ("Metrics", "ThresholdMetricId", "EvaluationCriteria"):
        if request.get(member):
            raise _invalid(f"The embedded CloudWatch evaluates alarms on one metric: leave out {member}.")
    for member in ("MetricName", "Namespace", "Period", "Threshold", "ComparisonOperator", "EvaluationPeriods"):
        if member not in request:
            raise AwsError("MissingParameter", f"The parameter {member} is needed.")
    if ("Statistic" in request) == ("ExtendedStatistic" in request):
        raise _invalid("Exactly one of Statistic and ExtendedStatistic must be given.")
    if not known(request.get("ExtendedStatistic", "Sum")):
        raise _invalid(
            f"ExtendedStatistic {request['ExtendedStatistic']!r} is not known here: use a percentile as p99."
        )
    if request["ComparisonOperator"] not in COMPARISONS:
        raise _invalid(
            f"ComparisonOperator {request['ComparisonOperator']} needs a band: use {', '.join(COMPARISONS)}."
        )
    if request.get("TreatMissingData", "missing") not in TREATMENTS:
        raise _invalid(f"TreatMissingData must be one of {', '.join(TREATMENTS)}.")
    for member in alarms.ACTIONS.values():
        for arn in request.get(member, []):
            notify.check(arn)
    period, periods = request["Period"], request["EvaluationPeriods"]
    if period not in (10, 20, 30) and period % 60:
        raise _invalid(f"Period {period} is not possible: give 10, 20, 30 or a multiple of 60 seconds.")
    if period * periods > (LONGEST_SPAN if period >= 3600 else LONGEST_SPAN_BELOW_HOUR):
        raise _invalid("Metrics cannot be checked across more than a day (7 days where the period is an hour or more).")
    if request.get("DatapointsToAlarm", 1) > periods:
        raise _invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    alarms.put(context, request)


@operation(SERVICE, "DescribeAlarms")
def describe_alarms(context: Context, request: Json) -> Json:
    wanted = request.get("AlarmNames")
    kinds = request.get("AlarmTypes", ["MetricAlarm"])
    found = [
        alarm
        for alarm in sorted(context.store.list(METRIC_ALARM), key=lambda alarm: alarm["AlarmName"])
        if (not wanted or alarm["AlarmName"] in wanted)
        and alarm["AlarmName"].startswith(request.get("AlarmNamePrefix", ""))
        and request.get("StateValue", alarm["StateValue"]) == alarm["StateValue"]
        and ("ActionPrefix" not in request or _acts_on(alarm, request["ActionPrefix"]))
        and "MetricAlarm" in kinds
    ]
    found, token = page(found, request, request.get("MaxRecords", MOST_DESCRIBED))
    return {"MetricAlarms": found, "CompositeAlarms": [], "NextToken": token}


@operation(SERVICE, "DescribeAlarmsForMetric")
def describe_alarms_for_metric(context: Context, request: Json) -> Json:
    def dimensions(body: Mapping[str, Any]) -> list[tuple[str, str]]:
        return sorted((d["Name"], d["Value"]) for d in body.get("Dimensions", []))

    members = ("Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Period", "Unit")
    found = [
        alarm
        for alarm in context.store.list(METRIC_ALARM)
        if all(request.get(member, alarm.get(member)) == alarm.get(member) for member in members)
        and dimensions(alarm) == dimensions(request)
    ]
    return {"MetricAlarms": found}


@operation(SERVICE, "DescribeAlarmHistory")
def describe_alarm_history(context: Context, request: Json) -> Json:
    items = [
        item
        for alarm in context.store.list(METRIC_ALARM)
        if request.get("AlarmName", alarm["AlarmName"]) == alarm["AlarmName"]
        for item in alarm["_History"]
        if request.get("HistoryItemType", item["HistoryItemType"]) == item["HistoryItemType"]
        and ("StartDate" not in request or item["Timestamp"] >= seconds(request["StartDate"]))
        and ("EndDate" not in request or item["Timestamp"] <= seconds(request["EndDate"]))
    ]
    items.sort(key=lambda item: item["Timestamp"], reverse=request.get("ScanBy") != "TimestampAscending")
    items, token = page(items, request, request.get("MaxRecords", MOST_DESCRIBED))
    return {"AlarmHistoryItems": items, "NextToken": token}


@operation(SERVICE, "DeleteAlarms")
def delete_alarms(context: Context, request: Json) -> None:
    """All of them, or none when one does not exist. Raises ResourceNotFound."""
    with context.store.transaction():
        for name in request["AlarmNames"]:
            _alarm(context, name)
            context.store.delete(METRIC_ALARM, name)


@operation(SERVICE, "SetAlarmState")
def set_alarm_state(context: Context, request: Json) -> None:
    """For a period or two, until it is evaluated again; its actions run."""
    alarms.hold(context, _alarm(context, request["AlarmName"]), time.time())
    verdict = Verdict(request["StateValue"], request["StateReason"])
    alarms.set_state(context, request["AlarmName"], verdict, request.get("StateReasonData"))


@operation(SERVICE, "EnableAlarmActions")
def enable_alarm_actions(context: Context, request: Json) -> None:
    _enable(context, request["AlarmNames"], True)


@operation(SERVICE, "DisableAlarmActions")
def disable_alarm_actions(context: Context, request: Json) -> None:
    _enable(context, request["AlarmNames"], False)


@operation(SERVICE, "PutCompositeAlarm")
def put_composite_alarm(context: Context, request: Json) -> None:
    raise _invalid("The embedded CloudWatch evaluates alarms on one metric: it has no composite alarms.")


@operation(SERVICE, "ListTagsForResource")
def list_tags_for_resource(context: Context, request: Json) -> Json:
    return {"Tags": _alarm(context, _name(request)).get("_Tags", [])}


@operation(SERVICE, "TagResource")
def tag_resource(context: Context, request: Json) -> None:
    tags = {tag["Key"]: tag for tag in [*_alarm(context, _name(request)).get("_Tags", []), *request["Tags"]]}
    context.store.update(METRIC_ALARM, _name(request), {"_Tags": list(tags.values())})


@operation(SERVICE, "UntagResource")
def untag_resource(context: Context, request: Json) -> None:
    kept = [t for t in _alarm(context, _name(request)).get("_Tags", []) if t["Key"] not in request["TagKeys"]]
    context.store.update(METRIC_ALARM, _name(request), {"_Tags": kept})


def _alarm(context: Context, name: str) -> Alarm:
    body = context.store.get(METRIC_ALARM, name)
    if body is None:
        raise AwsError("ResourceNotFound", f"Alarm {name} does not exist.", 404)
    return body


def _name(request: Json) -> str:
    """The alarm's name in a ResourceARN."""
    arn: str = request["ResourceARN"]
    return arn.partition(":alarm:")[2]


def _enable(context: Context, names: list[str], enabled: bool) -> None:
    """Names that do not exist are passed over, as on AWS."""
    with context.store.transaction():
        for name in names:
            if context.store.get(METRIC_ALARM, name):
                context.store.update(METRIC_ALARM, name, {"ActionsEnabled": enabled})


def _acts_on(alarm: Alarm, prefix: str) -> bool:
    return any(arn.startswith(prefix) for member in alarms.ACTIONS.values() for arn in alarm[member])


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
