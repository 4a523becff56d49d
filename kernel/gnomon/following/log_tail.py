"""The tail of a log that another kernel writes: offers its new events, in order and without a gap.

Each look begins with the event that was read last. Where that is not there any more, the log is another one by now, or
has lost events, as after the restore of a backup: nothing more is offered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from gnomon.domain.codec import EventBatch
from gnomon.domain.events import Event
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon.ports import Store
from gnomon.stores.reading import read_behind

log = get_logger("gnomon.following")

SHORTEST_S, LONGEST_S = 0.02, 0.1
"""Seconds between two looks: the shorter one while events come, and twice as long after each look that finds none. From
the longer one on, the store says when to look."""
REST_RATIO = 4.0
"""A look is followed by a rest of four times as long, at most of the longer one: a slow store has other work, too."""
AWAY_S = 1.0
"""Seconds until a store that cannot be read is asked again."""
LONGEST_WAIT_S = 10.0
"""Seconds after which a look is made without news: a log that was replaced by a shorter one reports none."""
BLOCK = 1_000
"""Events that are read at once."""


def rest_after(look_s: float) -> float:
    """Return the seconds of rest after a look that took so long."""
    return min(REST_RATIO * look_s, LONGEST_S)


class LogTail:
    """Reads the log from `head` on. `problem` says why it cannot be read at the moment."""

    def __init__(self, store: Store, publish: Callable[[Sequence[Event]], None]) -> None:
        self.head = 0
        self.problem: str | None = None
        self._last: Event | None = None
        self._store = store
        self._publish = publish
        self._watched: dict[str, asyncio.Future[None]] = {}
        self._is_woken = False
        self._waiting: asyncio.Timeout | None = None
        self._is_closed = False

    async def begin(self) -> None:
        """Begin at the end of the log; StoreError."""
        self.head = await self._store.head()
        newest = await self._store.read(self.head - 1, 1) if self.head else []
        self._last = newest[0] if newest else None

    async def run(self) -> None:
        """Read until cancelled."""
        pause = SHORTEST_S
        while True:
            begun = time.monotonic()
            try:
                found = await self._look()
                self.problem = None
                pause = SHORTEST_S if found or self._is_woken else min(2 * pause, AWAY_S)
                self._is_woken = False
                if pause > LONGEST_S:
                    await self._wait_for_events()
                    continue
            except StoreError as exc:
                if self.problem is None:
                    log.warning("the log cannot be read", store=self._store.name, problem=str(exc))
                self.problem, pause = str(exc), AWAY_S
            await asyncio.sleep(max(pause, rest_after(time.monotonic() - begun)))

    def wake(self) -> None:
        """Read at once, and often for a moment: events are about to come."""
        self._is_woken = True
        if (waiting := self._waiting) is not None:
            self._waiting = None
            waiting.reschedule(0.0)

    def watch(self, stream: str) -> asyncio.Future[None]:
        """Return what is done at the next event of a stream; StoreError where nobody reads the log any more."""
        if self._is_closed:
            raise StoreError("the log is not read any more: the kernel does not follow")
        self.wake()
        future = self._watched.get(stream)
        if future is None:
            future = self._watched[stream] = asyncio.get_running_loop().create_future()
        return asyncio.shield(future)

    def close(self) -> None:
        """Wake all who wait: the kernel does not follow any more."""
        self._is_closed = True
        for future in self._watched.values():
            if not future.done():
                future.set_result(None)
        self._watched.clear()

    async def _wait_for_events(self) -> None:
        """Wait until the store says that there may be events, or `wake` is called, for LONGEST_WAIT_S at most."""
        with suppress(TimeoutError):
            try:
                async with asyncio.timeout(LONGEST_WAIT_S) as self._waiting:
                    await self._store.wait_for_events(self.head)
            finally:
                self._waiting = None

    async def _look(self) -> bool:
        if self._last is None:
            events = await self._store.read(self.head, BLOCK)
        else:
            events = await read_behind(self._store, self._last, BLOCK)
        if not events:
            return False
        self.head, self._last = events[-1].position, events[-1]
        self._publish(EventBatch(events))
        for event in events:
            if (future := self._watched.pop(event.stream, None)) is not None and not future.done():
                future.set_result(None)
        return True
