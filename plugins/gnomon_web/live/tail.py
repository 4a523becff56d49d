"""The tail of the log, encoded once, which every connection reads at its own pace.

The log is the queue: a connection is a position in it and nothing more. A slow reader costs no memory, fast readers
share the same bytes, and a reader that lags behind the tail reads from the store.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Hashable, Sequence
from operator import itemgetter
from typing import Annotated, NamedTuple

import msgspec

from gnomon import Event, KernelApi
from gnomon.domain.codec import encode_to_send

Position = Annotated[int, msgspec.Meta(ge=0)]
"""A position of the log, as clients send it."""

KEPT_EVENTS = 10_000
KEPT_BYTES = 4 * 1024 * 1024
"""Limits of the part of the log that is kept in memory; both hold."""
PAGE_EVENTS = 1_000
PAGE_BYTES = 128 * 1024
"""Limits of one frame for a reader of the whole log, unless a single event is larger."""
FLUSH_S = 0.02
"""Seconds between two announcements of new events: events committed in between share one frame, and a connection wakes
at most 50 times a second (with 100 connections and 3,000 events a second, a tenth of the wake-ups of one for each
commit). After a silence the first event is announced at once."""
MAX_RESUME = 5_000
"""Missed events that a viewer still gets when it resumes; beyond that a snapshot is cheaper for both."""
SHARED_SLICES = 16
"""Slices kept for sharing: readers that keep up request the same one within one iteration of the loop, and after a
restart many readers request the same old ones."""


class Entry(NamedTuple):
    """One event and its JSON."""

    position: int
    event: Event
    body: bytes


class Slice:
    """The events after one position up to another; each of its frames is made once and shared."""

    def __init__(self, after: int, upto: int, entries: Sequence[Entry]) -> None:
        self.after = after
        self.upto = upto
        self.entries = entries
        self._frames: dict[Hashable, bytes] = {}
        self._making = asyncio.Lock()

    def has_gap(self, beyond: int = 0) -> bool:
        """Whether a position after `beyond` is missing. Positions are contiguous, so missing ones have been pruned."""
        start = max(self.after, beyond)
        there = len(self.entries) - bisect_right(self.entries, start, key=itemgetter(0))
        return there < self.upto - start

    def frame(self, key: Hashable, make: Callable[[Slice], bytes]) -> bytes:
        """Return the frame of a key, made once."""
        if (found := self._frames.get(key)) is None:
            found = self._frames[key] = make(self)
        return found

    async def awaited_frame(self, key: Hashable, make: Callable[[Slice], Awaitable[bytes]]) -> bytes:
        """Return the frame of a key, made once, where making it awaits something."""
        async with self._making:
            if (found := self._frames.get(key)) is None:
                found = self._frames[key] = await make(self)
            return found


class Tail:
    """The events of `on_events` in a bounded ring. Everything here runs on one event loop.

    `head` is the position up to which events are announced. Older events are read from the store, page by page.
    """

    def __init__(self, kernel: KernelApi, head: int) -> None:
        self.head = head
        self._kernel = kernel
        self._floor = self._newest = head
        self._ring: list[Entry] = []
        self._bytes = 0
        self._slices: dict[tuple[int, int, int, int], Slice] = {}
        self._reading = asyncio.Lock()
        self._announced = asyncio.Event()
        self._flush: asyncio.TimerHandle | None = None
        self._next_flush = float("-inf")

    def publish(self, events: Sequence[Event]) -> None:
        """Add durable events, in order; never blocks. Known ones are ignored."""
        bodies = zip(events, encode_to_send(events), strict=True)
        fresh = [Entry(event.position, event, body) for event, body in bodies if event.position > self._newest]
        if not fresh:
            return
        self._ring += fresh
        self._bytes += sum(len(entry.body) for entry in fresh)
        self._newest = fresh[-1].position
        self._trim()
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_at(max(self._next_flush, loop.time()), self._announce)

    def _trim(self) -> None:
        too_many, size = max(len(self._ring) - KEPT_EVENTS, 0), self._bytes
        for entry in self._ring[:too_many]:
            size -= len(entry.body)
        while size > KEPT_BYTES:
            size -= len(self._ring[too_many].body)
            too_many += 1
        if too_many:
            self._floor = self._ring[too_many - 1].position
            self._bytes = size
            del self._ring[:too_many]

    def _announce(self) -> None:
        loop = asyncio.get_running_loop()
        self._flush, self.head = None, self._newest
        self._next_flush = loop.time() + FLUSH_S
        self._announced.set()
        self._announced.clear()  # the waiting readers still wake
        loop.call_soon(self._readers_done, loop.time())  # runs after all readers that woke

    def _readers_done(self, began: float) -> None:
        """Delay the next announcement by the time that the readers took: a busy machine needs time for other work."""
        now = asyncio.get_running_loop().time()
        self._next_flush = max(self._next_flush, now + (now - began))

    async def reach(self, position: int) -> None:
        """Wait until a position is announced."""
        while self.head < position:
            await self._announced.wait()

    async def read(self, after: int, limit: int = PAGE_EVENTS, size: int = PAGE_BYTES) -> Slice:
        """Return the events after a position: up to `limit` events and `size` bytes, but at least one event.

        The slice is empty where nothing is announced after the position, or all of it has been pruned.
        """
        if after < self._floor:
            async with self._reading:  # after a restart many resume at one position: the first one reads for all
                return await self._shared((after, self._floor, limit, size), self._read_store)
        return await self._shared((after, max(after, self.head), limit, size), self._read_ring)

    async def _shared(
        self, key: tuple[int, int, int, int], read: Callable[[int, int, int, int], Awaitable[Slice]]
    ) -> Slice:
        if (found := self._slices.get(key)) is None:
            found = self._slices[key] = await read(*key)
            if len(self._slices) > SHARED_SLICES:
                del self._slices[next(iter(self._slices))]
        return found

    async def _read_ring(self, after: int, upto: int, limit: int, size: int) -> Slice:
        first = bisect_right(self._ring, after, key=itemgetter(0))
        last = bisect_right(self._ring, upto, lo=first, key=itemgetter(0))
        return _cut(after, upto, self._ring[first : min(last, first + limit)], last - first > limit, size)

    async def _read_store(self, after: int, upto: int, limit: int, size: int) -> Slice:
        events = await self._kernel.events(after, limit)
        texts = zip(events, encode_to_send(events), strict=True)
        page = [Entry(event.position, event, text) for event, text in texts]
        # Events beyond that are in the ring, in slices that all readers share.
        entries = [entry for entry in page if entry.position <= upto]
        return _cut(after, upto, entries, len(page) == limit and len(entries) == len(page), size)


def _cut(after: int, upto: int, entries: list[Entry], has_more: bool, size: int) -> Slice:
    """Return a slice of at most `size` bytes; with `has_more` it ends with its last entry."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry.body)
        if total > size and count > 0:
            entries, has_more = entries[:count], True
            break
    return Slice(after, entries[-1].position if has_more else upto, entries)
