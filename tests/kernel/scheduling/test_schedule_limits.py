"""The keys that limit and spread the fires of a schedule, compared with brute force, over clock changes too."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gnomon.errors import JobError, TriggerError
from gnomon.jobs.definition import convert_job, rebuild_job
from gnomon.jobs.diff import SCHEDULE_KEYS
from gnomon.jobs.job import Job, explain_schedule
from gnomon.jobs.registered import JobProblem, check_job
from gnomon.scheduling.catch_up import fires, next_fire
from gnomon.scheduling.hashed_jitter import HashedJitterTrigger, hashed_delay, nominal_time
from gnomon.scheduling.timezones import wall_clock
from gnomon.scheduling.triggers import AnchoredTrigger, is_predictable

FIRST_PROBLEM = ("exclude", "the job never fires: all its fires are excluded")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# A few days before and after the clocks change in most zones of the north, with St. John's going back over midnight.
ANCHORS = [
    datetime(2026, 3, 26, 7, 31, 5, tzinfo=UTC),
    datetime(2026, 10, 22, 7, 31, 5, tzinfo=UTC),
    datetime(2008, 10, 31, 7, 31, 5, tzinfo=UTC),
]
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Shanghai"]
SINGLE: list[dict[str, Any]] = [
    {"cron": "30 2 * * *"},
    {"cron": "*/40 */3 * * *"},
    {"cron": "0 0,12 * * 1-5"},
    {"every": "7h"},
    {"every": "170m"},
    {"trigger": {"type": "calendarinterval", "days": 2, "hour": 6}},
    {"trigger": {"type": "interval", "hours": 5}},
]


def walk(trigger: AnchoredTrigger | None, anchor: datetime, until: datetime) -> list[datetime]:
    assert trigger is not None
    return list(fires(trigger, None, anchor, until))


def body() -> None:
    pass


def plain(keys: dict[str, Any]) -> AnchoredTrigger | None:
    return convert_job({"id": "b", "func": body, **keys}).build_trigger()


def make(**keys: Any) -> Job:
    job = Job(id=keys.pop("id", "a"), func=body, **keys)
    problems: list[JobProblem] = []
    registered = check_job(job, "UTC", problems)
    assert registered is not None, problems
    return registered.job


def problems_of(**keys: Any) -> list[tuple[str, str]]:
    return problems_of_job(Job(id="a", func=body, **keys))


def problems_of_job(job: Job) -> list[tuple[str, str]]:
    problems: list[JobProblem] = []
    check_job(job, "UTC", problems)
    return [(key, str(error)) for key, error in problems]


def is_excluded(entry: Any, fire: datetime, zone: ZoneInfo) -> bool:
    """Decide by the wall clock alone, apart from how the code looks for the end of what is excluded."""
    wall = wall_clock(zone, fire)
    if isinstance(entry, str):
        return wall.date() == date.fromisoformat(entry)
    if "cron" in entry:
        _minute, hour, _day, _month, weekday = entry["cron"].split()
        hours = set(range(24)) if hour == "*" else {int(part) for part in hour.split(",")}
        days = set(range(7)) if weekday == "*" else {int(part) % 7 for part in weekday.split(",")}
        return wall.hour in hours and wall.isoweekday() % 7 in days
    return date.fromisoformat(entry["from"]) <= wall.date() <= date.fromisoformat(entry["to"])


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Job, datetime, list[dict[str, Any]]]:
    anchor = draw(st.sampled_from(ANCHORS))
    parts = draw(st.lists(st.sampled_from(SINGLE), min_size=1, max_size=3))
    days = [(anchor + n * DAY).date().isoformat() for n in range(6)]
    ranges = st.tuples(st.integers(0, 5), st.integers(0, 3)).map(
        lambda pair: {"from": days[pair[0]], "to": days[min(sum(pair), 5)]}
    )
    crons = st.sampled_from([{"cron": "* * * * 0,6"}, {"cron": "* 2,3 * * *"}, {"cron": "* 0 * * 1"}])
    keys: dict[str, Any] = {
        "timezone": draw(st.sampled_from(ZONES)),
        "exclude": draw(st.lists(st.one_of(st.sampled_from(days), ranges, crons), max_size=3)),
    }
    if draw(st.booleans()):
        keys["start"] = anchor + draw(st.integers(-48, 60)) * HOUR
    if draw(st.booleans()):
        keys["end"] = anchor + draw(st.integers(61, 180)) * HOUR
    keys |= parts[0] if len(parts) == 1 and draw(st.booleans()) else {"schedules": parts}
    return convert_job({"id": "a", "func": body, **keys}), anchor, parts


@settings(max_examples=50, deadline=None)
@given(schedules())
def test_a_job_has_every_fire_of_its_schedules_that_nothing_excludes_and_no_other(
    drawn: tuple[Job, datetime, list[dict[str, Any]]],
) -> None:
    job, anchor, parts = drawn
    zone, until = ZoneInfo(job.timezone or "UTC"), anchor + 6 * DAY
    if "every" in parts[0] and not job.schedules:  # it counts from its start
        whole = walk(plain(parts[0] | {"start": job.start}), anchor, until)
    else:
        singles = [plain(part | {"timezone": job.timezone}) for part in parts]
        whole = sorted({fire for single in singles for fire in walk(single, anchor, until)})
    expected = [
        fire
        for fire in whole
        if (job.start is None or fire >= job.start)
        and (job.end is None or fire <= job.end)
        and not any(is_excluded(entry, fire, zone) for entry in job.exclude)
    ]

    if FIRST_PROBLEM in problems_of_job(job):
        assert expected == []
        return

    assert walk(job.build_trigger(), anchor, until) == expected
    assert walk(rebuild_job(job.definition()).trigger, anchor, until) == expected  # as audit does from the log


@settings(max_examples=30, deadline=None)
@given(schedules(), st.sampled_from(["10ms", "30s", "20m", "3h", "3d"]), st.integers(0, 6 * 86_400))
def test_jitter_delays_each_fire_and_loses_none(
    drawn: tuple[Job, datetime, list[dict[str, Any]]], jitter: str, ask: int
) -> None:
    without, anchor, _ = drawn
    zone, until = ZoneInfo(without.timezone or "UTC"), anchor + 6 * DAY
    job = rebuild_job(without.definition() | {"jitter": jitter}).job
    assume(job is not None)  # else all its fires are excluded
    assert job is not None
    assert job.jitter is not None
    trigger = job.build_trigger()
    assert isinstance(trigger, HashedJitterTrigger)
    nominal = walk(without.build_trigger(), anchor, until + 3 * DAY)

    found = walk(trigger, anchor, until)

    pairs = list(zip(nominal, found, strict=False))
    assert all(before <= fire < before + job.jitter for before, fire in pairs)
    assert all(fire < following for fire, following in zip(found, nominal[1:], strict=False))
    assert len(found) == sum(one <= until for one in found)
    assert len(nominal) == len(found) or nominal[len(found)] + job.jitter > until
    assert job.end is None or all(fire <= job.end for fire in found)
    assert not any(is_excluded(entry, fire, zone) for entry in job.exclude for fire in found)
    assert [nominal_time(trigger, fire, anchor) for fire in found] == nominal[: len(found)]
    later = [fire for fire in found if fire > anchor + timedelta(seconds=ask)]
    assert not later or trigger.fire_after(anchor + timedelta(seconds=ask), anchor) == later[0]
    assert is_predictable(trigger)


def test_the_delay_is_the_hash_that_the_documentation_names() -> None:
    nominal = datetime(2026, 12, 1, 10, tzinfo=UTC)
    digest = hashlib.blake2b(b"report\x001796119200000000", digest_size=8).digest()

    assert hashed_delay("report", nominal, 30 * timedelta(seconds=1)) == timedelta(
        milliseconds=int.from_bytes(digest) % 30_000
    )
    job = make(id="report", cron="0 * * * *", jitter="30s")
    trigger = job.build_trigger()
    assert trigger is not None
    assert trigger.fire_after(nominal - MINUTE, nominal - DAY) == nominal + hashed_delay(
        "report", nominal, timedelta(seconds=30)
    )


def test_jobs_with_one_cron_expression_are_spread() -> None:
    found = set()
    for n in range(200):
        trigger = make(id=f"job-{n}", cron="0 * * * *", jitter="10m").build_trigger()
        assert trigger is not None
        found.add(trigger.fire_after(None, ANCHORS[0]))

    assert len(found) > 190


def test_a_jitter_longer_than_the_interval_keeps_the_order() -> None:
    trigger = make(every="1s", jitter="1h").build_trigger()

    found = walk(trigger, ANCHORS[0], ANCHORS[0] + MINUTE)

    assert len(found) in {59, 60}
    assert all(one < other for one, other in pairwise(found))


# --- start and end


def test_start_and_end_are_included_and_naive_ones_are_in_the_zone_of_the_job() -> None:
    job = make(cron="0 * * * *", timezone="Asia/Shanghai", start="2026-12-01T09:00:00", end="2026-12-01T11:00:00")

    found = walk(job.build_trigger(), datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))

    assert found == [datetime(2026, 12, 1, hour, tzinfo=UTC) for hour in (1, 2, 3)]


def test_an_interval_counts_from_its_start() -> None:
    job = make(every="10m", start="2026-12-01T09:05:00Z")

    found = walk(job.build_trigger(), datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, 9, 30, tzinfo=UTC))

    assert [f"{fire:%H:%M}" for fire in found] == ["09:05", "09:15", "09:25"]


def test_entries_of_schedules_have_zones_and_bounds_of_their_own() -> None:
    job = make(
        schedules=[
            {"cron": "0 9 * * *", "timezone": "Europe/Berlin", "end": "2026-12-02T09:00:00"},
            {"cron": "0 9 * * *", "start": datetime(2026, 12, 3, tzinfo=UTC)},
        ]
    )

    found = walk(job.build_trigger(), datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 4, 12, tzinfo=UTC))

    assert [f"{fire:%d %H}" for fire in found] == ["01 08", "02 08", "03 09", "04 09"]


def test_two_schedules_that_coincide_make_one_fire() -> None:
    job = make(schedules=[{"cron": "0 * * * *"}, {"cron": "0,30 * * * *"}])

    found = walk(job.build_trigger(), ANCHORS[0], ANCHORS[0] + 2 * HOUR)

    assert [f"{fire:%H:%M}" for fire in found] == ["08:00", "08:30", "09:00", "09:30"]


# --- exclusions


def test_a_time_among_the_exclusions_is_one_fire() -> None:
    job = make(
        cron="0 * * * *", exclude=["2026-12-01T10:00:00Z", {"from": "2026-12-01T12:00:00", "to": "2026-12-01T14:00:00"}]
    )

    found = walk(job.build_trigger(), datetime(2026, 12, 1, 8, tzinfo=UTC), datetime(2026, 12, 1, 15, tzinfo=UTC))

    assert [fire.hour for fire in found] == [9, 11, 14, 15]


def test_a_long_exclusion_is_passed_at_once() -> None:
    job = make(every="1s", exclude=[{"from": date(2026, 12, 1), "to": date(2027, 11, 30)}])
    trigger = job.build_trigger()
    assert trigger is not None

    assert trigger.fire_after(None, datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 12, 1, tzinfo=UTC)


def test_an_exclusion_without_an_end_ends_the_schedule() -> None:
    trigger = make(cron="0 * * * *", exclude=[{"from": "2026-12-01"}]).build_trigger()
    assert trigger is not None

    assert next_fire(trigger, None, datetime(2026, 12, 1, tzinfo=UTC)) is None


# --- years and weeks


def test_the_table_form_of_cron_has_years_and_iso_weeks() -> None:
    trigger = {"type": "cron", "year": "2026,2028", "week": "53", "day_of_week": "mon,thu", "hour": 6}
    job = make(trigger=trigger)

    found = walk(job.build_trigger(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))

    # 2026 has 53 ISO weeks, 2028 does not, and 1 January 2027 lies in week 53 of 2026, but not in the year 2026.
    assert [f"{fire:%Y-%m-%d %H:%M}" for fire in found] == ["2026-01-01 06:00", "2026-12-28 06:00", "2026-12-31 06:00"][
        1:
    ]


def test_fields_finer_than_a_week_or_a_year_take_their_lowest_value() -> None:
    week = make(trigger={"type": "cron", "week": 10}).build_trigger()
    year = make(trigger={"type": "cron", "year": "2026-2028"}).build_trigger()

    assert walk(week, datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)) == [
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2027, 3, 8, tzinfo=UTC),
    ]
    assert [fire.year for fire in walk(year, datetime(2025, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))] == [
        2026,
        2027,
        2028,
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"week": 54}, "the week field '54' is not 1-53"),
        ({"year": "2026-2020"}, "the year field '2026-2020' is not 1970-9999"),
        ({"week": "x"}, "the week field 'x' is not"),
        ({"year": "2027", "month": 2, "day": 29}, "never fires"),
        ({"weak": 3}, "no argument 'weak', perhaps 'week'"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TriggerError, match=message):
        Job(id="a", func=body, trigger={"type": "cron", **fields}).build_trigger()


# --- problems, each with its place


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        (
            {"exclude": ["2026-13-01"]},
            "exclude[0]",
            "expected a date or a time, got '2026-13-01'; write a date such as",
        ),
        ({"exclude": ["2026-12-01", {"form": "2026-12-01"}]}, "exclude[1]", "no key 'form', perhaps 'from'"),
        ({"exclude": [{"from": "2026-12-02", "to": "2026-12-01"}]}, "exclude[0]", "is empty"),
        ({"exclude": [{"cron": "61 * * * *"}]}, "exclude[0]", "the minute field '61' is not 0-59"),
        ({"exclude": [{"calendar": "NOSUCH"}]}, "exclude[0]", "calendar 'NOSUCH' is not available"),
        ({"exclude": [{"cron": "* * * * *"}]}, "exclude", "never fires"),
        ({"exclude": [7]}, "exclude[0]", "expected a date or a time, got 7"),
        ({"jitter": "0s"}, "jitter", "1 ms or more"),
        ({"start": "2026-12-02T00:00:00", "end": "2026-12-01T00:00:00"}, "end", "is before start"),
    ],
)
def test_each_problem_has_its_place(keys: dict[str, Any], key: str, message: str) -> None:
    [(found, text)] = problems_of(cron="0 * * * *", **keys)

    assert found == key
    assert message in text


@pytest.mark.parametrize(
    ("schedule", "key", "message"),
    [
        ("0 9 * * *", "schedules[1]", "expected a table such as"),
        ({"corn": "0 9 * * *"}, "schedules[1]", "cron"),
        ({}, "schedules[1]", "has one of cron, every, at, trigger, got none of them"),
        ({"cron": "0 9 * * *", "every": "1h"}, "schedules[1]", "got cron and every"),
        ({"every": "soon"}, "schedules[1]", "expected a duration"),
        ({"cron": "0 25 * * *"}, "schedules[1]", "the hour field '25'"),
        ({"every": "1h", "timezone": "Europe/Berln"}, "schedules[1].timezone", "Europe/Berlin"),
    ],
)
def test_each_problem_of_an_entry_of_schedules_has_its_place(schedule: Any, key: str, message: str) -> None:
    [(found, text)] = problems_of(schedules=[{"every": "1h"}, schedule])

    assert found == key
    assert message in text


def test_all_problems_of_a_schedule_are_found_at_once() -> None:
    found = problems_of(cron="0 25 * * *", exclude=["x", {"calendar": "NOSUCH"}])

    assert [key for key, _ in found] == ["cron", "exclude[0]", "exclude[1]"]


def test_limits_need_a_schedule_and_schedules_stand_alone() -> None:
    with pytest.raises(JobError, match="has jitter and exclude but no schedule to limit"):
        Job(id="a", func=body, jitter=MINUTE, exclude=["2026-12-01"])  # type: ignore[arg-type]
    with pytest.raises(JobError, match="has cron and schedules: give one of"):
        Job(id="a", func=body, cron="0 9 * * *", schedules=[{"every": "1h"}])


def test_a_schedule_is_described_in_words() -> None:
    job = make(
        schedules=[{"cron": "0 9 * * *"}, {"every": timedelta(hours=4)}],
        start="2026-12-01T00:00:00",
        end="2026-12-31T00:00:00",
        exclude=[date(2026, 12, 24), {"from": "2026-12-26", "to": "2026-12-28"}, {"cron": "* * * * 0"}],
        jitter="1m",
    )

    assert explain_schedule(job) == (
        "whenever one of these: At 09:00 every day (UTC); every 4 hours, from 2026-12-01 00:00 UTC until "
        "2026-12-31 00:00 UTC, except on 2026-12-24, from 2026-12-26 to 2026-12-28 and at the times of "
        '"* * * * 0" (UTC), and up to 1 minute later by a hash of the job and the time'
    )


def test_every_key_of_a_schedule_is_kept_in_the_log_and_restarts_the_count() -> None:
    job = make(
        schedules=[{"every": timedelta(minutes=5)}],
        start=datetime(2026, 12, 1, tzinfo=UTC),
        exclude=[date(2026, 12, 24)],
        jitter=timedelta(seconds=3),
    )
    definition = job.definition()

    assert definition["schedules"] == [{"every": "5m"}]
    assert definition["exclude"] == ["2026-12-24"]
    assert definition["jitter"] == "3s"
    assert {"schedules", "start", "end", "exclude", "jitter"} <= set(SCHEDULE_KEYS)
    rebuilt = rebuild_job(definition)
    assert rebuilt.trigger == job.build_trigger()
    assert rebuilt.problem is None
