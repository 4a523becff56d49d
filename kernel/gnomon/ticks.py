"""Looks that recur, at common moments: all of a process wake it up once.

Waking up costs more than most looks do: 10 times a second it is 0.15 % of a core, for one loop that waits and for five
that wait for the same moment.
"""

from __future__ import annotations

import asyncio
import os

_PHASE_STEP_S = 0.618033988749895
"""Processes of one machine have different moments: they would wait for each other's locks."""
_EARLIEST = 0.1
"""Of an interval: a loop's timers may fire a moment too early, and that moment is not the next tick."""


async def next_tick(interval_s: float) -> None:
    """Sleep until the next of the moments that recur after this interval: all of 0.1 s, of which 0.5 s has a part."""
    await asyncio.sleep(seconds_to_tick(interval_s))


def seconds_to_tick(interval_s: float) -> float:
    """Return the seconds until that moment."""
    now = asyncio.get_running_loop().time()
    left = interval_s - (now - os.getpid() * _PHASE_STEP_S) % interval_s
    return left if left > interval_s * _EARLIEST else left + interval_s
