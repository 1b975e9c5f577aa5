"""CloudWatch: what comes in is told again, and alarms are in the state that their datapoints put them in."""

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests
from botocore.exceptions import ClientError

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.store import Store
from sagelocal.services.cloudwatch import alarms, clock, endpoints, loop
from sagelocal.services.cloudwatch.documents import METRIC_ALARM
from sagelocal.services.cloudwatch.evaluation import Point, evaluate
from sagelocal.services.cloudwatch.metrics import Metric, Metrics, metrics
from sagelocal.services.cloudwatch.summary import Summary
from tests.signing import signed
from tests.waiting import HANG

NOON = 1_800_000_000.0  # a multiple of 60


@pytest.fixture
def fast(context: Context) -> None:
    """A clock whose minute is a second."""
    clock.clock(context).speed = 60


def alarm(**changes) -> dict:
    """PutMetricAlarm's request for "more than 10 in one of the last minutes"."""
    return {
        **{"AlarmName": "busy", "Namespace": "Mine", "MetricName": "requests", "Statistic": "Sum", "Period": 60},
        **{"EvaluationPeriods": 1, "Threshold": 10.0, "ComparisonOperator": "GreaterThanThreshold"},
        **changes,
    }


def points(text: str) -> list[Point]:
    """Datapoints from AWS's notation, newest last: X breaches, 0 does not, - is missing."""
    values = {"X": 11.0, "0": 0.0, "-": None}
    return [Point(NOON + 60 * i, values[mark]) for i, mark in enumerate(text.split())][::-1]


