"""Timelines: whatever the log, the range and the restarts, their numbers are those of a plain count of the log."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import Event, Kernel, Started
from gnomon.domain.records import Checkpoint
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock
from gnomon.testing.histories import (
    NOON,
    append,
    numbered,
    succeeded,
)
from gnomon.testing.kernels import make_kernel
from gnomon.wire.lanes import Lane
from gnomon_stats import StatsPlugin
from gnomon_stats.cells import FAILED, SUCCESS, Cells, entry_of
from gnomon_stats.checkpoint import CHECKPOINT, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.forecast_calls import ForecastQuery
from gnomon_stats.lane_calls import LaneQuery, LanesQuery
from gnomon_stats.lanes import lanes
from gnomon_stats.period_comparison import CompareQuery
from gnomon_stats.verification import Recount, rebuild, verify
from random_logs import KINDS, ends_of, history

STATUSES = ("success", "failed", "missed", "cancelled")
MINUTE = timedelta(minutes=1)


SPANS = {"minutes": 100, "hours": 24 * 60, "days": 13 * 24 * 60, "months": 380 * 24 * 60}


class Case(NamedTuple):
    log: list[Event]
    since: datetime
    until: datetime
    now: datetime
    buckets: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    minutes = SPANS[draw(st.sampled_from(sorted(SPANS)))]
    run = st.tuples(st.sampled_from(KINDS), st.sampled_from("abcde"), st.integers(0, minutes), st.floats(0, 1e4))
    runs = draw(st.lists(run, min_size=1, max_size=30))
    histories = [
        history(kind, job, NOON + after * MINUTE + timedelta(microseconds=number), seconds)
        for number, (kind, job, after, seconds) in enumerate(runs)
    ]
    order = [number for number, one in enumerate(histories) for _ in one]
    draw(st.randoms(use_true_random=False)).shuffle(order)
    streams = [iter(one) for one in histories]
    log = numbered([next(streams[number]) for number in order])
    begin = draw(st.integers(0, minutes))
    until = NOON + timedelta(minutes=draw(st.integers(begin + 1, minutes + 2)), seconds=draw(st.integers(0, 59)))
    now = NOON + (minutes + 2) * MINUTE
    return Case(log, NOON + begin * MINUTE, until, now, draw(st.integers(1, 120)))


def is_percentile(found: float | None, values: list[float], share: float, floor: float) -> bool:
    """Return whether a figure is the interpolated percentile of the values, within the stated error."""
    if not values:
        return found is None
    values = sorted(values)
    rank = share * (len(values) - 1)
    below, above = values[math.floor(rank)], values[math.ceil(rank)]
    exact = below + (above - below) * (rank - math.floor(rank))
    return found is not None and abs(found - exact) <= 0.056 * exact + floor  # 5 %, and it has three digits


def check_lane(lane: Lane, log: Sequence[Event], jobs: set[str], edges: list[datetime]) -> None:
    ends = [end for end in ends_of(log) if end.job in jobs and edges[0] <= end.at < edges[-1]]
    for status in STATUSES:
        expected = [
            sum(end.fires for end in ends if end.status == status and begin <= end.at < close)
            for begin, close in itertools.pairwise(edges)
        ]
        assert (getattr(lane, status) or [0] * len(expected)) == expected
        assert getattr(lane.total, status) == sum(expected)
    order = ("failed", "missed", "cancelled", "success")
    for begin, close, letter in zip(edges, edges[1:], lane.worst, strict=False):
        there = {end.status for end in ends if begin <= end.at < close}
        assert letter == next((status[0] for status in order if status in there), ".")
    durations = [end.seconds for end in ends if end.status == "success"]
    starts = [e for e in log if isinstance(e, Started) and e.job_id in jobs and edges[0] <= e.at < edges[-1]]
    for share, took, late in ((0.5, lane.p50, lane.lateness_p50), (0.95, lane.p95, lane.lateness_p95)):
        assert is_percentile(took, durations, share, 0.001)
        assert is_percentile(late, [one.delay for one in starts], share, 0.01)


def restarted(log: Sequence[Event], cut: int, *, late: bool) -> Statistics:
    """Fold a log with a restart after `cut` events; or count lanes only from then on, as after an upgrade."""
    statistics = Statistics()
    fold(statistics, log[:cut])
    if late:
        statistics = from_checkpoint(as_version_4(statistics), len(log))
        assert (statistics.counted, statistics.lanes.jobs) == (0, {})
        fold(statistics, log)
        return statistics
    statistics = from_checkpoint(to_checkpoint(statistics), len(log))
    fold(statistics, log[cut:])
    return statistics


def as_version_4(statistics: Statistics) -> Checkpoint:
    """Return the checkpoint that the version before lanes wrote."""
    body = msgspec.msgpack.decode(zlib.decompress(to_checkpoint(statistics).view or b""), type=tuple[int, bytes])[1]
    saved = msgspec.msgpack.decode(body)
    del saved["lanes"]
    return Checkpoint(statistics.position, zlib.compress(msgspec.msgpack.encode((4, msgspec.msgpack.encode(saved)))))


@given(case=cases(), data=st.data())
@settings(max_examples=120)
def test_a_timeline_equals_a_plain_count_of_the_log(case: Case, data: st.DataObject) -> None:
    cut, late, most = data.draw(st.integers(0, len(case.log))), data.draw(st.booleans()), data.draw(st.integers(1, 5))
    statistics = restarted(case.log, cut, late=late)
    query = LanesQuery(since=case.since, until=case.until, buckets=case.buckets)

    found = lanes(statistics, query.range(case.now, ZoneInfo("UTC")), most)

    edges = [found.since + n * timedelta(seconds=found.bucket_s) for n in range(found.buckets + 1)]
    assert (edges[-1], edges[0] <= case.since, case.until <= edges[-1]) == (found.until, True, True)
    assert found.buckets <= case.buckets + 1
    every, shown = {event.job_id for event in case.log}, {lane.job_id or "" for lane in found.lanes}
    check_lane(found.all, case.log, every, edges)
    for lane in found.lanes:
        check_lane(lane, case.log, {lane.job_id or ""}, edges)
    assert (found.others is not None) == (found.cut.jobs > 0)
    if found.others is not None:
        check_lane(found.others, case.log, every - shown, edges)
        assert found.cut.runs == sum(msgspec.structs.astuple(found.others.total))
        trouble = [lane.total.failed + lane.total.missed for lane in found.lanes]
        assert trouble == sorted(trouble, reverse=True)
    assert statistics == restarted(case.log, len(case.log), late=False)
    some = data.draw(st.sets(st.sampled_from("abcde"), min_size=1))
    limited = lanes(statistics, query.range(case.now, ZoneInfo("UTC")), most, among=some)
    check_lane(limited.all, case.log, some, edges)
    assert {lane.job_id for lane in limited.lanes} <= some


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Kathmandu", "Europe/Berlin"])
def test_buckets_of_days_begin_at_midnight_and_weeks_on_monday(zone: str) -> None:
    ends = [datetime(2026, 3, 20, tzinfo=UTC) + n * timedelta(hours=5) for n in range(100)]  # clocks change meanwhile
    log = numbered([event for at in ends for event in history("success", "a", at, 1.0)])
    statistics, tz = Statistics(zone), ZoneInfo(zone)
    fold(statistics, log)

    for buckets, days in ((60, 1), (5, 7)):
        query = LanesQuery(since=ends[0], until=ends[-1] + MINUTE, buckets=buckets)
        found = lanes(statistics, query.range(ends[-1] + timedelta(days=30), tz), 1)

        assert found.bucket_s == days * 86_400
        starts = [at.astimezone(tz) for at in found.starts or ()]
        assert {(at.hour, at.minute) for at in starts} == {(0, 0)}
        assert days == 1 or {at.weekday() for at in starts} == {0}
        check_lane(found.lanes[0], log, {"a"}, [*starts, found.until])


def test_only_so_many_periods_are_kept_and_the_answer_says_from_when_on() -> None:
    statistics = Statistics()
    runs = [history("success", "a", NOON + n * MINUTE, 1.0) for n in range(200)]
    fold(statistics, numbered([event for one in runs for event in one]))
    query = LaneQuery(since=NOON, until=NOON + 200 * MINUTE, buckets=200)

    recent = lanes(statistics, query.range(NOON + 100 * MINUTE, ZoneInfo("UTC")), 1)  # a clock that is far behind

    assert recent.bucket_s == 60
    assert recent.lanes[0].total.success == 130
    assert recent.lanes[0].complete_from == runs[70][-1].at.replace(second=0)
    assert recent.all.total.success == 200
    assert recent.all.complete_from is None


def test_cells_hold_more_than_one_entry_can_count() -> None:
    cells, counts = Cells(), Counter[tuple[int, int]]()
    chance = random.Random(5)
    for _ in range(300):
        period, bucket, count = chance.randrange(-3, 3), chance.randrange(3), chance.choice([1, 7, 600_000])
        cells.count(entry_of(SUCCESS, bucket), period, count, 100)
        counts[period, bucket] += count

    found = Counter[tuple[int, int]]()
    for period, bucket, count in cells.within(SUCCESS, -2, 1):
        found[period, bucket] += count
    assert found == {key: count for key, count in counts.items() if -2 <= key[0] <= 1}
    assert cells.total(SUCCESS, -3, 2) == counts.total()
    assert Cells(*cells.plain()) == cells


async def test_lanes_are_verified_and_differences_named() -> None:
    async with MemoryStore() as store:
        log = await append(store, *(history("success", "a", NOON + n * MINUTE, 1.0) for n in range(3)))
        statistics = Statistics()
        fold(statistics, log)
        statistics.lanes.jobs["a"].levels[2].count(entry_of(FAILED, 0), 0, 2, 10)
        await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))

        found = await verify(store, "UTC")
        await rebuild(store, Recount("UTC"))

        assert [str(one) for one in found.differences] == [
            "a, failures of period 0 of 3600 s, bucket 0: saved 2, the log has 0"
        ]
        assert (await verify(store, "UTC")).is_proved


async def counted(kernel: Kernel, plugin: StatsPlugin) -> None:
    while not kernel.is_idle or plugin.position < kernel.health().position:  # noqa: ASYNC110 - it is another thread
        await asyncio.sleep(0.005)


async def test_a_plugin_that_is_installed_late_has_the_whole_timeline() -> None:
    store = MemoryStore()
    async with store:
        runs = [history(kind, "a", NOON + n * MINUTE, 2.0) for n, kind in enumerate(KINDS)]
        log = await append(store, *runs, succeeded("b", NOON))
    plugin = StatsPlugin()
    clock = VirtualClock(NOON + 60 * MINUTE)
    async with make_kernel(plugins=[plugin], store=store, clock=clock, keeps_time=False) as kernel:
        await counted(kernel, plugin)
        found = plugin.lanes(LanesQuery(jobs=1))

    edges = [found.since + n * timedelta(seconds=found.bucket_s) for n in range(found.buckets + 1)]
    check_lane(found.all, log, {"a", "b"}, edges)
    assert (found.lanes[0].job_id, found.cut.jobs) == ("a", 1)


@pytest.mark.parametrize("query", [LaneQuery, ForecastQuery, CompareQuery])
@pytest.mark.parametrize("year", [1, 1899, 9001, 9999])
def test_periods_around_which_the_calendar_ends_are_refused_by_the_name_of_their_parameter(
    query: Any, year: int
) -> None:
    with pytest.raises(ValueError, match="`to` between the years 1900 and 9000, got"):
        query(until=datetime(year, 6, 1, tzinfo=UTC))
