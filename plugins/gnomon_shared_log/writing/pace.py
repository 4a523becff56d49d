"""How fast old records are deleted, so that the kernel's own writes come first.

A step is made small enough to take about a quarter of a second, and is followed by a pause of four times its duration.
While events do not reach the server, nothing is deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MOST_AT_ONCE = 100
"""Executions that are deleted in one step."""
STEP_S = 0.25
"""The duration of a step to aim at: longer ones get fewer executions."""
PAUSE_RATIO = 4.0
"""The pause after a step, relative to its duration: deleting takes a fifth of the time at most."""
RECHECK_S = 1.0
"""Before an interrupted deletion checks again whether it may continue."""


class Pace:
    """Sizes and spaces the steps. `is_allowed` is false while the database is slow or down."""

    def __init__(self, is_allowed: Callable[[], bool]) -> None:
        self.size = MOST_AT_ONCE
        self._is_allowed = is_allowed

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Wait until a step may start; measure it, then pause and resize the next one."""
        while not self._is_allowed():  # noqa: ASYNC110 - that depends on the time, too
            await asyncio.sleep(RECHECK_S)
        began = time.monotonic()
        yield
        spent = time.monotonic() - began
        if spent > STEP_S:
            self.size = max(self.size // 2, 1)
        elif spent < STEP_S / 2:
            self.size = min(self.size * 2, MOST_AT_ONCE)
        await asyncio.sleep(spent * PAUSE_RATIO)
