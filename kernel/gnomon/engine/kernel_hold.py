"""The hold of the whole kernel: fires wait as in a pause of each job, until an operator releases them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from gnomon.domain.events import Hold
from gnomon.ports import Store
from gnomon.stores.reading import FIRST_LOOK_BACK, hold_at

AHEAD = timedelta(days=366)
"""How far ahead of the clock a fact about a hold may be."""


class KernelHold:
    """Whether fires are held back. `current` may be read in any thread."""

    def __init__(self) -> None:
        self.current: Hold | None = None
        self._released = asyncio.Event()

    async def wait_for_release(self) -> None:
        """Wait until fires are not held back."""
        while self.current is not None:
            self._released.clear()
            await self._released.wait()

    def release(self) -> None:
        """End the hold."""
        self.current = None
        self._released.set()

    @property
    def problem(self) -> str | None:
        """A sentence while fires are held back."""
        return f"{WORDS} {self.current.words}" if self.current is not None else None


WORDS = "no job fires: the kernel is"


async def read_hold(store: Store, now: datetime) -> Hold | None:
    """Return the hold that is in the log, also where the clock was set back since."""
    return await hold_at(store, now + AHEAD, AHEAD + FIRST_LOOK_BACK)
