"""Pauses on the kernel's clock that something may end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gnomon.api import KernelApi

REAL_PAUSE_S = 1.0
"""The pause where the kernel has no clock to wait on, such as while its role changes."""


async def pause(kernel: KernelApi, seconds: float, until: asyncio.Event) -> None:
    """Wait so many seconds on the kernel's clock, or until the event."""
    sleep, end = asyncio.ensure_future(kernel.sleep(seconds)), asyncio.ensure_future(until.wait())
    try:
        await asyncio.wait({sleep, end}, return_when=asyncio.FIRST_COMPLETED)
        if sleep.done() and not sleep.cancelled() and sleep.exception() is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(end), REAL_PAUSE_S)
    finally:
        sleep.cancel()
        end.cancel()
