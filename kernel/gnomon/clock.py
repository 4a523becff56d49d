"""The real clock. Tests have a virtual one, in gnomon.testing."""

from __future__ import annotations

import asyncio
import functools
import time
from datetime import UTC, datetime

from gnomon.ports import Clock

LONGEST_WAIT = 1.0
"""Seconds. The loop's timers stand on the monotonic clock: only by looking again does a wait notice that the wall
clock was set, or that the machine slept. One look a second costs 0.01 % of a core."""


class SystemClock(Clock):
    """The machine's clocks."""

    # No methods of ours around them: a run asks six times, and each way through Python is 0.1 µs.
    monotonic = staticmethod(time.monotonic)
    now = staticmethod(functools.partial(datetime.now, UTC))
    time = staticmethod(time.time)

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        seconds = LONGEST_WAIT if until is None else min(max(until - time.time(), 0.0), LONGEST_WAIT)
        # Not asyncio.timeout, which ends a wait by an exception: at 1,000 fires a second that is 30 µs of each.
        timer = asyncio.get_running_loop().call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
