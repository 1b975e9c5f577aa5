"""Cooldowns: how soon after a scaling activity the next may follow. Pure rules.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html and
…/step-scaling-policy-overview.html
"""

from dataclasses import dataclass

DEFAULT_SECONDS = 300  # of AWS's, for SageMaker's variants


@dataclass(frozen=True)
class Cooldown:
    """What began when a policy changed the count: from `base` to `desired` instances, in real seconds up to `until`."""

    out: bool
    base: int
    desired: int
    until: float


def base(running: Cooldown | None, out: bool, desired: int, now: float) -> int:
    """The count that an adjustment starts from: what a cooldown's scale-out added already counts towards the next."""
    if running and out and running.out and now < running.until and running.desired == desired:
        return running.base
    return desired


def allows(running: Cooldown | None, out: bool, wanted: int, now: float) -> bool:
    """Whether a change to `wanted` may happen now.

    Scaling out waits for the cooldown of a scale-out, unless more is wanted than that one brought, and never for that
    of a scale-in; scaling in waits for that of a scale-in.
    """
    if running is None or now >= running.until:
        return True
    if out:
        return not running.out or wanted > running.desired
    return running.out
