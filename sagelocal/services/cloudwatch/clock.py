"""How fast CloudWatch's minutes, alarm periods, cooldowns and deployment waits pass here.

AWS's are made for a data centre: scaling in takes a quarter of an hour. At speed 30 a "CloudWatch minute" lasts two
seconds. Timestamps are always real ones. Set with the environment variable SAGELOCAL_SPEED when the server
starts, and on a running server with POST /_sagelocal/clock?speed=30.
"""

from collections.abc import Mapping

VARIABLE = "SAGELOCAL_SPEED"
SLOWEST, FASTEST = 1.0, 1000.0

_speed = 1.0


class BadSpeed(ValueError):
    """A speed that is no number, or out of range; the message says what to give."""


def speed() -> float:
    """How many of AWS's seconds pass in a real one."""
    return _speed


def seconds(aws_seconds: float) -> float:
    """How many real seconds what takes `aws_seconds` on AWS takes here."""
    return aws_seconds / _speed


def set_speed(value: float | str) -> float:
    """Change the speed of this process; the new one. Raises BadSpeed."""
    global _speed
    try:
        wanted = float(value)
    except ValueError:
        wanted = 0.0
    if not SLOWEST <= wanted <= FASTEST:
        raise BadSpeed(f"Speed {value!r} is not possible: give a number from {SLOWEST:g} (real time) to {FASTEST:g}.")
    _speed = wanted
    return wanted


def read(environment: Mapping[str, str]) -> None:
    """Take the speed from the environment, if it names one. Raises BadSpeed, which names the variable."""
    value = environment.get(VARIABLE)
    if value:
        try:
            set_speed(value)
        except BadSpeed as problem:
            raise BadSpeed(f"{VARIABLE}: {problem}") from None
