"""When and how far a variant is scaled: the rules, on a clock that the test moves."""

import time
from typing import Any

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.autoscaling import activities, bounds, cooldown, loop, scheduled, step, targets, tracking
from sagelocal.services.autoscaling.cooldown import Cooldown
from sagelocal.services.cloudwatch import alarms, clock, endpoints
from sagelocal.services.cloudwatch import loop as cloudwatch
from sagelocal.services.cloudwatch.metrics import metrics

NOON = 1_800_000_000.0  # a multiple of 60
RESOURCE = "endpoint/dogs/variant/AllTraffic"
TARGET = {
    **{"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE},
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


class Variant:
    """An endpoint whose document is all there is of it: its count changes as soon as it is asked to."""

    def __init__(self, context: Context, monkeypatch: pytest.MonkeyPatch, count: int = 1):
        self.context = context
        self.now = NOON
        now = time.time()
        body = {
            **{"EndpointName": "dogs", "EndpointArn": context.arn("sagemaker", "endpoint/dogs")},
            **{"EndpointConfigName": "c", "EndpointStatus": "InService", "CreationTime": now, "LastModifiedTime": now},
            "_Variants": [{"Name": "AllTraffic", "Serverless": None}],
        }
        context.store.put("endpoint", "dogs", body)
        self.set(context, {}, count)
        monkeypatch.setattr(targets, "set_capacity", self.set)

    def set(self, context: Context, target: dict, count: int) -> None:
        self.count = count
        described = {"VariantName": "AllTraffic", "CurrentInstanceCount": count, "DesiredInstanceCount": count}
        context.store.update("endpoint", "dogs", {"ProductionVariants": [described]})

    def register(self, low: int = 1, high: int = 10, **more: Any) -> None:
        self.call("RegisterScalableTarget", **TARGET, MinCapacity=low, MaxCapacity=high, **more)

    def track(self, value: float = 100.0, name: str = "requests", **more: Any) -> list[str]:
        """A target tracking policy; the names of its alarms."""
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        configuration = {"TargetValue": value, **more}
        if "CustomizedMetricSpecification" not in more:
            configuration["PredefinedMetricSpecification"] = metric
        made = self.call(
            "PutScalingPolicy",
            **TARGET,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
        )
        return [alarm["AlarmName"] for alarm in made["Alarms"]]

    def minutes(self, requests: float | None, count: int = 1) -> list[int]:
        """Let minutes with that many requests each pass (None: not even a beat); the count after each."""
        counts = []
        for _ in range(count):
            if requests is not None:
                loop.beat(self.context, self.now, self.now)
                per_instance = endpoints.metric("dogs", "AllTraffic", "InvocationsPerInstance")
                metrics(self.context).add(per_instance, self.now + 30, requests / self.count)
            self.now += 60
            cloudwatch.beat(self.context, self.now)
            activities.settle(self.context, self.now)
            counts.append(self.count)
        return counts

    def call(self, operation: str, /, **request: Any) -> dict:
        return self.context.call("application-autoscaling", operation, **request)

    def activities(self) -> list[dict]:
        return self.call("DescribeScalingActivities", ServiceNamespace="sagemaker")["ScalingActivities"]


@pytest.fixture
def variant(context: Context, monkeypatch: pytest.MonkeyPatch) -> Variant:
    return Variant(context, monkeypatch)


def test_three_minutes_above_the_target_scale_out_to_what_brings_it_back(variant: Variant):
    variant.register()
    high, _ = variant.track(100)
    assert variant.minutes(350, 3) == [1, 1, 4]
    (activity,) = variant.activities()
    assert activity["Description"] == "Setting desired instance count to 4."
    assert activity["Cause"] == f"monitor alarm {high} in state ALARM triggered policy requests"
    assert activity["StatusCode"] == "Successful"


def test_scaling_out_stops_at_the_maximum(variant: Variant):
    variant.register(high=3)
    variant.track(100)
    assert variant.minutes(900, 6)[-1] == 3
    assert len(variant.activities()) == 1


def test_fifteen_minutes_below_nine_tenths_scale_in_gradually_with_a_cooldown_between(variant: Variant):
    variant.set(variant.context, {}, 6)
    variant.register()
    variant.track(100, ScaleInCooldown=180)
    assert variant.minutes(100, 22) == [6] * 14 + [3] * 3 + [2] * 3 + [1] * 2


def test_between_nine_tenths_and_the_target_nothing_happens(variant: Variant):
    variant.set(variant.context, {}, 2)
    variant.register()
    variant.track(100)
    assert set(variant.minutes(190, 20)) == {2}


def test_a_variant_that_nobody_asks_goes_to_its_minimum(variant: Variant):
    variant.set(variant.context, {}, 4)
    variant.register(low=2)
    variant.track(100)
    assert variant.minutes(0, 17)[-1] == 2


def test_the_clock_of_a_minute_that_lasts_a_second_scales_by_requests_per_minute(variant: Variant):
    variant.register()
    variant.track(600)
    clock.clock(variant.context).speed = 60
    per_instance = endpoints.metric("dogs", "AllTraffic", "InvocationsPerInstance")
    for i in range(90):  # 25 a second: 1,500 a minute
        metrics(variant.context).add(per_instance, NOON + i / 25, 1)
    for second in (1, 2, 3):
        cloudwatch.beat(variant.context, NOON + second)
    assert variant.count == 3


@pytest.mark.parametrize(
    ("suspended", "requests", "start"),
    [("DynamicScalingOutSuspended", 500, 1), ("DynamicScalingInSuspended", 10, 4)],
)
def test_a_suspended_direction_does_not_scale(variant: Variant, suspended: str, requests: int, start: int):
    variant.set(variant.context, {}, start)
    variant.register(SuspendedState={suspended: True})
    variant.track(100)
    assert set(variant.minutes(requests, 18)) == {start}
    variant.register(SuspendedState={suspended: False})
    assert variant.minutes(requests, 1) != [start]


def test_a_policy_that_may_not_scale_in_has_no_alarm_for_it(variant: Variant):
    variant.set(variant.context, {}, 4)
    variant.register()
    (only,) = variant.track(100, DisableScaleIn=True)
    assert "-AlarmHigh-" in only
    assert set(variant.minutes(10, 20)) == {4}
    high, low = variant.track(100, DisableScaleIn=False)
    assert high == only and "-AlarmLow-" in low
    assert variant.track(100, DisableScaleIn=True) == [only]
    with pytest.raises(KeyError):
        alarms.state(variant.context, low)


def test_scaling_in_needs_every_policy_that_may(variant: Variant):
    variant.set(variant.context, {}, 4)
    variant.register()
    variant.track(100)
    busy = {"MetricName": "depth", "Namespace": "Mine", "Statistic": "Average"}
    variant.track(5, name="depth", CustomizedMetricSpecification=busy)
    assert set(variant.minutes(10, 20)) == {4}
    variant.call("DeleteScalingPolicy", **TARGET, PolicyName="depth")
    assert variant.minutes(10, 1) == [2]


def test_a_target_whose_endpoint_is_gone_stays_and_does_nothing(variant: Variant):
    variant.register()
    variant.track(100)
    variant.context.store.delete("endpoint", "dogs")
    variant.minutes(500, 5)
    assert variant.activities() == []
    assert variant.call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]


def test_an_endpoint_that_is_changing_is_left_alone_until_it_serves(variant: Variant):
    variant.register()
    variant.track(100)
    variant.context.store.update("endpoint", "dogs", {"EndpointStatus": "Updating"})
    assert variant.minutes(300, 4) == [1] * 4
    variant.context.store.update("endpoint", "dogs", {"EndpointStatus": "InService"})
    assert variant.minutes(300, 1) == [3]


def test_what_sagemaker_refuses_is_a_failed_activity_without_a_cooldown(variant: Variant, monkeypatch):
    def refuse(*_: Any) -> None:
        raise AwsError("ResourceLimitExceeded", "The account-level limit is 1 Instances.")

    variant.register()
    variant.track(100)
    with monkeypatch.context() as patch:
        patch.setattr(targets, "set_capacity", refuse)
        variant.minutes(300, 3)
    (failed,) = variant.activities()
    assert failed["StatusCode"] == "Failed" and "account-level limit" in failed["StatusMessage"]
    assert variant.minutes(300, 1) == [3]


@pytest.mark.parametrize(
    ("out", "running_out", "wanted", "allowed"),
    [
        (True, True, 4, False),  # no more than the scale-out brought
        (True, True, 5, True),  # a larger one is needed
        (True, False, 2, True),  # a scale-in never holds a scale-out back
        (False, False, 1, False),
        (False, True, 1, True),
    ],
)
def test_a_cooldown_holds_back_what_it_should(out: bool, running_out: bool, wanted: int, allowed: bool):
    running = Cooldown(out=running_out, base=2, desired=4, until=100.0)
    assert cooldown.allows(running, out, wanted, now=99.0) is allowed
    assert cooldown.allows(running, out, wanted, now=100.0)
    assert cooldown.allows(None, out, wanted, now=0.0)


def test_what_a_scale_out_added_counts_towards_the_next_one_during_its_cooldown():
    running = Cooldown(out=True, base=2, desired=4, until=100.0)
    assert cooldown.base(running, True, 4, now=50.0) == 2
    assert cooldown.base(running, True, 4, now=100.0) == 4
    assert cooldown.base(running, False, 4, now=50.0) == 4


def test_a_smaller_want_during_a_cooldown_never_removes_what_was_added(variant: Variant):
    variant.register()
    variant.track(100, ScaleOutCooldown=600)
    assert variant.minutes(400, 3)[-1] == 4
    assert variant.minutes(440, 9) == [4] * 9  # with the count before the cooldown this would be two
    assert variant.minutes(440, 2)[-1] == 5


def steps(kind: str, *bounds_: tuple[float | None, float | None, int], **more: Any) -> dict:
    names = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
    found = [{n: v for n, v in zip(names, one, strict=True) if v is not None} for one in bounds_]
    return {"AdjustmentType": kind, "StepAdjustments": found, **more}


def test_a_step_includes_the_bound_that_is_nearer_to_the_threshold():
    up = steps("ChangeInCapacity", (0, 10, 0), (10, 20, 1), (20, None, 3))
    assert [step.adjustment(up, breach) for breach in (0, 9.9, 10, 19.9, 20, 500, -1)] == [0, 0, 1, 1, 3, 3, None]
    down = steps("ChangeInCapacity", (-10, 0, -1), (None, -10, -2))
    assert [step.adjustment(down, breach) for breach in (-0.1, -9.9, -10, -500)] == [-1, -1, -2, -2]


@pytest.mark.parametrize(
    ("kind", "base", "amount", "more", "wanted"),
    [
        ("ChangeInCapacity", 3, 2, {}, 5),
        ("ChangeInCapacity", 3, -5, {}, 0),
        ("ExactCapacity", 3, 7, {}, 7),
        ("PercentChangeInCapacity", 10, 127, {}, 22),
        ("PercentChangeInCapacity", 1, 67, {}, 2),
        ("PercentChangeInCapacity", 1, -58, {}, 0),
        ("PercentChangeInCapacity", 10, -66, {}, 4),
        ("PercentChangeInCapacity", 4, 25, {"MinAdjustmentMagnitude": 2}, 6),
    ],
)
def test_an_adjustment_means_what_its_type_says(kind: str, base: int, amount: int, more: dict, wanted: int):
    assert step.wanted(steps(kind, (0, None, amount), **more), base, amount) == wanted


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 10, 1), (5, None, 2)], "overlap"),
        ([(0, 10, 1), (20, None, 2)], "gap"),
        ([(0, 10, 1)], "no MetricIntervalUpperBound"),
        ([(-10, 0, -1)], "no MetricIntervalLowerBound"),
        ([(10, 10, 1)], "greater than its lower bound"),
        ([], "needs AdjustmentType and StepAdjustments"),
    ],
)
def test_steps_that_do_not_fit_together_are_refused(spans: list, message: str):
    with pytest.raises(ValidationException, match=message):
        step.check(steps("ChangeInCapacity", *spans))


