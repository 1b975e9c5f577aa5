"""CloudWatch alarms, evaluated as their periods end."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, cast

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.core.store import amend
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.cloudwatch.documents import METRIC_ALARM, Alarm
from sagelocal.services.cloudwatch.evaluation import INSUFFICIENT_DATA, MORE_PERIODS, Point, Verdict, evaluate
from sagelocal.services.cloudwatch.metrics import FINE, Metric, metrics
from sagelocal.services.cloudwatch.summary import RATES
from sagelocal.services.events.bus import bus
from sagelocal.services.events.state_events import iso

HISTORY_KEPT = 100
ACTIONS: dict[str, Literal["OKActions", "AlarmActions", "InsufficientDataActions"]] = {
    "OK": "OKActions",
    "ALARM": "AlarmActions",
    INSUFFICIENT_DATA: "InsufficientDataActions",
}
UNCHECKED = "Unchecked: Initial alarm creation"
SCALING = ":autoscaling:"  # in the ARN of an action that is repeated while the alarm lasts
REPEAT = 60.0  # AWS's seconds

Acting = Callable[[Context, str, Alarm, Sequence[Point], float], None]
acts: dict[str, Acting] = {}


def action(service: str) -> Callable[[Acting], Acting]:
    """Register what actions do whose ARN names `service`: (context, the ARN, alarm, datapoints newest first, now)."""

    def register(acting: Acting) -> Acting:
        acts[service] = acting
        return acting

    return register


@one_per_server
def evaluated(_: Context) -> dict[str, float]:
    """The end of the last period that was looked at, by the alarm's name."""
    return {}


def state(context: Context, name: str) -> str:
    """An alarm's state: OK, ALARM or INSUFFICIENT_DATA. Raises KeyError for an alarm that does not exist."""
    body = context.store.get(METRIC_ALARM, name)
    if body is None:
        raise KeyError(name)
    return body["StateValue"]


def put(context: Context, settings: Json) -> Alarm:
    """Make an alarm, or replace all settings of one, whose state stays; the alarm."""
    now = time.time()
    name = settings["AlarmName"]
    known = context.store.get(METRIC_ALARM, name)
    kept: Mapping[str, Any] = known or {
        "AlarmArn": context.arn("cloudwatch", f"alarm:{name}"),
        "StateValue": INSUFFICIENT_DATA,
        "StateReason": UNCHECKED,
        "StateUpdatedTimestamp": now,
        "StateTransitionedTimestamp": now,
        "_History": [],
    }
    described: Json = {
        **{"ActionsEnabled": True, "OKActions": [], "AlarmActions": [], "InsufficientDataActions": []},
        **{"Dimensions": [], "TreatMissingData": "missing"},
        **{member: kept[member] for member in _OWN if member in kept},
        **{member: value for member, value in settings.items() if member != "Tags"},
        "AlarmConfigurationUpdatedTimestamp": now,
    }
    body = cast(Alarm, described)
    if "Tags" in settings and not known:
        body["_Tags"] = settings["Tags"]
    what = f'Alarm "{name}" {"updated" if known else "created"}'
    _remember(body, "ConfigurationUpdate", what, {"type": "Update" if known else "Create"}, now)
    context.store.put(METRIC_ALARM, name, body)
    return body


def set_state(context: Context, name: str, verdict: Verdict, data: str | None = None, now: float | None = None) -> None:
    """Put an alarm into a state; when that is a change, run the actions and tell EventBridge. Raises KeyError."""
    now = time.time() if now is None else now
    before: Alarm | None = None

    def change(body: Alarm) -> None:
        nonlocal before
        before = body.copy()
        if body["StateValue"] != verdict.state:
            body["StateTransitionedTimestamp"] = now
            facts = {"oldState": {"stateValue": body["StateValue"]}, "newState": {"stateValue": verdict.state}}
            facts["newState"]["stateReason"] = verdict.reason
            what = f"Alarm updated from {body['StateValue']} to {verdict.state}"
            _remember(body, "StateUpdate", what, facts, now)
            body.pop("_Acted", None)
        amend(body, {"StateValue": verdict.state, "StateReason": verdict.reason, "StateUpdatedTimestamp": now})
        body["StateReasonData"] = data or json.dumps(_reason_data(body, verdict, now))

    after = context.store.change(METRIC_ALARM, name, change)
    if before and before["StateValue"] != after["StateValue"]:
        _tell(context, before, after)
        act(context, after, verdict.points, now, changed=True)


def hold(context: Context, alarm: Alarm, now: float) -> None:
    """Leave the state that somebody has set as it is for at least one period, so that what acts on it can see it."""
    period = real_period(context, alarm)
    evaluated(context)[alarm["AlarmName"]] = math.floor(now / period) * period + period


