"""Scaling out and in by the policy's own rules: a step of load above its target, then none.

Nothing is changed but the load (and the clock, where the server has one): the count follows from the alarms of the
target tracking policy. AWS's alarms fire after 3 minutes above the target and after 15 below 90 % of it.
Source: https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.load_test.plan import MOST_REQUESTS, Phase, Plan, Serving
from pipeline.load_test.process import Worker

METRIC = "SageMakerVariantInvocationsPerInstance"
MOST_REQUESTS_PER_SECOND = 1000.0  # what one client can send, with something left
USERS_PER_REQUEST = 0.5  # users for a rate of one request a second: answers may take half a second
LEAST_POLL_SECONDS = 0.25
POLL_MINUTES = 0.1  # of the policy

# Minutes of the policy.
BEFORE = 1.0
OUT = 20.0
HOLD = 4.0
IN = 75.0
AFTER = 1.0
USUAL = 30.0  # altogether


@dataclass(frozen=True)
class Policy:
    """A target tracking policy of a variant. `target`: invocations a minute and instance; `wanted`: where it leads."""

    name: str
    resource: str
    target: float
    least: int
    most: int

    @property
    def wanted(self) -> int:
        return min(self.most, self.least + 2)

    @property
    def requests_per_second(self) -> float:
        """A load that takes `wanted` instances: just under `wanted` times the target."""
        return (self.wanted - 0.2) * self.target / 60


@dataclass
class Watched:
    """What was seen, in minutes of the policy since the beginning."""

    speed: float
    began: float = field(default_factory=time.time)
    instances: list[dict[str, Any]] = field(default_factory=list)  # minute, current, desired
    load: list[dict[str, Any]] = field(default_factory=list)  # minute, requests_per_minute, p50_ms, p99_ms, errors

    def minute(self, at: float | None = None) -> float:
        return round(((at or time.time()) - self.began) / 60 * self.speed, 3)


def find_policy(cloud: Cloud, serving: Serving) -> Policy:
    """The variant's target tracking policy. Raises UserError where it has none, or no room to scale."""
    resource = f"endpoint/{serving.endpoint}/variant/{serving.variant}"
    scaling = cloud.client("application-autoscaling")
    named: dict[str, Any] = {"ServiceNamespace": "sagemaker"}
    targets = scaling.describe_scalable_targets(**named, ResourceIds=[resource])["ScalableTargets"]
    policies = scaling.describe_scaling_policies(**named, ResourceId=resource)["ScalingPolicies"]
    found = [(policy["PolicyName"], tracked) for policy in policies if (tracked := _tracked(policy))]
    if not targets or not found:
        raise UserError(
            f"The endpoint {serving.endpoint} has no target tracking policy on {METRIC}.",
            f"A serverless endpoint has none. The deploy step makes one: {hints.RUN}",
        )
    policy = Policy(*found[0][:1], resource, found[0][1], targets[0]["MinCapacity"], targets[0]["MaxCapacity"])
    if policy.least == policy.most:
        raise UserError(
            f"The endpoint may have {policy.least} instance(s), no more and no fewer: there is nothing to scale.",
            f"Allow more: {hints.RUN_WITH_MORE_INSTANCES(most=3)}",
        )
    if serving.instances != policy.least:
        raise UserError(
            f"The endpoint has {serving.instances} instances, and may go down to {policy.least}.",
            "Wait until nobody asks it any more and it is back there.",
        )
    if policy.requests_per_second > MOST_REQUESTS_PER_SECOND:
        lower = int(MOST_REQUESTS_PER_SECOND * 60 / (policy.wanted - 0.2))
        raise UserError(
            f"The target of {policy.target:g} needs {policy.requests_per_second:,.0f} requests/s to scale out; "
            f"this client sends at most {MOST_REQUESTS_PER_SECOND:,.0f}.",
            f"Set a lower one: {hints.RUN_WITH_TARGET(target=lower)}",
        )
    return policy


def _tracked(policy: dict[str, Any]) -> float | None:
    configuration = policy.get("TargetTrackingScalingPolicyConfiguration", {})
    metric = configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    return configuration["TargetValue"] if metric == METRIC else None


