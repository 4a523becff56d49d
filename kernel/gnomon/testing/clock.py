"""Virtual time: a month of schedules in milliseconds, and clocks that jump."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gnomon.ports import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 20
"""Turns of the event loop in which nothing happens any more, after which everything is taken to have settled."""
PATIENCE = 100
"""Turns of the event loop after which unfinished work is taken to go on in another thread."""
LIMIT = 60.0
"""Seconds of real time after which unfinished work is taken to hang."""

MICROSECOND = 1e-6


class VirtualClock(Clock):
    """A clock that moves only when told to.

    `advance` goes from one deadline to the next and lets everything that waits for it run, as real time would.
    `is_idle` is asked before each move, so that work that goes on in threads (a store, plugins) is waited for: give
    it `lambda: kernel.is_idle`. `make_kernel` gives it what waits for plain functions, too, as they run in threads.
    """

    def __init__(self, start: datetime = START) -> None:
        self._wall = start.astimezone(UTC)
        self._passed = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._looking_again: set[asyncio.Future[None]] = set()
        self.is_idle: Callable[[], bool] = lambda: True

    def time(self) -> float:
        return self._wall.timestamp()

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._passed

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        timer = self._timer(float("inf") if until is None else self._passed + max(until - self.time(), 0.0))
        waker = asyncio.ensure_future(wake.wait())
        self._looking_again.add(timer)
        try:
            await asyncio.wait((waker, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._looking_again.discard(timer)
            timer.cancel()
            waker.cancel()

    async def sleep(self, seconds: float) -> None:
        await self._timer(self._passed + seconds)

    async def advance(self, by: timedelta | float) -> None:
        """Let that much time pass, both on the wall and on the monotonic clock."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        end, wall_end = self._passed + seconds, self._wall + timedelta(seconds=seconds)
        await self.settle()
        while self._waiting and self._waiting[0][0] <= end:
            deadline, _, timer = heapq.heappop(self._waiting)
            if timer.done():
                continue
            self._move(deadline)
            timer.set_result(None)
            self._fire(within=MICROSECOND)
            await self.settle()
        self._move(end)
        self._wall = wall_end  # no rounding from the steps between
        self._fire(within=MICROSECOND)  # what is due by the wall clock now, and not quite by the sum of the steps
        await self.settle()

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows that moment."""
        await self.advance(moment - self._wall)

    async def jump(self, by: timedelta) -> None:
        """Set the wall clock forward or back, as an operator or a time server does; no time passes."""
        self._wall += by
        for timer in self._looking_again:
            if not timer.done():
                timer.set_result(None)  # as the real clock does within a second
        await self.settle()

    async def until(self, condition: Callable[[], object], step: timedelta | float = 0.0) -> None:
        """Wait for what no clock knows of, such as a plugin's own task; TimeoutError if it hangs.

        Real time passes meanwhile, and with a `step` so much virtual time in each round, for what waits on the clock.
        """
        deadline = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition does not hold after {LIMIT:g} s; is there a `step` for what sleeps?")
            await self.advance(step)
            await asyncio.sleep(0.001)

    async def settle(self) -> None:
        """Let everything run that can run without time passing; TimeoutError where it hangs."""
        quiet, busy, deadline = 0, 0, time.monotonic() + LIMIT
        while quiet < TURNS:
            if busy > PATIENCE and time.monotonic() > deadline:
                raise TimeoutError(f"work is not done after {LIMIT:g} s: does a plugin, a guard or the store hang?")
            # What goes on in threads needs real time; all else is done after some turns of the loop.
            await asyncio.sleep(0 if busy < PATIENCE else 0.0005)
            quiet, busy = (quiet + 1, 0) if self.is_idle() else (0, busy + 1)

    def _fire(self, within: float) -> None:
        """Let the timers go whose deadline is the same to the wall clock, which counts in µs: a job is due by it."""
        while self._waiting and self._waiting[0][0] <= self._passed + within:
            _, _, timer = heapq.heappop(self._waiting)
            if not timer.done():
                timer.set_result(None)

    def _timer(self, deadline: float) -> asyncio.Future[None]:
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline, next(self._numbers), timer))
        return timer

    def _move(self, to: float) -> None:
        if to > self._passed:
            self._wall += timedelta(seconds=to - self._passed)
            self._passed = to
