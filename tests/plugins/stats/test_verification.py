from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import Event
from gnomon.domain.execution import fold as fold_execution
from gnomon.domain.records import ExecutionCounts
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import NOON, append, cancelled, failed, missed, numbered, running, scheduled, succeeded
from gnomon_stats.checkpoint import CHECKPOINT, UnreadableViewError, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.job_fold import JobFold, LastRun, OpenRun, Streak
from gnomon_stats.series import Series, Tally
from gnomon_stats.verification import Recount, Verification, rebuild, verify

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OLD, YOUNG = NOON - 30 * DAY, NOON
KINDS: list[Callable[..., list[Event]]] = [succeeded, succeeded, failed, missed, cancelled, running, scheduled]


def histories() -> list[list[Event]]:
    """Return old and recent runs of two jobs, and an unfinished run."""
    return [
        *(succeeded("a", OLD + n * HOUR) for n in range(5)),
        failed("b", OLD),
        *(succeeded("a", YOUNG + n * HOUR) for n in range(3)),
        failed("a", YOUNG + 3 * HOUR),
        missed("b", YOUNG, count=4),
        running("b", YOUNG + HOUR),
    ]


async def a_log(spoil: Callable[[Statistics], object] | None = None, *, prune: bool = False) -> MemoryStore:
    """Make a log with statistics that were saved before its last event, correct or damaged."""
    store = MemoryStore()
    await store.open()
    log = await append(store, *histories())
    statistics = Statistics()
    fold(statistics, log[:-1])
    if spoil is not None:
        spoil(statistics)
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))
    if prune:
        assert await store.prune(YOUNG - DAY) == 6
    return store


def say(found: Verification) -> list[str]:
    return [str(one) for one in found.differences]


@pytest.mark.parametrize("prune", [False, True])
async def test_correct_statistics_are_verified(prune: bool) -> None:
    found = await verify(await a_log(prune=prune), "UTC")

    assert found.is_proved
    assert (found.kept_at, found.position) == (32, 33)
    assert (found.executions, found.jobs, found.whole_after) == (15, 2, 18 if prune else 0)
    assert found.store == "does not count by itself"


def numbers(series: Series, row: int, column: int, change: int) -> Series:
    changed = series.numbers()
    changed[(row * 7 + column) % len(changed)] += change
    return Series(changed)


def setting(job_id: str, name: str, value: Callable[[JobFold], Any]) -> Callable[[Statistics], None]:
    def spoil(statistics: Statistics) -> None:
        setattr(statistics.jobs[job_id], name, value(statistics.jobs[job_id]))

    return spoil


LATE: list[Any] = [
    pytest.param(
        setting("a", "days", lambda job: numbers(job.days, 1, 1, -1)),
        "a, day 2026-12-01, success: saved 2, the log has 3",
        id="a day",
    ),
    pytest.param(
        setting("a", "days", lambda job: numbers(job.days, 1, 5, 7)),
        "a, day 2026-12-01, µs of successes: saved 3000007, the log has 3000000",
        id="durations of a day",
    ),
    pytest.param(
        setting("a", "hours", lambda job: numbers(job.hours, -1, 2, 1)),
        "a, hour 2026-12-01T15Z, failed: saved 2, the log has 1",
        id="an hour",
    ),
    pytest.param(
        setting("a", "streak", lambda job: Streak("failed", 2, job.streak.since, 8, 2)),
        "a, streak",
        id="the streak",
    ),
    pytest.param(setting("b", "open", lambda job: {"gone": OpenRun(True, 0), **job.open}), "gone", id="an open run"),
    pytest.param(
        setting("a", "last", lambda job: LastRun("x", "success", 0, 1, 99)),
        "a, last execution",
        id="the last run",
    ),
    pytest.param(lambda statistics: statistics.jobs.pop("a"), "a, total, success: saved 0", id="a job that is lost"),
]
EARLY: list[Any] = [
    pytest.param(
        setting("a", "total", lambda job: Tally(9, 1, 0, 0, 9_000_000)),
        "a, total, compared with the sum of its days",
        id="a total",
    ),
    pytest.param(
        setting("a", "days", lambda job: numbers(job.days, 0, 1, -1)),
        "a, total, compared with the sum of its days",
        id="a day of long ago",
    ),
    pytest.param(
        setting("a", "durations", lambda job: {346: 9}),
        "a, durations, compared with the successes: saved 9",
        id="durations",
    ),
    pytest.param(setting("a", "durations", lambda job: {1: 8}), "a, durations", id="durations that are others"),
    pytest.param(
        setting("a", "older", lambda job: Tally(1, 0, 0, 0, 0)),
        "a, total, compared with the sum of its days",
        id="what was before the days",
    ),
]


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize(("spoil", "said"), [*LATE, *EARLY])
async def test_damage_is_found_and_named(spoil: Any, said: str, prune: bool) -> None:
    found = await verify(await a_log(spoil, prune=prune), "UTC")

    assert not found.is_proved
    assert any(said in line for line in say(found)), say(found)


