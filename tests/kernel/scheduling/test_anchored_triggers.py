"""Triggers count from the anchor that the log keeps, whatever else fires, and wherever in time they are asked."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers import calendarinterval, combining, interval
from apscheduler.triggers import date as single_date
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.errors import TriggerError
from gnomon.jobs.job import Job, explain_schedule
from gnomon.scheduling.catch_up import fires, next_fire
from gnomon.scheduling.foreign_triggers import adopt_trigger
from gnomon.scheduling.timezones import EARLIEST, LATEST
from gnomon.scheduling.trigger_factory import build_trigger
from gnomon.scheduling.triggers import SHORTEST, AnchoredTrigger, EveryTrigger

ANCHOR = datetime(2026, 1, 1, 8, 7, 3, 500, tzinfo=UTC)
HOUR, DAY, MICROSECOND = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
BERLIN, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")

PARTS: list[dict[str, Any]] = [
    {"type": "date", "run_date": "2026-01-01T06:00:00+00:00"},
    {"type": "date", "run_date": "2026-01-03T00:00:00+00:00"},
    {"type": "date", "run_date": "2026-01-05T12:30:00+00:00"},
    {"type": "interval", "hours": 7},
    {"type": "interval", "minutes": 50, "start_date": "2025-12-30T00:05:00+00:00"},
    {
        "type": "interval",
        "hours": 3,
        "start_date": "2026-01-02T00:00:00+00:00",
        "end_date": "2026-01-04T00:00:00+00:00",
    },
    {"type": "calendarinterval", "days": 2, "hour": 6},
    {"type": "calendarinterval", "weeks": 1, "hour": 6, "start_date": "2025-06-01"},
    {"type": "cron", "expression": "15 */5 * * *"},
    {"type": "cron", "expression": "0 6 * * *"},
]


def walk(trigger: AnchoredTrigger, until: datetime, anchor: datetime = ANCHOR) -> list[datetime]:
    return list(fires(trigger, None, anchor, until))


@settings(max_examples=60)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=4), days=st.integers(1, 20))
def test_or_has_the_fires_of_all_its_triggers(parts: Sequence[dict[str, Any]], days: int) -> None:
    until = ANCHOR + days * DAY
    whole = build_trigger({"type": "or", "triggers": parts}, BERLIN)

    expected = {fire for part in parts for fire in walk(build_trigger(part, BERLIN), until)}

    assert walk(whole, until) == sorted(expected)


@settings(max_examples=60)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=3), days=st.integers(1, 20))
def test_and_has_the_fires_that_all_its_triggers_have(parts: Sequence[dict[str, Any]], days: int) -> None:
    until = ANCHOR + days * DAY
    whole = build_trigger({"type": "and", "triggers": parts}, BERLIN)

    expected = set.intersection(*(set(walk(build_trigger(part, BERLIN), until)) for part in parts))

    assert walk(whole, until) == sorted(expected)


def test_or_of_apscheduler_has_both_of_its_dates() -> None:
    first, second = ANCHOR + HOUR, ANCHOR + 2 * HOUR
    given = combining.OrTrigger([single_date.DateTrigger(first), single_date.DateTrigger(second)])

    assert walk(adopt_trigger(given, UTC), ANCHOR + DAY) == [first, second]


def test_a_date_that_the_job_had_before_does_not_take_the_other_dates_along() -> None:
    dates = [{"type": "date", "run_date": (ANCHOR + n * HOUR).isoformat()} for n in (1, 2, 3)]
    trigger = build_trigger({"type": "or", "triggers": dates}, UTC)

    assert next_fire(trigger, None, ANCHOR + 2 * HOUR, newest=ANCHOR + 2 * HOUR) == ANCHOR + 3 * HOUR


# --- the anchor is in the log


@pytest.mark.parametrize("part", PARTS)
def test_no_recurring_trigger_names_a_time_before_its_job_existed(part: dict[str, Any]) -> None:
    found = walk(build_trigger(part, BERLIN), ANCHOR + 10 * DAY)

    assert part["type"] == "date" or min(found) > ANCHOR


@pytest.mark.parametrize("part", PARTS)
def test_a_trigger_built_again_at_another_time_has_the_same_fires(part: dict[str, Any]) -> None:
    until = ANCHOR + 30 * DAY
    once = walk(build_trigger(part, BERLIN), until)

    again, last = [], None
    while (fire := next_fire(build_trigger(part, BERLIN), last, ANCHOR)) is not None and fire <= until:
        again.append(fire)
        last = fire

    assert again == once


def test_a_start_that_is_given_is_kept() -> None:
    trigger = build_trigger({"type": "interval", "minutes": 10, "start_date": "2026-01-01T00:05:00+00:00"}, UTC)

    assert walk(trigger, ANCHOR + HOUR)[:2] == [
        datetime(2026, 1, 1, 8, 15, tzinfo=UTC),
        datetime(2026, 1, 1, 8, 25, tzinfo=UTC),
    ]


def test_a_trigger_object_created_at_each_start_counts_from_the_anchor() -> None:
    plain = adopt_trigger(interval.IntervalTrigger(hours=24, timezone=UTC), UTC)
    kept = adopt_trigger(interval.IntervalTrigger(hours=24, start_date="2026-01-01", timezone=UTC), UTC)
    weekly = adopt_trigger(calendarinterval.CalendarIntervalTrigger(weeks=1, hour=6, timezone=UTC), UTC)

    assert next_fire(plain, None, ANCHOR) == ANCHOR + DAY
    assert next_fire(kept, None, ANCHOR) == datetime(2026, 1, 2, tzinfo=UTC)
    assert next_fire(weekly, None, ANCHOR) == datetime(2026, 1, 8, 6, tzinfo=UTC)


def test_the_definition_of_a_trigger_object_does_not_hold_the_day_of_its_creation() -> None:
    today = Job(id="a", func=print, trigger=calendarinterval.CalendarIntervalTrigger(weeks=1, timezone=UTC))
    given = calendarinterval.CalendarIntervalTrigger(weeks=1, start_date="2026-01-01", timezone=UTC)

    assert date.today().isoformat() not in today.definition()["trigger"]["text"]  # noqa: DTZ011 - as APScheduler has it
    assert "2026-01-01" in Job(id="a", func=print, trigger=given).definition()["trigger"]["text"]


# --- the calendar, beside APScheduler's own


calendar_keys = st.fixed_dictionaries(
    {
        "years": st.integers(0, 3),
        "months": st.integers(0, 14),
        "weeks": st.integers(0, 5),
        "days": st.integers(0, 40),
        "hour": st.integers(0, 23),
        "minute": st.integers(0, 59),
    }
).filter(lambda keys: any(keys[unit] for unit in ("years", "months", "weeks", "days")))


@settings(max_examples=60)
@given(
    keys=calendar_keys,
    start=st.dates(date(1990, 1, 1), date(2030, 12, 31)),
    zone=st.sampled_from([UTC, BERLIN, APIA, ZoneInfo("America/Sao_Paulo"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_a_calendar_interval_has_the_times_of_apscheduler(keys: dict[str, int], start: date, zone: tzinfo) -> None:
    theirs = calendarinterval.CalendarIntervalTrigger(**keys, start_date=start, timezone=zone)
    ours = adopt_trigger(theirs, UTC)
    anchor = datetime(start.year, start.month, start.day, tzinfo=UTC) - 2 * DAY

    expected: list[datetime] = []
    fire = theirs.get_next_fire_time(None, anchor)
    while fire is not None and len(expected) < 15:
        expected.append(fire.astimezone(UTC))
        fire = theirs.get_next_fire_time(fire, fire)

    assert list(islice(fires(ours, None, anchor, datetime.max.replace(tzinfo=UTC)), 15)) == expected


# --- the whole range of dates and durations

anywhere = st.datetimes(
    EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC)
) | st.sampled_from([EARLIEST, LATEST])
zones = st.sampled_from([UTC, BERLIN, ZoneInfo("America/Los_Angeles"), ZoneInfo("Asia/Shanghai")])
spans = st.timedeltas(min_value=SHORTEST) | st.sampled_from([timedelta.max, SHORTEST, DAY])
dates = st.dates() | st.sampled_from([date.min, date.max])
tables = st.one_of(
    st.builds(lambda at: {"type": "date", "run_date": at}, st.datetimes()),
    st.builds(lambda count: {"type": "interval", "weeks": count}, st.integers(1, 10**14)),
    st.builds(lambda at: {"type": "interval", "hours": 5, "start_date": at, "end_date": at}, st.datetimes()),
    st.builds(lambda start: {"type": "calendarinterval", "months": 1, "start_date": start}, dates),
    st.builds(
        lambda n, start: {"type": "calendarinterval", "years": n, "start_date": start}, st.integers(1, 9999), dates
    ),
    st.builds(
        lambda start, end: {"type": "calendarinterval", "days": 3, "start_date": start, "end_date": end}, dates, dates
    ),
    st.just({"type": "cron", "expression": "30 2 29 2 *"}),
    st.just({"type": "cron", "expression": "* * * * * *"}),
)


def follow(trigger: AnchoredTrigger, anchor: datetime) -> None:
    """Walk the first fires: each is a later instant in UTC, or there is none."""
    last = None
    for _ in range(3):
        fire = next_fire(trigger, last, anchor)
        assert fire is None or (fire.tzinfo is UTC and EARLIEST <= fire <= LATEST and (last is None or fire > last))
        if fire is None:
            return
        last = fire


@settings(max_examples=60)
@given(interval=spans, anchor=anywhere)
def test_every_interval_has_a_fire_or_none(interval: timedelta, anchor: datetime) -> None:
    follow(EveryTrigger(interval), anchor)


@settings(max_examples=60)
@given(table=tables, zone=zones, anchor=anywhere)
def test_every_table_has_a_fire_or_none_or_a_problem(table: dict[str, Any], zone: tzinfo, anchor: datetime) -> None:
    try:
        trigger = build_trigger(table, zone)
    except TriggerError:
        return
    follow(trigger, anchor)
    follow(build_trigger({"type": "or", "triggers": [table, {"type": "cron", "hour": 3}]}, zone), anchor)


wall_times = (
    st.datetimes()
    | st.dates().map(lambda day: datetime.combine(day, time()))
    | st.sampled_from(
        [datetime.min, datetime.min + DAY, datetime.max - DAY, datetime.max]  # noqa: DTZ901
    )
)


@settings(max_examples=60)
@given(
    at=st.builds(lambda at, tz: at.replace(tzinfo=tz), wall_times, st.none() | zones),
    zone=st.timezones().map(str),
    anchor=anywhere,
)
def test_every_single_time_is_a_fire_or_a_problem(at: datetime, zone: str, anchor: datetime) -> None:
    job = Job(id="once", func=print, at=at, timezone=zone)
    try:
        trigger = job.build_trigger()
    except TriggerError as exc:
        assert at.isoformat()[:10] in str(exc)  # noqa: PT017 - either of the two is right
        return
    assert trigger is not None
    assert explain_schedule(job).startswith("once at ")
    follow(trigger, anchor)


@pytest.mark.parametrize(
    ("at", "zone"),
    [
        ("9999-12-31T23:30", "America/Los_Angeles"),
        ("0001-01-01T00:30", "Asia/Shanghai"),
        ("9999-12-31T23:30+00:00", "Asia/Shanghai"),  # it is an instant, but has no date in the zone
    ],
)
def test_a_time_beyond_the_calendar_is_a_problem(at: str, zone: str) -> None:
    job = Job(id="once", func=print, at=datetime.fromisoformat(at), timezone=zone)

    with pytest.raises(TriggerError, match="outside of 0001-01-02 to 9999-12-30"):
        job.build_trigger()
