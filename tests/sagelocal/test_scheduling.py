"""Schedule expressions: what they mean, when they fire, and what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagelocal.services.scheduler.expressions import ExpressionError, next_times, parse, zone

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)  # a Monday


def upcoming(expression: str, timezone: str = "UTC", count: int = 3, after: datetime = NOW) -> list[str]:
    return [moment.strftime("%a %Y-%m-%d %H:%M") for moment in next_times(expression, timezone, count, after)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 3 ? * MON *)", ["Mon 2026-11-30 03:00", "Mon 2026-12-07 03:00", "Mon 2026-12-14 03:00"]),
        ("cron(0 3 ? * 2 *)", ["Mon 2026-11-30 03:00", "Mon 2026-12-07 03:00", "Mon 2026-12-14 03:00"]),
        ("cron(0/20 14 * * ? *)", ["Mon 2026-11-23 14:20", "Mon 2026-11-23 14:40", "Tue 2026-11-24 14:00"]),
        ("cron(15,45 9-10 ? * tue-wed *)", ["Tue 2026-11-24 09:15", "Tue 2026-11-24 09:45", "Tue 2026-11-24 10:15"]),
        ("cron(0 0 L * ? *)", ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00", "Sun 2027-01-31 00:00"]),
        ("cron(0 8 1W * ? 2027)", ["Fri 2027-01-01 08:00", "Mon 2027-02-01 08:00", "Mon 2027-03-01 08:00"]),
        ("cron(0 8 1W 5,8 ? 2027)", ["Mon 2027-05-03 08:00", "Mon 2027-08-02 08:00"]),
        ("cron(0 8 15W * ? *)", ["Tue 2026-12-15 08:00", "Fri 2027-01-15 08:00", "Mon 2027-02-15 08:00"]),
        ("cron(0 8 LW * ? *)", ["Mon 2026-11-30 08:00", "Thu 2026-12-31 08:00", "Fri 2027-01-29 08:00"]),
        ("cron(0 8 ? * 3#2 *)", ["Tue 2026-12-08 08:00", "Tue 2027-01-12 08:00", "Tue 2027-02-09 08:00"]),
        ("cron(0 8 ? * FRIL *)", ["Fri 2026-11-27 08:00", "Fri 2026-12-25 08:00", "Fri 2027-01-29 08:00"]),
        ("cron(0 8 ? * L *)", ["Sat 2026-11-28 08:00", "Sat 2026-12-05 08:00", "Sat 2026-12-12 08:00"]),
        ("cron(0 0 1 1/6 ? *)", ["Fri 2027-01-01 00:00", "Thu 2027-07-01 00:00", "Sat 2028-01-01 00:00"]),
        ("cron(0 0 29 FEB ? *)", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00", "Fri 2036-02-29 00:00"]),
        ("cron(0 0 31 2 ? *)", []),
        ("cron(0 0 1 1 ? 2020)", []),
        ("rate(12 hours)", ["Mon 2026-11-23 14:00", "Tue 2026-11-24 02:00", "Tue 2026-11-24 14:00"]),
        ("at(2027-01-01T06:30:00)", ["Fri 2027-01-01 06:30"]),
        ("at(2020-01-01T06:30:00)", []),
    ],
)
def test_an_expression_fires_when_aws_says(expression: str, expected: list[str]):
    assert upcoming(expression) == expected


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("0 3 * * 1", "cron(…), rate(…) or at(…)"),
        ("cron(0 3 * * 1)", "5 fields"),
        ("cron(0 3 * * MON *)", "must be ?"),
        ("cron(0 3 ? * ? *)", "must be ?"),
        ("cron(60 3 ? * MON *)", "minutes field has '60'"),
        ("cron(0 24 ? * MON *)", "hours field has '24'"),
        ("cron(0 3 32 * ? *)", "day-of-month field has '32'"),
        ("cron(0 3 0W * ? *)", "day-of-month field has '0W'"),
        ("cron(0 3 1 13 ? *)", "month field has '13'"),
        ("cron(0 3 ? * 0 *)", "day-of-week field has '0'"),
        ("cron(0 3 ? * MONDAY *)", "'MONDAY'"),
        ("cron(0 3 ? * 2#6 *)", "#5"),
        ("cron(0 3 ? * 2#1,3#1 *)", "# stands alone"),
        ("cron(0 3 ? * MON 1969)", "year field has '1969'"),
        ("cron(5-1 3 ? * MON *)", "must ascend"),
        ("cron(0/0 3 ? * MON *)", "step"),
        ("cron(, 3 ? * MON *)", "minutes"),
        ("rate(0 minutes)", "rate(0 minutes)"),
        ("rate(1.5 hours)", "rate(1.5 hours)"),
        ("rate(30 seconds)", "minutes, hours or days"),
        ("rate(999999999 days)", "hundred years"),
        ("at(2027-02-30T00:00:00)", "at(2027-02-30T00:00:00)"),
        ("at(tomorrow)", "yyyy-mm-dd"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_part_that_is_wrong(expression: str, named: str):
    with pytest.raises(ExpressionError) as refusal:
        parse(expression)
    assert named in str(refusal.value)


def test_an_unknown_time_zone_is_refused_by_name():
    for name in ("Europe/Atlantis", "../../etc/passwd", ""):
        with pytest.raises(ExpressionError, match="time zone"):
            zone(name)


def test_a_wall_clock_time_is_that_of_the_time_zone():
    berlin = next_times("cron(0 3 ? * * *)", "Europe/Berlin", 1, NOW)[0]
    assert berlin.astimezone(UTC).strftime("%H:%M") == "02:00"
    assert next_times("at(2027-07-01T00:00:00)", "Asia/Tokyo", 1, NOW)[0].astimezone(UTC).isoformat() == (
        "2027-06-30T15:00:00+00:00"
    )


def test_a_time_that_the_spring_change_leaves_out_is_skipped():
    before = datetime(2027, 3, 27, 12, tzinfo=UTC)
    assert upcoming("cron(30 2 * * ? *)", "Europe/Berlin", 2, before) == [
        "Mon 2027-03-29 02:30",
        "Tue 2027-03-30 02:30",
    ]


def test_a_time_that_the_autumn_change_repeats_fires_once():
    before = datetime(2027, 10, 30, 12, tzinfo=UTC)
    assert upcoming("cron(30 2 * * ? *)", "Europe/Berlin", 2, before) == [
        "Sun 2027-10-31 02:30",
        "Mon 2027-11-01 02:30",
    ]


def test_a_rate_keeps_the_beat_of_its_anchor():
    anchor = NOW - timedelta(days=3, minutes=7)
    times = next_times("rate(10 minutes)", "UTC", 2, NOW, anchor)
    assert [(moment - NOW).total_seconds() / 60 for moment in times] == [3, 13]
    assert next_times("rate(10 minutes)", "UTC", 1, NOW, NOW + timedelta(hours=1)) == [NOW + timedelta(hours=1)]


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(st.just("*"), value.map(str), span), st.integers(1, 30)).map(lambda p: f"{p[0]}/{p[1]}")
    part = st.one_of(value.map(str), span, step)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@settings(max_examples=150, deadline=None)
@given(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), ZONES, MOMENTS)
def test_times_ascend_and_each_is_one_the_fields_allow(minutes, hours, days, months, timezone, after):
    times = next_times(f"cron({minutes} {hours} {days} {months} ? *)", timezone, 5, after)
    assert times == sorted(set(times)) and all(moment > after for moment in times)
    for moment in times:
        assert moment.second == 0 and moment.tzinfo == ZoneInfo(timezone)
        parts = zip((minutes, hours, days, months), (0, 0, 1, 1), (59, 23, 31, 12), strict=True)
        values = (moment.minute, moment.hour, moment.day, moment.month)
        for (text, low, high), value in zip(parts, values, strict=True):
            assert any(_allows(part, low, high, value) for part in text.split(","))


def _allows(part: str, low: int, high: int, value: int) -> bool:
    """The same rule, told differently: by walking from the first value in steps."""
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    begin = low if span == "*" else int(first)
    end = high if span == "*" or (step and not last) else int(last or first)
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


@settings(max_examples=60, deadline=None)
@given(_field(0, 59), _field(0, 23), MOMENTS)
def test_no_minute_that_matches_is_left_out(minutes, hours, after):
    """Against a walk over every minute of a day."""
    found = next_times(f"cron({minutes} {hours} * * ? *)", "UTC", 2000, after)
    end = after + timedelta(days=1)
    minute = after.replace(second=0, microsecond=0)
    expected = []
    while minute <= end:
        fits = any(_allows(part, 0, 59, minute.minute) for part in minutes.split(",")) and any(
            _allows(part, 0, 23, minute.hour) for part in hours.split(",")
        )
        if fits and minute > after:
            expected.append(minute)
        minute += timedelta(minutes=1)
    assert [moment for moment in found if moment <= end] == expected
