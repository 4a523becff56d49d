"""The newest part of the log, encoded once, from which every connection reads at its own pace.

The log is the queue: a connection is a position in it and nothing more. So a slow reader costs no memory, a fast one
shares its bytes with all others that are as fast, and whoever falls behind what is kept here reads from the store.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Hashable, Sequence
from operator import itemgetter
from typing import Annotated, NamedTuple

import msgspec

from gnomon import Event, Kernel
from gnomon.domain.codec import encode, encode_each

Position = Annotated[int, msgspec.Meta(ge=0)]
"""A place in the log as clients name it."""

KEPT_EVENTS = 10_000
KEPT_BYTES = 16 * 1024 * 1024
"""How much of the log is kept in memory: both bounds hold."""
PAGE_EVENTS = 1_000
PAGE_BYTES = 128 * 1024
"""How much one frame of a reader of the whole log carries, unless a single event is larger."""
FLUSH = 0.02
"""Seconds between two announcements of new events: what is committed in between travels in one frame, and a connection
is woken 50 times a second at most (100 connections at 3,000 events a second: a tenth of the wake-ups of one for each
commit). After a silence nothing waits."""
FARTHEST_RESUME = 5_000
"""Events that a viewer may have missed and still get them; beyond that a picture of the present is cheaper for both."""
SHARED_SLICES = 16
"""Slices that are kept to be shared: readers that keep up ask for the same one within the same turn of the loop, and
what was before a restart is asked for by many at once."""


class Entry(NamedTuple):
    """One event and its JSON."""

    position: int
    event: Event
    body: bytes


class Slice:
    """The events after one position up to another; its frames are made once for all who send the same ones."""

    def __init__(self, after: int, upto: int, entries: Sequence[Entry]) -> None:
        self.after = after
        self.upto = upto
        self.entries = entries
        self._frames: dict[Hashable, bytes] = {}
        self._making = asyncio.Lock()

    def lacks(self, beyond: int = 0) -> bool:
        """Whether a position after `beyond` is missing: they are given without gaps, so a gap is what was pruned."""
        start = max(self.after, beyond)
        there = len(self.entries) - bisect_right(self.entries, start, key=itemgetter(0))
        return there < self.upto - start

    def frame(self, key: Hashable, make: Callable[[Slice], bytes]) -> bytes:
        """Return the frame of that key, made once."""
        if (found := self._frames.get(key)) is None:
            found = self._frames[key] = make(self)
        return found

    async def asked_frame(self, key: Hashable, make: Callable[[Slice], Awaitable[bytes]]) -> bytes:
        """Return the frame of that key, made once, also where making it asks others and several wait for it."""
        async with self._making:
            if (found := self._frames.get(key)) is None:
                found = self._frames[key] = await make(self)
            return found


class Tail:
    """What `on_events` brings, in a bounded ring; all of it is used on one event loop.

    `head` is the position up to which events are announced. Below the ring the store answers, page by page.
    """

    def __init__(self, kernel: Kernel, head: int) -> None:
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
        """Take in durable events, in order; never blocks. What is known already is passed over."""
        bodies = zip(events, encode_each(events), strict=True)
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
        self._next_flush = loop.time() + FLUSH
        self._announced.set()
        self._announced.clear()  # who waits is woken all the same
        loop.call_soon(self._have_sent, loop.time())  # behind all who were woken

    def _have_sent(self, began: float) -> None:
        """Leave as much time to others as sending has taken: on a busy machine it takes longer than it works."""
        now = asyncio.get_running_loop().time()
        self._next_flush = max(self._next_flush, now + (now - began))

    async def reach(self, position: int) -> None:
        """Wait until that position is announced."""
        while self.head < position:
            await self._announced.wait()

    async def read(self, after: int, limit: int = PAGE_EVENTS, size: int = PAGE_BYTES) -> Slice:
        """Return what follows a position, up to `limit` events and `size` bytes, yet one event at least.

        Where nothing is announced after it, or all of it has been pruned, the slice is empty.
        """
        if after < self._floor:
            async with self._reading:  # after a restart many come back to one position: the first one reads for all
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
        page = [Entry(event.position, event, encode(event)) for event in await self._kernel.events(after, limit)]
        # Beyond that the ring goes on, with the bounds that all readers share.
        entries = [entry for entry in page if entry.position <= upto]
        return _cut(after, upto, entries, len(page) == limit and len(entries) == len(page), size)


def _cut(after: int, upto: int, entries: list[Entry], has_more: bool, size: int) -> Slice:
    """Make a slice of no more than `size` bytes; with `has_more` it ends with its last entry."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry.body)
        if total > size and count > 0:
            entries, has_more = entries[:count], True
            break
    return Slice(after, entries[-1].position if has_more else upto, entries)
