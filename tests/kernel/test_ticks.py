"""Looks that recur at common moments: several of them wake a process up once."""

from __future__ import annotations

import asyncio
import os

import pytest

from gnomon.ticks import next_tick

PHASE = os.getpid() * 0.618033988749895


class Moment:
    """A loop's time that stands still, and what is slept there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept = 0.0
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept = seconds

    async def tick_after(self, now: float, interval_s: float) -> float:
        self.now = now
        await next_tick(interval_s)
        return now + self.slept - PHASE


@pytest.mark.parametrize("interval_s", [0.1, 0.25, 0.5])
async def test_ticks_are_common_to_all_who_wait_and_an_interval_apart(
    monkeypatch: pytest.MonkeyPatch, interval_s: float
) -> None:
    moment = Moment(monkeypatch)
    begin = PHASE + 1000 * interval_s

    first = await moment.tick_after(begin + 0.2 * interval_s, interval_s)
    assert first == pytest.approx(await moment.tick_after(begin + 0.7 * interval_s, interval_s))
    assert first == pytest.approx(begin + interval_s - PHASE)
    assert await moment.tick_after(first + PHASE, interval_s) == pytest.approx(first + interval_s)


async def test_a_timer_that_fires_a_moment_early_is_not_followed_by_the_same_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = Moment(monkeypatch)
    tick = PHASE + 100.0

    assert await moment.tick_after(tick - 1e-6, 0.1) == pytest.approx(100.1)
    assert await moment.tick_after(tick + 1e-6, 0.1) == pytest.approx(100.1)


async def test_a_longer_interval_has_its_ticks_among_those_of_a_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Moment(monkeypatch)

    longer = await moment.tick_after(PHASE + 7.03, 0.5)

    assert longer == pytest.approx(7.5)
    assert await moment.tick_after(PHASE + 7.45, 0.1) == pytest.approx(longer)
