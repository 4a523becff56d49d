"""The hold of the whole kernel: fires wait as in a pause of each job, until an operator releases them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from gnomon.domain import events
from gnomon.domain.events import Event, Hold
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact


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
    """Return the hold that is in the log. Each start of a kernel repeats it, so retention does not delete it."""
    fact = await newest_kernel_fact(store, now + timedelta(days=366), _tells)
    if isinstance(fact, events.KernelStarted):
        return fact.hold
    return Hold(fact.at, fact.actor, fact.reason) if isinstance(fact, events.KernelHeld) else None


def _tells(event: Event) -> bool:
    return isinstance(event, events.KernelStarted | events.KernelHeld | events.KernelReleased)
