"""Deleting goes slowly, stops while the database has other worries, and leaves the kernel's own writes alone."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from gnomon.domain import execution
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_mongo import MongoStore, retention
from gnomon_shared_log.writing import pace as pace_module
from gnomon_shared_log.writing.pace import MOST_AT_ONCE, PAUSE_RATIO, RECHECK_S, STEP_S, Pace


class Time:
    """A clock whose sleeps take no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        monkeypatch.setattr(pace_module, "time", self)
        monkeypatch.setattr(pace_module, "asyncio", self)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def test_a_step_is_followed_by_a_pause_of_four_times_its_duration(clock: Time) -> None:
    pace = Pace(lambda: True)
    for _ in range(10):
        async with pace.step():
            clock.now += 0.2

    assert clock.slept == [pytest.approx(0.2 * PAUSE_RATIO)] * 10
    assert sum(clock.slept) / clock.now == pytest.approx(0.8)


async def test_a_slow_database_gets_smaller_steps_and_a_fast_one_larger_steps_again(clock: Time) -> None:
    pace = Pace(lambda: True)
    sizes = []
    for spent in [4 * STEP_S] * 8 + [STEP_S / 10] * 8:
        async with pace.step():
            clock.now += spent
        sizes.append(pace.size)

    assert sizes == [50, 25, 12, 6, 3, 1, 1, 1, 2, 4, 8, 16, 32, 64, MOST_AT_ONCE, MOST_AT_ONCE]


async def test_no_step_begins_before_it_is_allowed(clock: Time) -> None:
    answers = iter([False, False, True])
    async with Pace(lambda: next(answers)).step():
        pass

    assert clock.slept[:2] == [RECHECK_S] * 2


async def test_appends_are_not_held_up_by_a_prune(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = numbered(*(succeeded("sync", NOON + number * SECOND) for number in range(200)))
    await store.append(batch, [execution.fold(batch[i : i + 3]) for i in range(0, 600, 3)], [])
    steps: list[int] = []
    step = Pace.step

    def counted(self: Pace) -> Any:
        steps.append(self.size)
        return step(self)

    monkeypatch.setattr(Pace, "step", counted)
    pruning = asyncio.ensure_future(store.prune(NOON + timedelta(days=1)))
    late = numbered(succeeded("late", NOON + timedelta(days=2)), after=600)
    await store.append(late, [execution.fold(late)], [])
    assert await pruning == 200
    assert len(steps) >= 2


async def test_a_prune_waits_while_appends_are_slow_or_go_to_the_spool(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = numbered(succeeded("sync", NOON))
    await store.append(batch, [execution.fold(batch)], [])
    await store.jobs()  # a read waits for the views
    writer = store._writer
    assert writer is not None
    pace = store._pace(writer)
    monkeypatch.setattr(pace_module, "RECHECK_S", 0.001)
    writer._spool.entries = 1  # as while something waits there
    pruning = asyncio.ensure_future(retention.prune(store._server, NOON + timedelta(days=1), pace, writer.before_prune))
    for problem in range(2):
        await asyncio.sleep(0.05)
        assert not pruning.done(), problem
        assert len(await store.stream(batch[0].stream) if writer.is_healthy else batch) == 3
        writer._spool.entries = 0
        writer._append_s, writer._appended_at = 2.0, time.monotonic()
    writer._append_s = 0.01

    assert await pruning == 1
