"""What this process has seen of the row of the leader, on its own clock: for how long it is unchanged, and who is free.

Every reader of the row notes it here: a campaign, a follower that waits to lead, and each question about the head of
the log, which is read together with the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gnomon.errors import StoreUnavailableError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.lease_clock import lease_clock
from gnomon_mongo.lease_holder import is_dead, mark_of, silence_here
from gnomon_mongo.server import Server

LOOK_S = 0.2
"""The longest time between two looks of a process that waits to lead: how late it may notice a released row."""


class LeaseWatch:
    """Notes what is seen of the row; `seconds` is the lease of this process, on the clock `now`."""

    def __init__(self, seconds: float, now: Callable[[], float] = lease_clock) -> None:
        self._seconds = seconds
        self._now = now
        self._row: Document | None = None
        self._since = float("-inf")
        self._looked_at = float("-inf")
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
        self._row = row
        self._noted.set()

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
        """Return when a campaign could succeed. Read the row only where nobody else has for LOOK_S."""
        while True:
            noted = self._noted = asyncio.Event()
            if self._age() >= LOOK_S:
                with suppress(StoreUnavailableError):
                    await self.look(server)
                noted.clear()
            age = self._age()
            if age < LOOK_S and self.is_free():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S - age if age < LOOK_S else LOOK_S):
                    await noted.wait()

    def _age(self) -> float:
        return self._now() - self._looked_at
