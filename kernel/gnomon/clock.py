"""The real clock. The virtual one for tests is in gnomon.testing."""

from __future__ import annotations

import asyncio
import functools
import time
from datetime import UTC, datetime

from gnomon.ports import Clock

LONGEST_WAIT_S = 1.0
"""The loop's timers use the monotonic clock, so a wait must wake up to notice that the wall clock was set or that the
machine was suspended. Waking once a second costs 0.01 % of a core."""


class SystemClock(Clock):
    """The machine's clocks."""

    # Without methods around them: a run reads them six times, and each Python call costs 0.1 µs.
    monotonic = staticmethod(time.monotonic)
    now = staticmethod(functools.partial(datetime.now, UTC))
    time = staticmethod(time.time)

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        seconds = LONGEST_WAIT_S if until is None else min(max(until - time.time(), 0.0), LONGEST_WAIT_S)
        # Not asyncio.timeout, which ends a wait by an exception: that costs 30 µs, at up to 1,000 fires a second.
        timer = asyncio.get_running_loop().call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
