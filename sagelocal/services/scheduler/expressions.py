"""Schedule expressions: `cron(…)`, `rate(…)` and `at(…)`, and when they fire next.

The embedded Scheduler fires by them; a client may check them and show the next runs beforehand.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sagelocal.services.scheduler import cron
from sagelocal.services.scheduler.cron import Cron, ExpressionError

__all__ = ["At", "Expression", "ExpressionError", "Rate", "next_times", "next_within", "parse", "zone"]

UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
LONGEST_RATE = timedelta(days=365 * 100)


@dataclass(frozen=True)
class Rate:
    """Every `interval`, counted from the schedule's start date or creation; a day is 24 hours, whatever clocks do."""

    interval: timedelta


@dataclass(frozen=True)
class At:
    """Once, at a wall-clock time (naive)."""

    time: datetime


Expression = Cron | Rate | At


def parse(text: str) -> Expression:
    """The meaning of an expression. Raises ExpressionError, which says what is wrong with which part."""
    match = re.fullmatch(r"\s*(cron|rate|at)\((.*)\)\s*", text, re.DOTALL)
    if not match:
        raise ExpressionError(f"{text!r} is no schedule expression: write cron(…), rate(…) or at(…). {cron.EXAMPLE}")
    kind, inside = match.groups()
    if kind == "cron":
        return cron.parse(inside)
    return _rate(inside) if kind == "rate" else _at(inside)


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ExpressionError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ExpressionError(
            f"{name!r} is no time zone: give an IANA name, for instance Europe/Berlin or UTC."
        ) from None


def next_times(
    expression: str | Expression,
    timezone: str = "UTC",
    count: int = 5,
    after: datetime | None = None,
    anchor: datetime | None = None,
) -> list[datetime]:
    """The next `count` times (aware, in `timezone`) strictly after `after` (aware; now when left out).

    `anchor`: where a rate's first interval begins; a rate without one fires first just after `after`. Fewer times come
    back when the expression has no more. Raises ExpressionError for a bad expression or time zone.
    """
    parsed = parse(expression) if isinstance(expression, str) else expression
    after = after or datetime.now(UTC)
    place = zone(timezone)
    moments = _moments(parsed, place, after, anchor or after + timedelta(microseconds=1))
    return [moment.astimezone(place) for moment in islice(moments, count)]


def next_within(
    expression: Expression, timezone: str, after: float, anchor: float, begins: float | None, ends: float | None
) -> float | None:
    """The next time after `after`, from `begins` to `ends`; None when there is none. All are seconds since 1970.

    `anchor`: where a rate's first interval begins without `begins`. at(…) is not bound by `begins` and `ends`.
    """
    if isinstance(expression, At):
        begins = ends = None
    after = max(after, just_before(begins)) if begins else after
    span = (datetime.fromtimestamp(seconds, UTC) for seconds in (after, begins or anchor))
    found = [moment.timestamp() for moment in next_times(expression, timezone, 1, *span)]
    return found[0] if found and not (ends and found[0] > ends) else None


def just_before(moment: float) -> float:
    """A time after which a schedule still fires at `moment`. A millisecond, because a number of seconds as large as
    today's has steps of a quarter of a microsecond: one microsecond less is often the same one when it is rounded."""
    return moment - 1e-3


def _moments(expression: Expression, place: ZoneInfo, after: datetime, anchor: datetime) -> Iterator[datetime]:
    """Times in UTC after `after`, ascending.

    A wall-clock time that the spring change leaves out is skipped; one that the autumn change gives twice fires once.
    Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#daylight-savings-time
    """
    if isinstance(expression, Rate):
        passed = max(0, (after - anchor) // expression.interval + 1)
        moment = anchor.astimezone(UTC) + passed * expression.interval
        while True:
            yield moment
            moment += expression.interval
    elif isinstance(expression, At):
        moment = expression.time.replace(tzinfo=place).astimezone(UTC)
        if moment > after:
            yield moment
    else:
        for wall_clock in expression.local_times(after.astimezone(place).date()):
            moment = wall_clock.replace(tzinfo=place).astimezone(UTC)
            exists = moment.astimezone(place).replace(tzinfo=None) == wall_clock
            if exists and moment > after:
                yield moment


def _rate(inside: str) -> Rate:
    match = re.fullmatch(r"\s*([0-9]{1,9})\s+(minute|hour|day)s?\s*", inside)
    if not match or int(match[1]) < 1:
        raise ExpressionError(
            f"rate({inside}) is no rate: write a whole number from 1 and minutes, hours or days, as rate(12 hours)."
        )
    if (count := int(match[1])) > LONGEST_RATE / UNITS[match[2]]:
        raise ExpressionError(f"rate({inside}) is more than a hundred years.")
    return Rate(count * UNITS[match[2]])


def _at(inside: str) -> At:
    text = inside.strip()
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
            raise ValueError
        return At(datetime.fromisoformat(text))
    except ValueError:
        raise ExpressionError(
            f"at({inside}) is no time: write at(yyyy-mm-ddThh:mm:ss), the time zone beside it."
        ) from None