@pytest.mark.parametrize(
    ("wanted", "marks", "states"),
    [  # missing, ignore (from OK), breaching, notBreaching; AWS's own tables on missing data
        (3, "0 - X - X", ("OK", "OK", "OK", "OK")),
        (3, "- - - - 0", ("OK", "OK", "OK", "OK")),
        (3, "- - - - -", ("INSUFFICIENT_DATA", "OK", "ALARM", "OK")),
        (3, "0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, "- - X - -", ("ALARM", "OK", "ALARM", "OK")),
        (2, "0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 - X - -", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - - 0", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - X -", ("ALARM", "OK", "ALARM", "OK")),
    ],
)
def test_missing_datapoints_count_as_the_alarm_says(wanted: int, marks: str, states: tuple[str, ...]):
    for treatment, state in zip(("missing", "ignore", "breaching", "notBreaching"), states, strict=True):
        settings = alarm(EvaluationPeriods=3, DatapointsToAlarm=wanted, TreatMissingData=treatment)
        assert evaluate(settings, points(marks), "OK").state == state, treatment


def test_a_young_breach_waits_for_as_many_datapoints_as_the_alarm_needs():
    settings = alarm(EvaluationPeriods=3)
    assert evaluate(settings, points("- - - - X"), "INSUFFICIENT_DATA").state == "INSUFFICIENT_DATA"
    assert evaluate(settings, points("- - - X X"), "OK").state == "OK"
    assert evaluate(settings, points("- - X X X"), "OK").state == "ALARM"


@pytest.mark.parametrize(
    ("operator", "value", "state"),
    [
        ("GreaterThanThreshold", 10.0, "OK"),
        ("GreaterThanOrEqualToThreshold", 10.0, "ALARM"),
        ("LessThanThreshold", 10.0, "OK"),
        ("LessThanOrEqualToThreshold", 10.0, "ALARM"),
    ],
)
def test_comparisons_include_the_threshold_when_their_name_says_so(operator: str, value: float, state: str):
    settings = alarm(ComparisonOperator=operator)
    verdict = evaluate(settings, [Point(NOON, value)], "OK")
    assert verdict.state == state
    assert f"[10.0 (15/01/27 08:00:00)] was{'' if state == 'ALARM' else ' not'} " in verdict.reason


def test_percentiles_are_within_a_percent_and_survive_merging_and_writing():
    first, second = Summary(), Summary()
    for value in range(1, 501):
        first.add(value)
        second.add(value + 500)
    first.merge(second)
    kept = Summary.from_json(json.loads(json.dumps(first.to_json())))
    assert kept.statistic("p50") == pytest.approx(500, rel=0.01)
    assert kept.statistic("p99") == pytest.approx(990, rel=0.01)
    assert kept.statistic("p100") == 1000 and kept.statistic("Average") == 500.5
    unknown = Summary()
    unknown.add_set(10, 50, 1, 9)
    assert unknown.statistic("Sum") == 50 and unknown.statistic("p50") is None


def test_minutes_outlive_the_server_and_nothing_counts_twice(tmp_path):
    store = Store(tmp_path / "state.db")
    context = Context(tmp_path, "", store)
    metric = Metric("Mine", "requests", (("a", "b"),))
    first = Metrics(context)
    first.add(metric, NOON, 1)
    first.add(metric, NOON + 61, 2, unit="Seconds")
    first.write()
    again = Metrics(context)
    again.add(metric, NOON + 70, 4, unit="Seconds")
    for kept in (again, again):
        assert [s.total for _, s in kept.periods(metric, NOON, NOON + 120, 60)] == [1, 6]
        kept.forget(NOON + 3600)
    assert again.unit(metric) == "Seconds"
    again.forget(NOON + 16 * 86400)
    assert again.known() == [] and store.items("metric-hour") == []
    store.close()


def test_an_invocation_becomes_seven_metrics_as_sagemaker_sends_them(context: Context):
    common = {"endpoint": "e", "variant": "v", "overhead_seconds": 0.001}
    began = time.time()
    endpoints.note(context, **common, instances=4, status=200, model_seconds=0.02)
    endpoints.note(context, **common, instances=4, status=503, model_seconds=0.04)
    endpoints.note(context, **common, instances=4, status=415, model_seconds=0.03)
    endpoints.note(context, **common, instances=4, status=0, model_seconds=0.03)
    endpoints.count(context)

    def found(name: str) -> Summary:
        return metrics(context).periods(endpoints.metric("e", "v", name), began - 1, began + 60, 61)[0][1]

    assert found("Invocations").total == 4
    assert found("InvocationsPerInstance").total == 1
    assert found("Invocation4XXErrors").total == 1
    assert found("Invocation5XXErrors").total == 1
    assert found("InvocationModelErrors").total == 3
    assert found("ModelLatency").statistic("Maximum") == pytest.approx(40_000)
    assert found("OverheadLatency").statistic("Average") == pytest.approx(1_000)


def test_noting_an_invocation_leaves_the_work_to_those_who_count(context: Context):
    nowhere = replace(context, store=None)  # nothing is written, and nothing asked
    common = {"endpoint": "e", "variant": "v", "instances": 1, "status": 200}
    for _ in range(2000):
        endpoints.note(nowhere, **common, model_seconds=0.1, overhead_seconds=0.1)
    assert metrics(context).known() == []
    endpoints.count(context)
    assert endpoints.metric("e", "v", "Invocations") in dict(metrics(context).known())


def test_a_fast_clock_keeps_the_meaning_of_requests_per_minute(context: Context, fast: None):
    """12 in a second, and a minute lasts a second: 720 a minute."""
    alarms.put(context, alarm(Threshold=700, Dimensions=[]))
    metric = Metric("Mine", "requests")
    for i in range(12):
        metrics(context).add(metric, NOON + i / 12, 1)
    loop.beat(context, NOON + 0.9)
    assert alarms.state(context, "busy") == "INSUFFICIENT_DATA"
    loop.beat(context, NOON + 1.0)
    assert alarms.state(context, "busy") == "ALARM"
    assert "[720.0 (" in context.store.get(METRIC_ALARM, "busy")["StateReason"]


def test_scaling_actions_repeat_each_minute_that_an_alarm_lasts_and_others_run_once(context: Context, monkeypatch):
    ran: list[str] = []
    for service in ("sns", "autoscaling"):
        monkeypatch.setitem(alarms.acts, service, lambda c, arn, a, p, now: ran.append(arn.split(":")[2]))
    arns = ["arn:aws:sns:us-east-1:123456789012:t", "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:x"]
    alarms.put(context, alarm(AlarmActions=arns))
    for minute in range(4):
        metrics(context).add(Metric("Mine", "requests"), NOON + 60 * minute, 11)
        for second in (60, 65, 70):
            loop.beat(context, NOON + 60 * minute + second)
    assert ran == ["sns", "autoscaling", "autoscaling", "autoscaling", "autoscaling"]


def test_disabled_actions_do_not_run(context: Context, monkeypatch):
    ran: list[str] = []
    monkeypatch.setitem(alarms.acts, "sns", lambda *given: ran.append(given[1]))
    context.call("cloudwatch", "PutMetricAlarm", **alarm(AlarmActions=["arn:aws:sns:us-east-1:123456789012:t"]))
    context.call("cloudwatch", "DisableAlarmActions", AlarmNames=["busy", "nobody"])
    context.call("cloudwatch", "SetAlarmState", AlarmName="busy", StateValue="ALARM", StateReason="drill")
    assert ran == []
    context.call("cloudwatch", "EnableAlarmActions", AlarmNames=["busy"])
    context.call("cloudwatch", "SetAlarmState", AlarmName="busy", StateValue="OK", StateReason="over")
    context.call("cloudwatch", "SetAlarmState", AlarmName="busy", StateValue="ALARM", StateReason="drill")
    assert len(ran) == 1


def test_the_state_of_an_alarm_that_does_not_exist_is_a_key_error(context: Context):
    with pytest.raises(KeyError):
        alarms.state(context, "nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Period": 45}, "Period 45"),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm must be less"),
        ({"ExtendedStatistic": "p99"}, "Exactly one of Statistic and ExtendedStatistic"),
        ({"Statistic": None, "ExtendedStatistic": "tm90"}, "'tm90'"),
        ({"TreatMissingData": "guess"}, "TreatMissingData must be one of"),
        ({"Period": 3600, "EvaluationPeriods": 200}, "more than a day"),
        ({"Threshold": None}, "Threshold is needed"),
        ({"AlarmActions": ["somebody"]}, "Invalid arn syntax"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "needs a band"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused(context: Context, change: dict, message: str):
    request = {member: value for member, value in alarm(**change).items() if value is not None}
    with pytest.raises(AwsError, match=message):
        context.call("cloudwatch", "PutMetricAlarm", **request)


@pytest.fixture
def cloudwatch(client):
    return client("cloudwatch")


def test_what_was_put_is_read_with_every_statistic(cloudwatch):
    now = datetime.now(UTC)
    dimensions = [{"Name": "Host", "Value": "a"}]
    datum = {"MetricName": "latency", "Dimensions": dimensions, "Timestamp": now, "Unit": "Milliseconds"}
    cloudwatch.put_metric_data(Namespace="Mine", MetricData=[{**datum, "Values": [1.0, 9.0], "Counts": [3.0, 1.0]}])
    span = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=1)}
    (point,) = cloudwatch.get_metric_statistics(
        **{"Namespace": "Mine", "MetricName": "latency", "Dimensions": dimensions, **span, "Period": 60},
        Statistics=["Sum", "Average", "SampleCount", "Minimum", "Maximum"],
    )["Datapoints"]
    assert {name: point[name] for name in ("Sum", "Average", "SampleCount", "Minimum", "Maximum", "Unit")} == {
        **{"Sum": 12.0, "Average": 3.0, "SampleCount": 4.0, "Minimum": 1.0, "Maximum": 9.0, "Unit": "Milliseconds"}
    }
    assert point["Timestamp"] == now.replace(second=0, microsecond=0)
    stat = {"Metric": {"Namespace": "Mine", "MetricName": "latency", "Dimensions": dimensions}, "Period": 1}
    (found,) = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "tail", "MetricStat": {**stat, "Stat": "p99"}}], **span
    )["MetricDataResults"]
    assert found["Values"] == [9.0] and found["Timestamps"] == [now.replace(microsecond=0)]
    listed = cloudwatch.list_metrics(Namespace="Mine", Dimensions=[{"Name": "Host"}])["Metrics"]
    assert listed == [{"Namespace": "Mine", "MetricName": "latency", "Dimensions": dimensions}]


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        ("put_metric_data", {"Namespace": "AWS/Mine", "MetricData": []}, "InvalidParameterValue"),
        ("set_alarm_state", {"AlarmName": "nobody", "StateValue": "OK", "StateReason": ""}, "ResourceNotFound"),
        ("delete_alarms", {"AlarmNames": ["nobody"]}, "ResourceNotFound"),
        ("put_composite_alarm", {"AlarmName": "c", "AlarmRule": "TRUE"}, "ValidationError"),
    ],
)
def test_refusals_reach_boto3_with_their_code(cloudwatch, call: str, request_: dict, code: str):
    with pytest.raises(ClientError) as refused:
        getattr(cloudwatch, call)(**request_)
    assert refused.value.response["Error"]["Code"] == code


