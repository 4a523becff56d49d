"""Changes of the log as the server reports them: who waits for one does not have to look again and again.

    asleep ──► live        a task waits, and the server reports changes
      ▲         │
      └─────────┘          no task has waited for REST_S, or the stream has ended

A feed only wakes. What has changed is read from the log; a feed that becomes live, or is not live any more,
wakes all who wait, so that they look once. While it is not live they look themselves, several times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gnomon.backoff import Backoff
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon_shared_log.ports.changes import Change, ChangeSource, NextChange, Topic

log = get_logger("gnomon.shared_log")

AWAIT_S = 5.0
"""The longest time that the server waits with an answer, and so, with the time limit of a call, how long a stream may
be silent whose connection is cut."""
REST_S = 1.0
"""Time after which a stream that nobody waits for is closed. A busy process looks often, and would receive a notice of
each event in addition."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


class Turns:
    """Counts changes of some kind, and the beginnings and ends of streams."""

    def __init__(self, counts: Callable[[Change], bool]) -> None:
        self.count = 0
        self._counts = counts
        self._next = asyncio.Event()

    async def after(self, seen: int) -> None:
        """Return when there are more turns than those that were seen."""
        while self.count == seen:
            await self._next.wait()

    def note(self, change: Change | None) -> None:
        """Note a change, or None for a stream that begins or ends."""
        if change is None or self._counts(change):
            self.count += 1
            self._next.set()
            self._next = asyncio.Event()


class ChangeFeed:
    """Passes each change of a topic to `receive`, and counts them for who waits; `run` is a task of the open store.

    `stream` is the number of the stream that is open, 0 without one. Changes between two streams are not passed on.
    """

    def __init__(self, source: ChangeSource, topic: Topic, receive: Callable[[Change], None] | None = None) -> None:
        self.stream = 0
        self._opened = 0
        self._turns: list[Turns] = []
        self._source = source
        self._topic: Topic = topic
        self._receive = receive
        self._waiting = 0
        self._is_waited_for = asyncio.Event()

    def turns_of(self, counts: Callable[[Change], bool]) -> Turns:
        """Return what counts the changes of a kind from now on."""
        self._turns.append(turns := Turns(counts))
        return turns

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the stream open in the block, which waits for changes."""
        self._waiting += 1
        self._is_waited_for.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._is_waited_for.clear()

    async def run(self) -> None:
        """Follow the server until cancelled, while the feed is used."""
        backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            await self._is_waited_for.wait()
            try:
                async with self._source.changes(self._topic, AWAIT_S) as next_change:
                    backoff.reset()
                    await self._follow(next_change)
            except StoreError as exc:
                pause = backoff.next()
                log.debug("no changes are reported: the log is looked at instead", problem=str(exc), next_try_s=pause)
                await asyncio.sleep(pause)

    async def _follow(self, next_change: NextChange) -> None:
        """Pass on changes until nobody has waited for REST_S."""
        self._opened += 1
        self.stream = self._opened
        self._wake(None)
        try:
            while await self._is_used():
                if (change := await next_change()) is not None:
                    if self._receive is not None:
                        self._receive(change)
                    self._wake(change)
        finally:
            self.stream = 0
            self._wake(None)

    async def _is_used(self) -> bool:
        if not self._is_waited_for.is_set():
            try:
                async with asyncio.timeout(REST_S):
                    await self._is_waited_for.wait()
            except TimeoutError:
                return False
        return True

    def _wake(self, change: Change | None) -> None:
        for turns in self._turns:
            turns.note(change)
