"""What this process has seen of the row of the leader, on its own clock: for how long it is unchanged, and who is free.

Every reader of the row notes it here: a campaign, a follower that waits to lead, each question about the head of the
log, which is read together with the row, and the watch over the log, which learns of each change of the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gnomon.errors import StoreUnavailableError
from gnomon.ticks import seconds_to_tick
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.lease_clock import lease_clock
from gnomon_mongo.lease_holder import is_dead, mark_of, silence_here
from gnomon_mongo.server import Server

LOOK_S = 0.2
"""The longest time between two looks of a process that waits to lead: how late it may notice a released row."""
FED_LOOK_S = 0.5
"""The same while changes are noted as they come. Only the death of a process of this machine is noticed by a look."""


class LeaseWatch:
    """Notes what is seen of the row; `seconds` is the lease of this process, on the clock `now`."""

    def __init__(self, seconds: float, now: Callable[[], float] = lease_clock) -> None:
        self._seconds = seconds
        self._now = now
        self._row: Document | None = None
        self._since = float("-inf")
        self._looked_at = float("-inf")
        self._is_stale = False
        self._feeds = 0
        self._noted = asyncio.Event()

    async def look(self, server: Server) -> Document | None:
        """Read the row of the leader, None where nobody leads."""
        async with server.reading() as database:
            row = await database[schema.KERNEL].find_one({"_id": schema.WRITER})
        self.note(row)
        return row

    def note(self, row: Document | None) -> None:
        """Note a row that was just read.

        A row counts as unchanged from the moment at which it was first read. Its holder began to count earlier, before
        it sent the renewal.
        """
        self._looked_at = self._now()
        if row is None or self._row is None or mark_of(row) != mark_of(self._row):
            self._since = self._looked_at
        self._row, self._is_stale = row, False
        self._noted.set()

    def note_renewal(self, fields: Document) -> None:
        """Note what a renewal has changed in the row."""
        if self._row is None:
            self.forget()
        else:
            self.note(self._row | fields)

    def forget(self) -> None:
        """Read the row again before it decides anything: it was released, or is that of another term."""
        self._is_stale = True
        self._noted.set()

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Note each change of the row in the block, so that nobody has to look for one."""
        self._feeds += 1
        try:
            yield
        finally:
            self._feeds -= 1

    def lasts(self, row: Document) -> float:
        """Return for how many seconds this row has to be unchanged before it may be replaced."""
        return max(self._seconds, float(row.get("seconds", 0.0)))

    def unchanged_for(self, row: Document) -> float:
        """Return for how many seconds the newest row that was seen is unchanged; 0 for another one."""
        if self._row is None or mark_of(row) != mark_of(self._row):
            return 0.0
        return self._now() - self._since

    def is_free(self) -> bool:
        """Return whether a campaign could succeed, by the row that was read last."""
        row = self._row
        if row is None or is_dead(row):
            return True
        if row.get("cut_off") == "run":
            return False
        silence = silence_here(row)
        return (silence if silence is not None else self.unchanged_for(row)) >= self.lasts(row)

    async def wait_until_free(self, server: Server) -> None:
        """Return when a campaign could succeed. Read the row only where nobody else has for LOOK_S, and before that."""
        while True:
            noted = self._noted = asyncio.Event()
            if self._is_stale or (self._age() >= LOOK_S and (not self._feeds or self.is_free())):
                with suppress(StoreUnavailableError):
                    await self.look(server)
                noted.clear()
            if not self._is_stale and self._age() < LOOK_S and self.is_free():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_tick(FED_LOOK_S if self._feeds else LOOK_S)):
                    await noted.wait()

    def _age(self) -> float:
        return self._now() - self._looked_at
