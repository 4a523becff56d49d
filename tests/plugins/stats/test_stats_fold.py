import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fault_runs import rounds
from gnomon import Cancelled, Event, Missed, Succeeded
from gnomon.domain.records import Checkpoint
from gnomon.durations import LONGEST_RUN
from gnomon.stores.microseconds import to_micros
from gnomon.testing.histories import (
    NOON,
    SECOND,
    cancelled,
    every_type,
    extend,
    failed,
    imported,
    missed,
    numbered,
    running,
    scheduled,
    snoozed,
    succeeded,
    unknown,
)
from gnomon_stats.checkpoint import encode_part, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold, move_to_zone
from gnomon_stats.job_fold import DAYS, HOURS, ZoneDays
from gnomon_stats.report import job_statistics, outcomes_today

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RUNS = rounds(short=16_000, long=80_000)
"""Of the longest log."""
KINDS: dict[str, Any] = {
    "waiting": scheduled,
    "running": running,
    "success": lambda job, at, seconds: extend(running(job, at), Succeeded, execution_time=seconds),
    "failed": failed,
    "cancelled": cancelled,
    "snoozed": snoozed,
    "taken back": lambda job, at: extend(scheduled(job, at), Cancelled, actor="ann"),
    "missed": missed,
    "missed after all": lambda job, at: extend(scheduled(job, at), Missed, scheduled_time=at, reason="downtime"),
    "range": lambda job, at: missed(job, at, "downtime", count=7, first=at - HOUR, last=at),
    "retry": lambda job, at: succeeded(job, at, attempt=2),
    "manual": lambda job, at: failed(job, at, is_manual=True),
    "of the future": lambda job, at: [unknown(job, at)],
}


def history(kind: str, job: str, at: datetime, seconds: float) -> list[Event]:
    found: list[Event] = KINDS[kind](job, at, seconds) if kind == "success" else KINDS[kind](job, at)
    return found


def interleaved(histories: Sequence[list[Event]], order: Sequence[int]) -> list[Event]:
    """Put the events of all streams into one log in that order, each stream in its own."""
    owners = [number for number, one in enumerate(histories) for _ in one]
    streams = [iter(one) for one in histories]
    return numbered([next(streams[owners[turn]]) for turn in order])


