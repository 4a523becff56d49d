"""Virtual time: a month of schedules in milliseconds, and clocks that jump."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gnomon.clock import LONGEST_WAIT_S
from gnomon.ports import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)
QUIET_TURNS = 20
"""Idle turns of the event loop after which everything counts as settled."""
BUSY_TURNS = 100
"""Turns of the event loop after which unfinished work is assumed to run in another thread."""
LIMIT_S = 60.0
"""Real time after which unfinished work is assumed to hang."""

MICROSECOND_S = 1e-6


class VirtualClock(Clock):
    """A clock that moves only when a test moves it.

    `advance` steps from deadline to deadline, and everything that waits for a deadline runs before the next step.
    `is_idle` is called before each step, so that work in threads (a store, plugins) finishes first: set it to
    `lambda: kernel.is_idle`. `make_kernel` sets a function that also waits for bodies that run in threads.
    """

    def __init__(self, start: datetime = START) -> None:
        self._wall = start.astimezone(UTC)
        self._passed = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._wall_timers: set[asyncio.Future[None]] = set()
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
        self._wall_timers.add(timer)
        try:
            # Return now and then, as the real clock does: health counts a wait that never ends as a standstill.
            await asyncio.wait((waker, timer), timeout=LONGEST_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wall_timers.discard(timer)
            timer.cancel()
            waker.cancel()

    async def sleep(self, seconds: float) -> None:
        await self._timer(self._passed + seconds)

    async def advance(self, by: timedelta | float) -> None:
        """Advance the wall clock and the monotonic clock."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        end, wall_end = self._passed + seconds, self._wall + timedelta(seconds=seconds)
        await self.settle()
        while self._waiting and self._waiting[0][0] <= end:
            deadline, _, timer = heapq.heappop(self._waiting)
            if timer.done():
                continue
            self._move(deadline)
            timer.set_result(None)
            self._fire(within=MICROSECOND_S)
            await self.settle()
        self._move(end)
        self._wall = wall_end  # without the rounding errors of the steps
        self._fire(within=MICROSECOND_S)  # timers that are due by the wall clock, and not quite by the sum of the steps
        await self.settle()

    async def advance_to(self, moment: datetime) -> None:
        """Advance until the wall clock shows this moment."""
        await self.advance(moment - self._wall)

    async def jump(self, by: timedelta) -> None:
        """Set the wall clock forward or back, as an operator or a time server does; no time passes."""
        self._wall += by
        for timer in self._wall_timers:
            if not timer.done():
                timer.set_result(None)  # the real clock notices a jump within a second
        await self.settle()

    async def stall(self, by: timedelta | float) -> None:
        """Advance without running anything, as while the process is suspended; what is due by then runs late."""
        await self.settle()
        self._move(self._passed + (by.total_seconds() if isinstance(by, timedelta) else by))
        self._fire(within=MICROSECOND_S)
        await self.settle()

    async def until(self, condition: Callable[[], object], step: timedelta | float = 0.0) -> None:
        """Wait for work that the clock cannot see, such as a plugin's own task; TimeoutError if it hangs.

        Real time passes meanwhile. With a `step` each round also advances this clock, for work that sleeps on it.
        """
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition is still false after {LIMIT_S:g} s; does it need a `step`?")
            await self.advance(step)
            await asyncio.sleep(0.001)

    async def settle(self) -> None:
        """Run everything that can run without time passing; TimeoutError where it hangs."""
        quiet, busy, deadline = 0, 0, time.monotonic() + LIMIT_S
        while quiet < QUIET_TURNS:
            if busy > BUSY_TURNS and time.monotonic() > deadline:
                raise TimeoutError(f"work is not done after {LIMIT_S:g} s: does a plugin, a guard or the store hang?")
            # Work in threads needs real time; everything else finishes within some turns of the loop.
            await asyncio.sleep(0 if busy < BUSY_TURNS else 0.0005)
            quiet, busy = (quiet + 1, 0) if self.is_idle() else (0, busy + 1)

    def _fire(self, within: float) -> None:
        """Fire the timers whose deadline is now on the wall clock, which counts in µs: jobs are due by that clock."""
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
