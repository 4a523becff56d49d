"""Files the views of appended events in groups, right behind the events, so that an append costs one round trip.

    append ──► the events are durable ──► the append returns
                     │
                     └──► add ──► one group is written at a time; what is added meanwhile is the next group

A view is derived from events, so it need not be durable when the append returns. What a crash leaves unfiled is folded
again at the next start, from the position `first` that every append names (`Batch.follow`). Readers in this process
wait for everything that was added before they asked (`flush`), and those in processes that follow do so as well; other
programs see a view one group later than its events. Several views of one run in a group are written once. Where groups
are expensive, the filer rests between them, so that they become larger; nobody waits for that. What a server that is
down does not take is retried, and what is added meanwhile makes further groups, each of which can be written in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, NamedTuple

import msgspec

from gnomon.backoff import Backoff
from gnomon.domain.execution import Execution
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_shared_log.ports.batch import B

log = get_logger("gnomon.shared_log")

FLUSH_LIMIT_S = 15.0
"""For a reader to wait for views."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""The pauses between attempts to write a group."""


class FilingPace(NamedTuple):
    """How large groups become.

    `rest_s` is the time between two groups that nobody waits for, in seconds. An append waits while the views of more
    than `most_waiting` events are not filed, and no group has more, except for one append that does.
    """

    rest_s: float = 0.0
    most_waiting: int = 2_000


class Group(msgspec.Struct, Generic[B]):
    """Views that are written together, the position of their first event, and the number of events."""

    views: B
    first: int
    events: int


class ViewFiler(Generic[B]):
    """Writes views with `write`, one group after the other.

    `problem` is why the last attempt failed, None if it did not.
    """

    def __init__(self, write: Callable[[B], Awaitable[None]], pace: FilingPace | None = None) -> None:
        self.problem: str | None = None
        self._write = write
        self.pace = pace or FilingPace()
        self._filing: Group[B] | None = None
        self._next: deque[Group[B]] = deque()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._awaiting = 0
        self._added = self._filed = 0
        self._is_stopped = False

    @property
    def first(self) -> int | None:
        """The position of the first event whose view may not be filed; None if all are."""
        return next((group.first for group in self._groups()), None)

    def _groups(self) -> list[Group[B]]:
        """Return the groups that are not filed, the oldest first."""
        return [*(() if self._filing is None else (self._filing,)), *self._next]

    @property
    def waiting(self) -> int:
        """The number of events whose views are not filed."""
        return self._added - self._filed

    def add(self, batch: B) -> None:
        """File the views of events that are durable."""
        if self._is_stopped or batch.has_only_events:
            return
        group = Group(batch.without_events(), batch.first, batch.event_count)
        if self._next and self._next[-1].events + group.events <= self.pace.most_waiting:
            self._next[-1].views.add(group.views)
            self._next[-1].events += group.events
        else:
            self._next.append(group)
        self._added += group.events
        self._wake.set()

    async def room(self) -> None:
        """Wait while too many views are not filed, unless the server does not take any."""
        if self.waiting > self.pace.most_waiting:
            with self._awaited():
                while self.waiting > self.pace.most_waiting and self._is_working:
                    await self._changed.wait()

    async def flush(self) -> None:
        """Wait until everything that was added is filed; StoreUnavailableError if the server does not take it."""
        wanted = self._added
        with suppress(TimeoutError), self._awaited():
            async with asyncio.timeout(FLUSH_LIMIT_S):
                while self._filed < wanted and self._is_working:
                    await self._changed.wait()
        if self._filed < wanted and not self._is_stopped:
            problem = self.problem or "the server is slow"
            raise StoreUnavailableError(f"the views of {self.waiting} events are not written yet: {problem}")

    def execution(self, execution_id: str) -> Execution | None:
        """Return the newest view of an execution that is not filed."""
        for group in reversed(self._groups()):
            if (view := group.views.execution(execution_id)) is not None:
                return view
        return None

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        """Do not rest in the block."""
        self._awaiting += 1
        self._hurry.set()
        try:
            yield
        finally:
            self._awaiting -= 1

    @property
    def _is_working(self) -> bool:
        return self.problem is None and not self._is_stopped

    def stop(self) -> None:
        """File nothing more: another kernel writes the log, and has folded what was left."""
        self._is_stopped = True
        self._wake.set()
        self._hurry.set()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """File what is added, until cancelled. Runs as a task of the store."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        while not self._is_stopped:
            if self._filing is None:
                if not self._next:
                    self._wake.clear()
                    await self._wake.wait()
                self._filing = self._next.popleft() if self._next else None
            if self._filing is not None:
                await self._file(self._filing, backoff)
                await self._rest()

    async def _rest(self) -> None:
        if self.pace.rest_s and not self._awaiting and not self._is_stopped:
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.rest_s):
                    await self._hurry.wait()

    async def _file(self, group: Group[B], backoff: Backoff) -> None:
        try:
            await self._write(group.views)
        except StoreError as exc:
            if self.problem is None:
                log.warning("views cannot be written yet", problem=str(exc), events=self.waiting)
            self.problem = str(exc)
        else:
            backoff.reset()
            self.problem, self._filing = None, None
            self._filed += group.events
        self._notify()
        if self.problem is not None:
            await asyncio.sleep(backoff.next())
