"""A DeploymentConfig: in which steps traffic moves to a new fleet, how long each step bakes, and what is watched.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html. An endpoint that is updated without
one moves all traffic at once and waits for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json

ALL_AT_ONCE = "ALL_AT_ONCE"
SIZE_MEMBER = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
LIMITS = {"CANARY": (0, 50), "LINEAR": (10, 50)}  # percent of a variant's instances that one step may move


@dataclass(frozen=True, kw_only=True)
class Size:
    """A CapacitySize: a number of instances, or a percentage of them."""

    type: str
    value: int

    def of(self, count: int) -> int:
        """How many of `count` instances; of a percentage the whole ones, at least one."""
        return self.value if self.type == "INSTANCE_COUNT" else max(1, count * self.value // 100)

    def __str__(self) -> str:
        return f"{self.value} instance(s)" if self.type == "INSTANCE_COUNT" else f"{self.value} %"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A checked DeploymentConfig. Times are AWS's seconds; services.cloudwatch.clock says how long they take here."""

    type: str = ALL_AT_ONCE
    size: Size | None = None
    wait_seconds: int = 0  # baking after each shift but the last
    termination_wait_seconds: int = 0  # baking after the last shift, before the old fleet ends
    timeout_seconds: int | None = None
    alarms: tuple[str, ...] = ()

    def steps(self, count: int) -> list[int]:
        """How many of a variant's `count` new instances have traffic after each shift; the last is all of them."""
        if self.size is None or self.type == ALL_AT_ONCE:
            return [count]
        step = min(self.size.of(count), count)
        return [step, count] if self.type == "CANARY" else [*range(step, count, step), count]


def read(config: Mapping[str, Any] | None) -> Policy:
    """The policy of a DeploymentConfig that fits botocore's model. Raises ValidationException."""
    config = config or {}
    if config.get("RollingUpdatePolicy"):
        raise ValidationException(
            "The embedded SageMaker does not run RollingUpdatePolicy. Use BlueGreenUpdatePolicy, which it does."
        )
    blue_green = config.get("BlueGreenUpdatePolicy", {})
    routing = blue_green.get("TrafficRoutingConfiguration", {"Type": ALL_AT_ONCE, "WaitIntervalInSeconds": 0})
    alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return Policy(
        type=routing["Type"],
        size=_size(routing),
        wait_seconds=routing["WaitIntervalInSeconds"],
        termination_wait_seconds=blue_green.get("TerminationWaitInSeconds", 0),
        timeout_seconds=blue_green.get("MaximumExecutionTimeoutInSeconds"),
        alarms=tuple(alarm["AlarmName"] for alarm in alarms if "AlarmName" in alarm),
    )


def check(policy: Policy, counts: Mapping[str, int]) -> None:
    """Raise ValidationException when a policy does not suit variants of so many instances ({variant: count})."""
    for variant, count in counts.items():
        _check_step(policy, variant, count)
    shifts = max((len(policy.steps(count)) for count in counts.values()), default=1)
    waits = policy.wait_seconds * (shifts - 1) + policy.termination_wait_seconds
    if policy.timeout_seconds is not None and policy.timeout_seconds <= waits:
        raise ValidationException(
            f"MaximumExecutionTimeoutInSeconds is {policy.timeout_seconds}, but the deployment alone waits {waits} s "
            "(WaitIntervalInSeconds after each shift, then TerminationWaitInSeconds). Give it more."
        )


def _size(routing: Json) -> Size | None:
    needed = SIZE_MEMBER.get(routing["Type"])
    for member in SIZE_MEMBER.values():
        if member in routing and member != needed:
            raise ValidationException(
                f"{member} does not go with traffic routing type {routing['Type']}. Leave it out."
            )
    if needed is None:
        return None
    if needed not in routing:
        raise ValidationException(f"Traffic routing type {routing['Type']} needs {needed}.")
    return Size(type=routing[needed]["Type"], value=routing[needed]["Value"])


def _check_step(policy: Policy, variant: str, count: int) -> None:
    if policy.size is None:
        return
    low, high = LIMITS[policy.type]
    moved = policy.size.of(count)
    percent = 100 * moved / count if policy.size.type == "INSTANCE_COUNT" else policy.size.value
    if percent > high or percent < low or 100 * moved > high * count:
        bounds = f"at most {high} %" if not low else f"{low} to {high} %"
        raise ValidationException(
            f"{SIZE_MEMBER[policy.type]} of {policy.size} moves {moved} of the {count} instance(s) of variant "
            f"{variant} at once; it must be {bounds} of them. Choose another size, more instances, or {ALL_AT_ONCE}."
        )
