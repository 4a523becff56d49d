"""Two periods side by side: their numbers are those of a plain count of the log, and the order is by what changed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import Event, Started
from gnomon.testing.histories import NOON, numbered
from gnomon.wire.comparison import Comparison, PeriodFigures
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.period_comparison import LEAST, CompareQuery, choose_periods, compare_periods
from random_logs import KINDS, ends_of, history

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
UTC_ZONE = ZoneInfo("UTC")
STATUSES = ("success", "failed", "missed", "cancelled")


def folded(log: Sequence[Event]) -> Statistics:
    statistics = Statistics()
    fold(statistics, log)
    return statistics


def log_of(*runs: tuple[str, str, datetime, float]) -> list[Event]:
    return numbered([event for run in runs for event in history(*run)])


def compare(log: Sequence[Event], now: datetime, most: int = 50, among: Any = None, **query: Any) -> Comparison:
    statistics, asked = folded(log), CompareQuery(**query)
    return compare_periods(statistics, choose_periods(asked, now, UTC_ZONE), most, among)


def check(found: PeriodFigures, log: Sequence[Event], jobs: set[str], since: datetime, until: datetime) -> None:
    """Compare figures with a count of the events themselves."""
    ends = [end for end in ends_of(log) if end.job in jobs and since <= end.at < until]
    for status in STATUSES:
        assert getattr(found, status) == sum(end.fires for end in ends if end.status == status)
    starts = [e for e in log if isinstance(e, Started) and e.job_id in jobs and since <= e.at < until]
    assert found.starts == len(starts)
    decided = found.success + found.failed
    assert found.success_rate == (found.success / decided if decided else None)
    durations = sorted(end.seconds for end in ends if end.status == "success")
    for share, value in ((0.5, found.p50), (0.95, found.p95)):
        assert (value is None) == (not durations)
        if value is not None:
            rank = share * (len(durations) - 1)
            low, high = durations[math.floor(rank)], durations[math.ceil(rank)]
            exact = low + (high - low) * (rank - math.floor(rank))
            assert abs(value - exact) <= 0.056 * exact + 0.001


@given(
    runs=st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from("abc"), st.integers(0, 14 * 24 * 60), st.floats(0, 1e4)),
        max_size=40,
    ),
    span=st.sampled_from(["1h", "24h", "7d"]),
)
@settings(max_examples=80)
def test_the_figures_of_both_periods_equal_a_plain_count_of_the_log(
    runs: list[tuple[str, str, int, float]], span: str
) -> None:
    log = log_of(*((kind, job, NOON + after * MINUTE, seconds) for kind, job, after, seconds in runs))
    found = compare(log, NOON + 14 * DAY + 5 * MINUTE, span=span)

    assert found.until - found.since == found.other_until - found.other_since
    assert found.other_until == found.since
    listed = {one.job_id: one for one in found.jobs}
    for jobs, one in [*(({job_id}, one) for job_id, one in listed.items() if job_id), (set("abc"), found.all)]:
        check(one.period, log, jobs, found.since, found.until)
        check(one.other, log, jobs, found.other_since, found.other_until)
    some = compare(log, NOON + 14 * DAY + 5 * MINUTE, span=span, among={"a", "b"})
    check(some.all.period, log, {"a", "b"}, some.since, some.until)


def week(job: str, start: datetime, seconds: float, count: int = 40, failures: int = 0) -> list[Any]:
    chance = random.Random(f"{job} {start}")
    runs = [("failed" if n < failures else "success", job, start + n * 4 * timedelta(hours=1)) for n in range(count)]
    return [(kind, job, at, seconds * chance.uniform(0.95, 1.05)) for kind, job, at in runs]


def test_jobs_that_changed_most_come_first_with_what_was_found() -> None:
    last, this = NOON, NOON + 7 * DAY + timedelta(hours=2)
    log = log_of(
        *week("steady", last, 100), *week("steady", this, 102),
        *week("slower", last, 100), *week("slower", this, 300),
        *week("failing", last, 100), *week("failing", this, 100, failures=8),
        *week("gone", last, 100), *week("new", this, 100),
        *week("rare", last, 100, count=4), *week("rare", this, 900, count=4),
    )  # fmt: skip
    found = compare(log, NOON + 14 * DAY)

    by_job = {one.job_id: one for one in found.jobs}
    assert [one.job_id for one in found.jobs[:2]] == ["slower", "failing"]
    assert {job: one.findings for job, one in by_job.items()} == {
        "slower": ["slower", "later"],  # `history` starts a run a third of its duration after it was due
        "failing": ["fails_more"],
        "steady": [],
        "rare": [],
        "gone": ["gone"],
        "new": ["new"],
    }
    assert by_job["slower"].shift.p50 == pytest.approx(3, rel=0.2)
    assert by_job["failing"].shift.success_rate == pytest.approx(-0.2)
    assert by_job["rare"].too_few == list(LEAST)
    assert by_job["rare"].shift.p50 is None
    assert by_job["rare"].period.p50 == pytest.approx(900, rel=0.2)  # the figure itself is shown
    cut = compare(log, NOON + 14 * DAY, most=2)
    assert (len(cut.jobs), cut.cut) == (2, 4)


def test_lateness_is_a_measure_of_its_own() -> None:
    log = log_of(*week("late", NOON, 3), *week("late", NOON + 7 * DAY + timedelta(hours=2), 300))

    (one,) = compare(log, NOON + 14 * DAY).jobs

    assert "later" in one.findings
    assert one.shift.lateness_p95 == pytest.approx(99, rel=0.2)


def test_a_period_that_is_no_longer_kept_says_so() -> None:
    log = log_of(*(("success", "a", NOON + n * DAY, 1.0) for n in range(500)))

    (one,) = compare(log, NOON + 500 * DAY, span="300d").jobs

    assert one.complete_from is not None
    assert one.period.success == 299  # the last unit is today, in which none has run yet
    assert one.other.success < 200