def act(context: Context, alarm: Alarm, points: Sequence[Point], now: float, changed: bool = False) -> None:
    """Run the actions of an alarm's state: all when it has changed, those of auto scaling once a minute as it lasts.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html
    """
    arns = alarm[ACTIONS[alarm["StateValue"]]] if alarm["ActionsEnabled"] else []
    if not changed:
        arns = [arn for arn in arns if SCALING in arn]
        due = alarm.get("_Acted", 0.0) + clock(context).seconds(REPEAT) <= now + FINE / 2
        if not arns or not due:
            return
    with suppress(KeyError):  # deleted meanwhile
        context.store.update(METRIC_ALARM, alarm["AlarmName"], {"_Acted": now})
    for arn in arns:
        acting = acts.get(arn.split(":")[2])
        if acting:
            acting(context.as_service(), arn, alarm, points, now)


def evaluate_all(context: Context, now: float) -> None:
    """Look at each alarm that has had a period end since the last look."""
    for alarm in context.store.list(METRIC_ALARM):
        period = real_period(context, alarm)
        end = math.floor(now / period) * period
        if end <= evaluated(context).get(alarm["AlarmName"], 0.0):
            continue
        evaluated(context)[alarm["AlarmName"]] = end
        with suppress(KeyError):  # deleted meanwhile
            points = datapoints(context, alarm, end)
            verdict = evaluate(alarm, points, alarm["StateValue"])
            if verdict.state != alarm["StateValue"]:
                set_state(context, alarm["AlarmName"], verdict, now=now)
            else:
                act(context, alarm, verdict.points or points, now)


def datapoints(context: Context, alarm: Alarm, end: float) -> list[Point]:
    """The newest datapoints up to `end`, newest first: EvaluationPeriods of them and MORE_PERIODS.

    A fast clock's periods are short, and a Sum or a SampleCount of one is what it would be in a whole one: a target of
    requests per minute means the same at every speed.
    """
    period = real_period(context, alarm)
    count = alarm["EvaluationPeriods"] + MORE_PERIODS
    start = end - count * period
    name = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    metric = Metric.of(alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"])
    of_other_unit = alarm.get("Unit", metrics(context).unit(metric)) != metrics(context).unit(metric)
    found = {round((at - start) / period): kept for at, kept in metrics(context).periods(metric, start, end, period)}
    points = []
    for index in range(count - 1, -1, -1):
        value = found[index].statistic(name) if index in found and not of_other_unit else None
        if value is not None and name in RATES:
            value *= alarm["Period"] / period
        points.append(Point(start + index * period, value))
    return points


def real_period(context: Context, alarm: Alarm) -> float:
    """How many real seconds one period of an alarm lasts: a whole number of the shortest spans that are kept."""
    return max(1, round(clock(context).seconds(alarm["Period"]) / FINE)) * FINE


_STATE = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp")
_OWN = ("AlarmArn", *_STATE, "StateTransitionedTimestamp", "_History", "_Tags", "_Acted")  # not the user's to set


def _remember(body: Alarm, kind: str, summary: str, facts: Json, now: float) -> None:
    entry = {
        "AlarmName": body["AlarmName"],
        "AlarmType": "MetricAlarm",
        "Timestamp": now,
        "HistoryItemType": kind,
        "HistorySummary": summary,
        "HistoryData": json.dumps({"version": "1.0", **facts}),
    }
    body["_History"] = [entry, *body.get("_History", [])][:HISTORY_KEPT]


def _reason_data(alarm: Alarm, verdict: Verdict, now: float) -> Json:
    return {
        "version": "1.0",
        "queryDate": iso(now),
        **({"startDate": iso(verdict.points[-1].moment)} if verdict.points else {}),
        "statistic": alarm.get("Statistic") or alarm.get("ExtendedStatistic"),
        "period": alarm.get("Period"),
        "recentDatapoints": [point.value for point in reversed(verdict.points)],
        "threshold": alarm["Threshold"],
    }


def _tell(context: Context, before: Alarm, after: Alarm) -> None:
    """The event of a changed state.

    Shape: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """

    def described(body: Alarm) -> Json:
        said: Json = {
            "value": body["StateValue"],
            "reason": body["StateReason"],
            "reasonData": body.get("StateReasonData"),
            "timestamp": iso(body["StateUpdatedTimestamp"]),
        }
        return {name: value for name, value in said.items() if value is not None}

    dimensions = {d["Name"]: d["Value"] for d in after["Dimensions"]}
    stat = {
        "metric": {"namespace": after["Namespace"], "name": after["MetricName"], "dimensions": dimensions},
        "period": after["Period"],
        "stat": after.get("Statistic") or after.get("ExtendedStatistic"),
    }
    detail = {
        "alarmName": after["AlarmName"],
        "state": described(after),
        "previousState": described(before),
        "configuration": {
            "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}],
            **({"description": after["AlarmDescription"]} if "AlarmDescription" in after else {}),
        },
    }
    moment = iso(after["StateUpdatedTimestamp"])
    bus(context).put("aws.cloudwatch", "CloudWatch Alarm State Change", [after["AlarmArn"]], detail, moment)