def test_alarms_are_described_by_name_prefix_and_state_and_keep_a_history(cloudwatch):
    for name in ("one", "two", "other"):
        cloudwatch.put_metric_alarm(**alarm(AlarmName=name))
    cloudwatch.set_alarm_state(AlarmName="two", StateValue="ALARM", StateReason="drill")

    def described(**wanted) -> list[str]:
        return [found["AlarmName"] for found in cloudwatch.describe_alarms(**wanted)["MetricAlarms"]]

    assert described(AlarmNamePrefix="o") == ["one", "other"]
    assert described(StateValue="ALARM") == ["two"]
    assert described(AlarmNames=["one", "nobody"]) == ["one"]
    pages = cloudwatch.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 1]
    history = cloudwatch.describe_alarm_history(AlarmName="two")["AlarmHistoryItems"]
    assert [item["HistoryItemType"] for item in history] == ["StateUpdate", "ConfigurationUpdate"]
    cloudwatch.delete_alarms(AlarmNames=["one", "two", "other"])
    assert described() == []


def test_a_changed_state_is_an_event(client, cloudwatch):
    events, queues = client("events"), client("sqs")
    queue = queues.create_queue(QueueName="alarms")["QueueUrl"]
    pattern = {"detail-type": ["CloudWatch Alarm State Change"], "detail": {"state": {"value": ["ALARM"]}}}
    events.put_rule(Name="alarms", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="alarms", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:123456789012:alarms"}])
    cloudwatch.put_metric_alarm(**alarm())
    cloudwatch.set_alarm_state(AlarmName="busy", StateValue="ALARM", StateReason="drill")
    (message,) = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    event = json.loads(message["Body"])
    assert event["source"] == "aws.cloudwatch" and event["resources"][0].endswith(":alarm:busy")
    assert (event["detail"]["previousState"]["value"], event["detail"]["state"]["value"]) == (
        "INSUFFICIENT_DATA",
        "ALARM",
    )
    cloudwatch.delete_alarms(AlarmNames=["busy"])


@pytest.mark.parametrize("protocol", ["json", "query"])
def test_clients_that_speak_the_older_protocols_are_answered_in_them(server, cloudwatch, protocol: str):
    cloudwatch.put_metric_alarm(**alarm(AlarmName="old"))
    if protocol == "json":
        headers = {
            "X-Amz-Target": "GraniteServiceVersion20100801.DescribeAlarms",
            "Content-Type": "application/x-amz-json-1.0",
        }
        body = json.dumps({"AlarmNames": ["old"]}).encode()
    else:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = b"Action=DescribeAlarms&Version=2010-08-01&AlarmNames.member.1=old"
    headers = signed("POST", f"{server.url}/", "monitoring", body, headers)
    answer = requests.post(server.url, headers=headers, data=body, timeout=HANG)
    if protocol == "json":
        assert answer.json()["MetricAlarms"][0]["AlarmName"] == "old"
    else:
        assert "<member><AlarmName>old</AlarmName>" in answer.text
    cloudwatch.delete_alarms(AlarmNames=["old"])


def test_the_clock_of_a_running_server_is_set_over_http(server):
    page = "/_sagelocal/clock"
    assert json.loads(server.ask("POST", f"{page}?speed=30")) == {"speed": 30.0}
    assert json.loads(server.ask("GET", page)) == {"speed": 30.0}
    assert b"Speed 'soon' is not possible" in server.ask("POST", f"{page}?speed=soon")
    assert json.loads(server.ask("POST", f"{page}?speed=1")) == {"speed": 1.0}


def test_a_server_does_not_start_with_a_speed_that_is_none(tmp_path, monkeypatch):
    from sagelocal.core import lifecycle

    monkeypatch.setenv(clock.VARIABLE, "fast")
    with pytest.raises(lifecycle.CannotStart, match="SAGELOCAL_SPEED: Speed 'fast' is not possible"):
        lifecycle.ensure(tmp_path)


def test_metrics_are_counted_while_others_read(context: Context):
    """Writers and readers at the same time lose nothing."""
    metric = Metric("Mine", "requests")
    began = time.time()

    def write() -> None:
        for _ in range(500):
            metrics(context).add(metric, time.time(), 1)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        metrics(context).periods(metric, began - 1, began + HANG, 1)
        metrics(context).write()
    assert sum(s.total for _, s in metrics(context).periods(metric, began - 1, began + HANG, 1)) == 2000
