"""How fast CloudWatch's minutes, alarm periods, cooldowns and deployment waits pass here.

AWS's are made for a data centre: scaling in takes a quarter of an hour. At speed 30 a "CloudWatch minute" lasts two
seconds. Timestamps are always real ones. Set with the environment variable SAGELOCAL_SPEED when the server
starts, and on a running server with POST /_sagelocal/clock?speed=30, signed.
"""

from collections.abc import Mapping

from sagelocal.core.context import Context, one_per_server

VARIABLE = "SAGELOCAL_SPEED"
SLOWEST, FASTEST = 1.0, 1000.0


class BadSpeed(ValueError):
    """A speed that is no number, or out of range; the message says what to give."""


class Clock:
    """`speed`: how many of AWS's seconds pass in a real one."""

    def __init__(self, context: Context):
        self.speed = SLOWEST

    def seconds(self, aws_seconds: float) -> float:
        """How many real seconds what takes `aws_seconds` on AWS takes here."""
        return aws_seconds / self.speed


clock = one_per_server(Clock)


def parsed(value: float | str) -> float:
    """A speed as it was given. Raises BadSpeed."""
    try:
        wanted = float(value)
    except ValueError:
        wanted = 0.0
    if not SLOWEST <= wanted <= FASTEST:
        raise BadSpeed(f"Speed {value!r} is not possible: give a number from {SLOWEST:g} (real time) to {FASTEST:g}.")
    return wanted


def named(environment: Mapping[str, str]) -> float:
    """The speed that the environment asks for. Raises BadSpeed, which names the variable."""
    try:
        return parsed(environment.get(VARIABLE) or SLOWEST)
    except BadSpeed as problem:
        raise BadSpeed(f"{VARIABLE}: {problem}") from None
