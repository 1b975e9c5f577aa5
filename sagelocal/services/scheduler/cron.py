"""AWS's cron: `minutes hours day-of-month month day-of-week year`, with `?`, `L`, `W` and `#`.

Not Unix's: a sixth field, days of the week from 1 (Sunday) to 7, and one of the two day fields must be `?`.
Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

DayRule = Callable[[int, int, int], list[int]]  # (year, month, last day) -> days of that month

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
EXAMPLE = "cron(0 3 ? * MON *) is every Monday at 3:00."


class ExpressionError(ValueError):
    """A schedule expression or a time zone that EventBridge Scheduler would refuse; the message names the part."""


@dataclass(frozen=True)
class Field:
    """One of the six fields: its name, its smallest and largest value, and the names that stand for values."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


MINUTES = Field("minutes", 0, 59)
HOURS = Field("hours", 0, 23)
DAY_OF_MONTH = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
DAY_OF_WEEK = Field("day-of-week", 1, 7, WEEKDAYS)
YEAR = Field("year", 1970, 2199)


@dataclass(frozen=True)
class Cron:
    """A parsed cron expression: the minutes, hours, months and years it names, and rules for the days."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    day_rules: tuple[DayRule, ...]

    def days(self, year: int, month: int) -> list[int]:
        """The days of a month on which it fires, ascending."""
        last = monthrange(year, month)[1]
        return sorted({day for rule in self.day_rules for day in rule(year, month, last)})

    def local_times(self, first: date) -> Iterator[datetime]:
        """Wall-clock times (naive) from the day `first` on, ascending."""
        for year in self.years:
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in self.days(year, month):
                    if date(year, month, day) >= first:
                        for hour in self.hours:
                            for minute in self.minutes:
                                yield datetime(year, month, day, hour, minute)


def parse(fields: str) -> Cron:
    """The cron of what stands between the brackets. Raises ExpressionError."""
    words = fields.split()
    if len(words) != 6:
        raise ExpressionError(
            f"cron({fields}) has {len(words)} field{'s' * (len(words) != 1)} where AWS's cron has six: "
            f"minutes hours day-of-month month day-of-week year. {EXAMPLE}"
        )
    minutes, hours, day_of_month, month, day_of_week, year = words
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ExpressionError(
            f"cron({fields}): exactly one of day-of-month ({day_of_month}) and day-of-week ({day_of_week}) "
            f"must be ?. {EXAMPLE}"
        )
    if "#" in day_of_week and "," in day_of_week:
        raise _refused(day_of_week, DAY_OF_WEEK, "# stands alone, without a list")
    if day_of_month == "?":
        day_rules = tuple(_weekday_rule(part) for part in day_of_week.upper().split(","))
    else:
        day_rules = tuple(_month_day_rule(part) for part in day_of_month.upper().split(","))
    return Cron(_values(minutes, MINUTES), _values(hours, HOURS), _values(month, MONTH), _values(year, YEAR), day_rules)


def _values(text: str, field: Field) -> tuple[int, ...]:
    """All values that a field's text names: lists of values, ranges and steps."""
    return tuple(sorted({value for part in text.split(",") for value in _part(part, field)}))


def _part(part: str, field: Field) -> range:
    span, slash, step_text = part.partition("/")
    step = _number(step_text, field, part) if slash else 1
    if step < 1:
        raise _refused(part, field, "a step must be 1 or more")
    if span == "*":
        low, high = field.low, field.high
    elif "-" in span:
        first, _, last = span.partition("-")
        low, high = _value(first, field, part), _value(last, field, part)
        if low > high:
            raise _refused(part, field, "a range must ascend; write two ranges with a comma")
    else:
        low = _value(span, field, part)
        high = field.high if slash else low
    return range(low, high + 1, step)


def _value(text: str, field: Field, part: str) -> int:
    if text.upper() in field.names:
        return field.names.index(text.upper()) + 1
    value = _number(text, field, part)
    if not field.low <= value <= field.high:
        raise _refused(part, field, f"it must lie between {field.low} and {field.high}")
    return value


def _number(text: str, field: Field, part: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        names = f" or one of {', '.join(field.names)}" if field.names else ""
        raise _refused(part, field, f"{text!r} is no number{names}")
    return int(text)


def _refused(part: str, field: Field, why: str) -> ExpressionError:
    return ExpressionError(f"The {field.name} field has {part!r}: {why}.")


def _month_day_rule(part: str) -> DayRule:
    weekday = re.fullmatch(r"([0-9]{1,2})W", part)
    if part == "L":
        return lambda year, month, last: [last]
    if part == "LW":
        return lambda year, month, last: [_nearest_weekday(year, month, last, last)]
    if weekday:
        day = _value(weekday[1], DAY_OF_MONTH, part)
        return lambda year, month, last: [_nearest_weekday(year, month, day, last)] if day <= last else []
    days = _part(part, DAY_OF_MONTH)
    return lambda year, month, last: [day for day in days if day <= last]


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    """The Monday to Friday nearest to a day, within its month."""
    weekday = date(year, month, day).weekday()
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < last else day - 2
    return day


def _weekday_rule(part: str) -> DayRule:
    name, hash_sign, nth_text = part.partition("#")
    if hash_sign:
        weekday, nth = _value(name, DAY_OF_WEEK, part), _number(nth_text, DAY_OF_WEEK, part)
        if not 1 <= nth <= 5:
            raise _refused(part, DAY_OF_WEEK, "a month has a first (#1) to fifth (#5) such day")
        return lambda year, month, last: _on_weekdays(year, month, last, {weekday})[nth - 1 : nth]
    if part == "L":
        return lambda year, month, last: _on_weekdays(year, month, last, {7})
    if part.endswith("L"):
        last_of = _value(part[:-1], DAY_OF_WEEK, part)
        return lambda year, month, last: _on_weekdays(year, month, last, {last_of})[-1:]
    weekdays = set(_part(part, DAY_OF_WEEK))
    return lambda year, month, last: _on_weekdays(year, month, last, weekdays)


def _on_weekdays(year: int, month: int, last: int, weekdays: set[int]) -> list[int]:
    """The days of a month that fall on AWS's weekdays (1 is Sunday)."""
    first = date(year, month, 1)
    return [day for day in range(1, last + 1) if (first + timedelta(days=day - 1)).isoweekday() % 7 + 1 in weekdays]