class Run:
    """One scaling run. `tell`: called with a sentence whenever something changed."""

    def __init__(
        self, cloud: Cloud, plan: Plan, serving: Serving, policy: Policy, speed: float, tell: Callable[[str], None]
    ):
        self.cloud, self.serving, self.policy, self.tell = cloud, serving, policy, tell
        self.watched = Watched(speed)
        rate = policy.requests_per_second
        users = min(64, max(4, math.ceil(rate * USERS_PER_REQUEST)))
        seconds = (OUT + HOLD) * 60 / speed + 60
        phase = Phase(users, seconds, rate)
        self.plan = replace(plan, phases=(phase,), max_requests=MOST_REQUESTS, warm_up_seconds=0.0)
        self.status = "complete"

    def report(self) -> dict[str, Any]:
        """Do it. What was seen, also where it ended early: status is complete, interrupted, gone or stuck."""
        began = self.watched.began
        try:
            self._wait(BEFORE, until=lambda: False)
            self._out()
            if self.status == "complete":
                self.tell("The load is gone.")
                self._reach(self.policy.least, IN)
                self._wait(AFTER, until=lambda: False)
        except KeyboardInterrupt:
            self.status = "interrupted"
        except (BotoCoreError, ClientError) as problem:
            self.status = "gone"
            self.tell(f"The server does not answer any more: {problem}")
        return {
            "target": self.policy.target,
            "policy": self.policy.name,
            "from": self.policy.least,
            "to": self.policy.wanted,
            "requests_per_second": round(self.policy.requests_per_second, 2),
            "speed": self.watched.speed,
            "status": self.status,
            "highest": max((seen["current"] for seen in self.watched.instances), default=None),
            "last": self.watched.instances[-1]["current"] if self.watched.instances else None,
            "seconds": round(time.time() - began, 1),
            "instances": self.watched.instances,
            "load": self.watched.load,
            "activities": self._activities(),
        }

    def _out(self) -> None:
        rate = self.policy.requests_per_second
        self.tell(f"{rate:.1f} requests/s: {rate * 60 / self.policy.target:.1f} times the target of one instance.")
        with Worker(self.plan) as worker:
            listener = threading.Thread(target=self._listen, args=(worker,))
            listener.start()
            try:
                self._reach(self.policy.wanted, OUT, worker)
                self._wait(HOLD, until=lambda: worker.interrupted or not listener.is_alive())
            finally:
                worker.end()
                listener.join(30)
            if worker.interrupted:
                self.status = "interrupted"

    def _listen(self, worker: Worker) -> None:
        try:
            for line in worker.lines():
                if "tick" in line:
                    self._note(line["tick"])
                if line.get("stopped") == "gone":
                    self.status = "gone"
        except UserError as problem:
            self.status = "stuck"
            self.tell(str(problem))

    def _note(self, tick: dict[str, Any]) -> None:
        asked = tick["requests"] + sum(tick["errors"].values())
        middle = self.watched.minute(time.time() - tick["seconds"] / 2)
        self.watched.load.append(
            {
                "minute": middle,
                "requests_per_minute": round(asked / tick["seconds"] * 60, 1),
                "p50_ms": tick["p50_ms"],
                "p99_ms": tick["p99_ms"],
                "errors": tick["errors"],
            }
        )

    def _reach(self, count: int, minutes: float, worker: Worker | None = None) -> None:
        def there() -> bool:
            done = self.watched.instances[-1]["current"] == count
            return done or self.status != "complete" or (worker is not None and worker.interrupted)

        if not self._wait(minutes, until=there):
            self.status = "stuck"
            self.tell(f"After {minutes:g} minutes of the policy there are still not {count} instances.")

    def _wait(self, minutes: float, *, until: Callable[[], bool]) -> bool:
        """Look at the endpoint until it is time. True when `until` said so."""
        deadline = self.watched.minute() + minutes
        while self.watched.minute() < deadline:
            self._look()
            if until():
                return True
            time.sleep(max(LEAST_POLL_SECONDS, POLL_MINUTES * 60 / self.watched.speed))
        return False

    def _look(self) -> None:
        found = self.cloud.client("sagemaker").describe_endpoint(EndpointName=self.serving.endpoint)
        variant = next(v for v in found["ProductionVariants"] if v["VariantName"] == self.serving.variant)
        seen = {"current": variant["CurrentInstanceCount"], "desired": variant["DesiredInstanceCount"]}
        before = self.watched.instances[-1] if self.watched.instances else seen
        if seen["current"] != before["current"]:
            self.tell(f"minute {self.watched.minute():.1f}: {before['current']} -> {seen['current']} instances")
        self.watched.instances.append({"minute": self.watched.minute(), **seen})

    def _activities(self) -> list[dict[str, Any]]:
        """The scaling activities since the beginning, oldest first."""
        try:
            found = self.cloud.client("application-autoscaling").describe_scaling_activities(
                ServiceNamespace="sagemaker", ResourceId=self.policy.resource
            )["ScalingActivities"]
        except (BotoCoreError, ClientError):
            return []
        since = [a for a in found if a["StartTime"].timestamp() >= self.watched.began - 1]
        return [
            {
                "minute": self.watched.minute(activity["StartTime"].timestamp()),
                "description": activity["Description"],
                "cause": activity["Cause"],
                "status": activity["StatusCode"],
            }
            for activity in sorted(since, key=lambda activity: activity["StartTime"])
        ]