def test_an_alarm_of_the_users_drives_a_step_policy(variant: Variant):
    variant.register()
    configuration = steps("ChangeInCapacity", (0, 200, 1), (200, None, 3), Cooldown=120)
    arn = variant.call("PutScalingPolicy", **TARGET, PolicyName="steps", StepScalingPolicyConfiguration=configuration)[
        "PolicyARN"
    ]
    dimensions = [{"Name": "EndpointName", "Value": "dogs"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    variant.context.call(
        "cloudwatch",
        "PutMetricAlarm",
        **{"AlarmName": "busy", "Namespace": "AWS/SageMaker", "MetricName": "InvocationsPerInstance"},
        **{"Dimensions": dimensions, "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 100},
        **{"ComparisonOperator": "GreaterThanThreshold", "AlarmActions": [arn]},
    )
    assert variant.minutes(150, 1) == [2]  # 50 above: one more
    assert variant.minutes(700, 1) == [4]  # 250 above, in the cooldown: three more than before it, two of them new
    assert variant.minutes(800, 1) == [4]  # 100 above: the cooldown holds
    assert variant.minutes(800, 2)[-1] == 5
    assert variant.activities()[0]["Cause"] == "monitor alarm busy in state ALARM triggered policy steps"


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({}, "Exactly one of"),
        ({"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}}, "not ALBRequest"),
        ({"CustomizedMetricSpecification": {"MetricName": "m"}}, "needs MetricName, Namespace and Statistic"),
    ],
)
def test_a_metric_that_cannot_be_tracked_is_refused(configuration: dict, message: str):
    with pytest.raises(ValidationException, match=message):
        tracking.check({"TargetValue": 1.0, **configuration})


def test_new_bounds_bring_the_count_into_them(variant: Variant):
    variant.register(low=3, high=5)
    bounds.apply(variant.context, NOON)
    assert variant.count == 3
    variant.register(low=1, high=2)
    bounds.apply(variant.context, NOON + 1)
    activities.settle(variant.context, NOON + 2)
    assert variant.count == 2
    causes = [activity["Cause"] for activity in variant.activities()]
    assert causes == ["maximum capacity was set to 2", "minimum capacity was set to 3"]
    variant.set(variant.context, {}, 9)  # by hand: AWS leaves that alone
    bounds.apply(variant.context, NOON + 3)
    assert variant.count == 9


def test_a_scheduled_action_gives_new_bounds_at_its_time(variant: Variant):
    variant.register()
    soon = "2027-01-15T08:00:30"  # half a minute after NOON
    action = {**TARGET, "ScheduledActionName": "morning", "Schedule": f"at({soon})"}
    variant.call("PutScheduledAction", **action, ScalableTargetAction={"MinCapacity": 4, "MaxCapacity": 8})
    loop.beat(variant.context, NOON, NOON + 29)
    assert variant.count == 1
    loop.beat(variant.context, NOON + 29, NOON + 31)
    assert variant.count == 4
    last, first = variant.activities()
    assert first["Description"] == "Setting min capacity to 4 and max capacity to 8"
    assert first["Cause"] == "scheduled action name morning was triggered"
    assert last["Cause"] == "minimum capacity was set to 4"
    (found,) = variant.call("DescribeScheduledActions", ServiceNamespace="sagemaker")["ScheduledActions"]
    assert found["Schedule"] == f"at({soon})" and found["ScheduledActionARN"].endswith(":scheduledActionName/morning")
    variant.call("DeleteScheduledAction", **TARGET, ScheduledActionName="morning")
    with pytest.raises(AwsError, match="No scheduled action found"):
        variant.call("DeleteScheduledAction", **TARGET, ScheduledActionName="morning")


def test_suspended_scheduled_scaling_changes_no_bounds(variant: Variant):
    variant.register(SuspendedState={"ScheduledScalingSuspended": True})
    action = {**TARGET, "ScheduledActionName": "often", "Schedule": "rate(1 minute)", "CreationTime": NOON}
    scheduled.run(variant.context, action | {"ScalableTargetAction": {"MinCapacity": 4}}, NOON)
    assert (
        variant.call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"][0]["MinCapacity"] == 1
    )


def test_a_rate_runs_once_an_interval_within_its_times():
    action = {"Schedule": "rate(5 minutes)", "CreationTime": NOON - 60, "StartTime": NOON, "EndTime": NOON + 600}
    assert scheduled.next_due(action, NOON - 100) == NOON
    assert scheduled.next_due(action, NOON) == NOON + 300
    assert scheduled.next_due(action, NOON + 600) is None
    assert scheduled.next_due({"Schedule": "rate(5 minutes)", "CreationTime": NOON}, NOON - 1) == NOON + 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Schedule": "sometimes"}, "no schedule expression"),
        ({"Schedule": "at(2001-01-01T00:00:00)"}, "no time in the future"),
        ({"Timezone": "Mars/Olympus"}, "no time zone"),
        ({"ScalableTargetAction": {"MinCapacity": 5, "MaxCapacity": 2}}, "Maximum capacity cannot be less"),
        ({"ScalableTargetAction": {"MinCapacity": 0}}, "at least 1"),
        ({"ScalableTargetAction": {}}, "MinCapacity or MaxCapacity"),
    ],
)
def test_a_scheduled_action_that_cannot_run_is_refused(variant: Variant, change: dict, message: str):
    variant.register()
    action = {"ScheduledActionName": "a", "Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 1}}
    with pytest.raises(ValidationException, match=message):
        variant.call("PutScheduledAction", **TARGET, **{**action, **change})


def test_activities_are_paged_newest_first_and_survive_a_restart(variant: Variant):
    target = {**TARGET, "MinCapacity": 1, "MaxCapacity": 99}
    for count in range(2, 8):
        activities.set_capacity(variant.context, target, count, f"cause {count}", NOON + count)
        activities.settle(variant.context, NOON + count)
    begun = {"out": True, "base": 7, "seconds": 300}
    activities.set_capacity(variant.context, target, 9, "cause 9", NOON + 9, begun)
    activities.settle(variant.context, NOON + 10)

    first = variant.call("DescribeScalingActivities", ServiceNamespace="sagemaker", ResourceId=RESOURCE, MaxResults=4)
    assert [activity["Cause"] for activity in first["ScalingActivities"]] == [f"cause {n}" for n in (9, 7, 6, 5)]
    rest = variant.call("DescribeScalingActivities", ServiceNamespace="sagemaker", NextToken=first["NextToken"])
    assert [activity["Cause"] for activity in rest["ScalingActivities"]] == [f"cause {n}" for n in (4, 3, 2)]

    again = Context(variant.context.state_dir, "", variant.context.store)
    assert activities.cooldown_of(again, target) == Cooldown(True, 7, 9, NOON + 310)
    activities.settle(again, NOON + 50 * 86400)
    assert activities.of_target(again) == []