async def test_a_job_that_the_log_does_not_have_is_found() -> None:
    found = await verify(await a_log(lambda kept: kept.jobs.setdefault("x", JobFold(total=Tally(1)))), "UTC")

    assert "x, total, success: saved 1, the log has 0" in say(found)


class Life(NamedTuple):
    """A log that was counted, and the moment up to which it was pruned."""

    log: list[Event]
    pruned_until: datetime
    zone: str


@st.composite
def lives(draw: st.DrawFn) -> Life:
    runs = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), st.integers(0, 90)), max_size=15))
    histories = [kind(job, NOON + days * DAY + timedelta(microseconds=n)) for n, (kind, job, days) in enumerate(runs)]
    turns = [n for n, one in enumerate(histories) for _ in one]
    draw(st.randoms(use_true_random=False)).shuffle(turns)  # so that the clock goes forth and back, too
    streams = [iter(one) for one in histories]
    log = numbered([next(streams[n]) for n in turns])
    pruned_until = NOON + draw(st.integers(0, 91)) * DAY
    return Life(log, pruned_until, draw(st.sampled_from(["UTC", "Asia/Shanghai"])))


async def live(life: Life) -> Verification:
    """Save statistics, prune executions that were counted, and verify."""
    store = MemoryStore()
    await store.open()
    streams = dict.fromkeys(event.stream for event in life.log)
    views = [fold_execution([event for event in life.log if event.stream == stream]) for stream in streams]
    await store.append(life.log, views, [])
    statistics = Statistics(life.zone)
    fold(statistics, life.log)
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))
    await store.prune(life.pruned_until)
    return await verify(store, "UTC")


@given(lives())
@settings(max_examples=60)
def test_correct_statistics_are_verified_whatever_was_pruned(life: Life) -> None:
    assert say(asyncio.run(live(life))) == []


async def test_without_saved_statistics_nothing_is_compared() -> None:
    store = MemoryStore()
    await store.open()
    await append(store, *histories())

    found = await verify(store, "UTC")

    assert (found.kept_at, found.is_proved, found.executions) == (None, True, 15)


async def test_a_fully_pruned_log_is_complete_only_from_now_on() -> None:
    store = MemoryStore()
    await store.open()
    log = await append(store, succeeded(), failed("b"))
    statistics = Statistics()
    fold(statistics, log)
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))
    await store.prune(NOON + DAY)

    found = await verify(store, "UTC")

    assert (found.is_proved, found.whole_after, found.whole_since, found.executions) == (True, 6, None, 2)


async def test_rebuilding_saves_the_counts_of_the_log() -> None:
    store = await a_log(LATE[0].values[0])
    assert not (await verify(store, "UTC")).is_proved

    await rebuild(store, Recount("UTC"))

    assert (await verify(store, "UTC")).is_proved


def test_statistics_beyond_the_end_of_the_log_are_refused() -> None:
    with pytest.raises(UnreadableViewError, match="they end at position 9, their checkpoint at 9, the log at 8"):
        from_checkpoint(to_checkpoint(Statistics(position=9)), 8)


# --- a store that can count ---


class CountingStore(MemoryStore):
    """Counts as a database does; during its first `busy` counts a kernel writes."""

    def __init__(self, busy: int = 0, wrong: bool = False) -> None:
        super().__init__()
        self.busy = busy
        self.wrong = wrong

    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts]:
        if self.busy:
            self.busy -= 1
            await append(self, succeeded("c", NOON + self.busy * HOUR))
        found = []
        for name in sorted({one.job_id for one in self._executions.values()}):
            ours = [one for one in self._executions.values() if one.job_id == name]
            statuses = [one.status for one in ours]
            took = [one.execution_time or 0.0 for one in ours if one.status == "success"]
            by_status: dict[str, int] = {status: statuses.count(status) + self.wrong for status in set(statuses)}
            average = sum(took) / len(took) if took else None
            found.append(ExecutionCounts(name, by_status, average, ours[-1].id, ours[-1].status, ours[-1].timestamp))
        return found


@pytest.mark.parametrize("busy", [0, 2])
async def test_the_counts_of_a_store_are_compared_when_nothing_is_written(busy: int) -> None:
    async with CountingStore(busy) as store:
        await append(store, *histories())
        found = await verify(store, "UTC")

    assert (found.store, found.is_proved) == ("equal", True)


async def test_a_store_that_is_written_constantly_is_not_compared() -> None:
    async with CountingStore(busy=100) as store:
        await append(store, *histories())
        found = await verify(store, "UTC")

    assert (found.store, found.is_proved) == ("was written to while it counted, 5 times", True)


async def test_a_store_that_counts_differently_is_reported() -> None:
    async with CountingStore(wrong=True) as store:
        await append(store, missed("a", count=3))
        found = await verify(store, "UTC")

    assert found.store == "different"
    assert say(found) == [
        "a, executions as the store counts them: saved {'missed': 2}, the log has {'missed': 1}",
    ]