RUN = st.tuples(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(["a", "b"]),
    st.one_of(st.integers(0, 100), st.integers(0, 500 * 24 * 60)),
    st.floats(0, 1e5),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    runs = draw(st.lists(RUN, max_size=25))
    histories = [
        history(kind, job, NOON + timedelta(minutes=minutes, microseconds=number), seconds)
        for number, (kind, job, minutes, seconds) in enumerate(runs)
    ]
    order = list(range(sum(map(len, histories))))
    draw(st.randoms(use_true_random=False)).shuffle(order)
    return interleaved(histories, order)


def folded(*parts: Sequence[Event], zone: str = "UTC") -> Statistics:
    statistics = Statistics(zone)
    for part in parts:
        fold(statistics, part)
    return statistics


Facts = Callable[..., dict[str, Any]]


def told(statistics: Statistics, facts: Facts) -> dict[str, dict[str, Any]]:
    return {job_id: facts(job_statistics(statistics, job_id)) for job_id in statistics.jobs}


@given(log=logs(), zone=st.sampled_from(["UTC", "Asia/Shanghai", "America/Sao_Paulo", "Asia/Kathmandu"]))
@settings(max_examples=100)
def test_the_fold_equals_a_plain_count(recount: Facts, facts: Facts, log: list[Event], zone: str) -> None:
    assert told(folded(log, zone=zone), facts) == recount(log, zone)


@given(logs(), st.data())
@settings(max_examples=100)
def test_a_fold_continues_from_a_checkpoint(log: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    half = folded(log[:cut])

    kept = from_checkpoint(to_checkpoint(half), len(log))
    fold(kept, log[cut:])

    assert kept == folded(log)


@given(logs(), st.data())
@settings(max_examples=50)
def test_repeated_events_change_nothing(log: list[Event], data: st.DataObject) -> None:
    first, again = (data.draw(st.integers(0, len(log))) for _ in range(2))

    assert folded(log[:first], log[min(first, again) :], log) == folded(log)


def test_tens_of_thousands_of_events_equal_a_plain_count(recount: Facts, facts: Facts) -> None:
    order = random.Random(7)
    kinds = [kind for kind in sorted(KINDS) if kind not in {"waiting", "running"}] + ["success"] * 8
    histories = [
        history(order.choice(kinds), f"job{order.randrange(60)}", NOON + n * SECOND / 2, order.expovariate(0.1))
        for n in range(RUNS)
    ]
    turns = [n + 50 * order.random() for n, one in enumerate(histories) for _ in one]
    log = interleaved(histories, sorted(range(len(turns)), key=turns.__getitem__))

    assert len(log) > 2.5 * RUNS
    assert told(folded(log), facts) == recount(log)


def test_every_type_of_event_is_counted_or_skipped() -> None:
    statistics = folded(numbered(*every_type()))

    counts = {job_id: job_statistics(statistics, job_id).total for job_id in statistics.jobs}
    expected = {"success": 1, "progress": 1, "range": 3, "cancelled": 1, "snoozed": 0, "late": 1, "hidden": 1}
    assert counts == {**expected, "imported": 1, "placed": 1}


def test_a_run_counts_on_the_day_on_which_it_ended_in_the_zone_of_the_statistics() -> None:
    before_midnight = datetime(2026, 12, 1, 15, 59, 59, tzinfo=UTC)  # in Shanghai: 23:59:59
    log = numbered(extend(scheduled(at=before_midnight), Cancelled), missed(at=before_midnight))

    days = job_statistics(folded(log, zone="Asia/Shanghai"), "sync").by_day or ()

    assert [(f"{one.day}", one.missed, one.cancelled) for one in days] == [("2026-12-01", 1, 0), ("2026-12-02", 0, 1)]


def test_a_day_with_a_clock_change_is_one_day() -> None:
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin; that day has 25 hours
    log = numbered(*(missed(at=begin + n * HOUR) for n in range(26)))

    days = job_statistics(folded(log, zone="Europe/Berlin"), "sync").by_day or ()

    assert [(f"{one.day}", one.missed) for one in days] == [("2026-10-25", 25), ("2026-10-26", 1)]


def test_days_and_hours_are_bounded_and_totals_are_not() -> None:
    log = numbered(*(missed(at=NOON + n * 6 * HOUR) for n in range(4 * 500)))

    statistics = folded(log)

    job = statistics.jobs["sync"]
    assert len(job.days) == DAYS
    assert len(job.hours) == HOURS
    assert job_statistics(statistics, "sync").missed == 2000
    assert job.older.missed == 2000 - sum(row.tally.missed for row in job.days)


def test_an_event_from_the_far_future_drops_no_days_and_hours() -> None:
    log = numbered(
        *(succeeded(at=NOON + n * HOUR) for n in range(50)),
        failed(at=NOON.replace(year=2090)),
        *(succeeded(at=NOON + n * HOUR) for n in range(50, 100)),
    )

    stats = job_statistics(folded(log), "sync")

    assert [(f"{one.day}", one.success, one.failed) for one in stats.by_day or ()] == [
        ("2026-12-01", 12, 0),
        *((f"2026-12-0{day}", 24, 0) for day in (2, 3, 4)),
        ("2026-12-05", 16, 0),
        ("2090-12-01", 0, 1),
    ]
    assert len(stats.by_hour or ()) == 101


def test_days_and_hours_of_an_older_version_are_not_compared_with_those_that_it_dropped() -> None:
    statistics = folded(numbered(succeeded(), succeeded(at=NOON + 500 * DAY)))
    body = msgspec.msgpack.encode(statistics, enc_hook=encode_part)
    view = zlib.compress(msgspec.msgpack.encode((1, body)))

    assert from_checkpoint(Checkpoint(6, view), 6).rows_since == 6
    assert from_checkpoint(to_checkpoint(statistics), 6).rows_since == 0


def changes(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """Find the clock changes of a zone, to the minute, by looking once a week."""
    before = first
    while before < last:
        after = before + timedelta(days=7)
        if (offset := before.astimezone(zone).utcoffset()) != after.astimezone(zone).utcoffset():
            low, high = before, after
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
            yield high
        before = after


def test_days_are_those_of_the_zone_around_every_clock_change() -> None:
    """In Antarctica/Casey, in March 2010, a part of a day came a second time after the next day had begun."""
    wrong, found = [], 0
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in changes(zone, datetime(2009, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)):
            found += 1
            instants = [change + n * timedelta(minutes=90) for n in range(-20, 20)]
            for order in (instants, instants[::-1]):
                day_of = ZoneDays(zone)
                wrong += [(name, at) for at in order if day_of(at, to_micros(at)) != at.astimezone(zone).toordinal()]

    assert wrong == []
    assert found > 1_000


def test_the_ends_of_the_calendar_are_days_too() -> None:
    for name in ("Asia/Shanghai", "America/New_York", "UTC"):
        day_of = ZoneDays(ZoneInfo(name))
        for at in (datetime.min, datetime.max, datetime(9999, 12, 31, 8)):  # noqa: DTZ001, DTZ901 - made aware below
            aware = at.replace(tzinfo=UTC)
            assert day_of(aware, to_micros(aware)) == at.toordinal()


@pytest.mark.parametrize("seconds", [1e300, 1.7e308, 1e12, -1e300])
def test_no_duration_is_too_long_to_be_counted(seconds: float) -> None:
    log = numbered(
        *(imported("sync", NOON + n * SECOND, execution_time=seconds) for n in range(2)),
        imported("sync", NOON, status="failed", execution_time=seconds),
        succeeded("sync", NOON + DAY),
    )
    statistics = folded(log)

    found = job_statistics(statistics, "sync")

    assert (found.success, found.failed) == (3, 1)
    assert found.p95 is not None
    assert 0 <= found.p95 <= LONGEST_RUN.total_seconds()
    assert from_checkpoint(to_checkpoint(statistics), statistics.position) == statistics


def test_sums_of_durations_stay_within_what_a_row_holds() -> None:
    statistics = folded(numbered(imported("sync", NOON, execution_time=1e300)))
    (job,) = statistics.jobs.values()
    for _ in range(20):
        for row in list(job.days):
            job.days.count(row.period, "success", row.tally.success, row.tally.micros, 1)
            job.older.add(row.tally)

    assert job.days.get(next(iter(job.days)).period).micros == 2**63 - 1
    assert from_checkpoint(to_checkpoint(statistics), statistics.position) == statistics


def test_a_streak_is_of_successes_or_failures_and_a_miss_does_not_end_it() -> None:
    kinds = [succeeded, succeeded, failed, missed, cancelled, failed, failed]
    log = numbered(*(one("sync", NOON + n * HOUR) for n, one in enumerate(kinds)))

    streak = job_statistics(folded(log), "sync").streak

    assert streak is not None
    assert (streak.status, streak.length, streak.longest_success, streak.longest_failed) == ("failed", 3, 2, 3)


def test_the_success_rate_is_that_of_runs_that_succeeded_or_failed() -> None:
    kinds = [succeeded, succeeded, succeeded, failed, missed, cancelled, running, scheduled]
    log = numbered(*(one("sync", NOON + n * HOUR) for n, one in enumerate(kinds)))

    stats = job_statistics(folded(log), "sync")

    assert stats.success_rate == 0.75
    assert (stats.total, stats.running, stats.scheduled) == (8, 1, 1)
    assert stats.avg_execution_time == 1.0


def test_a_job_without_executions_has_zeros() -> None:
    stats = job_statistics(Statistics(), "nobody")

    assert stats.total == 0
    assert (stats.success_rate, stats.p50, stats.avg_execution_time, stats.last_execution) == (None,) * 4
    assert (stats.by_day, stats.by_hour) == ([], [])


def test_today_is_summed_over_all_jobs() -> None:
    statistics = folded(numbered(succeeded("a"), failed("b"), missed("b", NOON - DAY), missed("c", count=3)))

    today = outcomes_today(statistics, NOON)

    assert (today.success, today.failed, today.missed, today.avg_execution_time) == (1, 1, 3, 1.0)
    assert outcomes_today(statistics, NOON + DAY).success == 0


def test_changing_the_zone_leaves_earlier_days_as_they_are() -> None:
    late = datetime(2026, 12, 1, 20, tzinfo=UTC)  # in Shanghai the next day
    first, second = numbered(missed(at=late), missed(at=late + HOUR))
    statistics = folded([first])

    move_to_zone(statistics, "Asia/Shanghai")
    fold(statistics, [second])

    assert [f"{one.day}" for one in job_statistics(statistics, "sync").by_day or ()] == ["2026-12-01", "2026-12-02"]
    assert statistics.zone_since == first.position


@pytest.mark.parametrize("jobs", [1, 10])
def test_the_checkpoint_of_a_busy_job_is_small(jobs: int) -> None:
    """Every hour and every day has numbers of its own, as nothing else makes a view larger."""
    order, hours = random.Random(3), [NOON + n * HOUR for n in range(HOURS)]
    days = [NOON - n * DAY for n in range(DAYS, 0, -1)]
    log = [
        one
        for n in range(jobs)
        for at in (*days, *hours)
        for one in extend(running(f"job{n}", at), Succeeded, execution_time=order.lognormvariate(1, 1))
    ]

    view = to_checkpoint(folded(numbered(log))).view

    assert view is not None
    assert len(view) / jobs < 16_000


def test_an_imported_run_counts_when_it_ended_and_is_part_of_no_streak() -> None:
    long_ago = datetime(2024, 10, 29, 14, tzinfo=UTC)
    log = numbered(succeeded("sync"), imported("sync", long_ago, status="failed", execution_time=3.0))
    found = job_statistics(folded(log), "sync")

    assert (found.total, found.success, found.failed) == (2, 1, 1)
    assert found.by_day is not None
    assert [(day.day, day.failed) for day in found.by_day[:1]] == [(long_ago.date(), 1)]
    assert found.streak is not None
    assert (found.streak.status, found.streak.length) == ("success", 1)
    assert found.last_execution is not None
    assert found.last_execution.status == "success"
