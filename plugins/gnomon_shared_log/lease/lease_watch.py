"""What this process has seen of the row of the leader, on its own clock: for how long it is unchanged, and who is free.

Every reader of the row notes it here: a campaign, a follower that waits to lead, each question about the head of the
log, which is read together with the row, and the watch over the log, which learns of each change of the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from gnomon.errors import StoreError
from gnomon.ticks import seconds_to_tick
from gnomon_shared_log.lease.lease_clock import lease_clock
from gnomon_shared_log.lease.lease_holder import is_dead, silence_here
from gnomon_shared_log.ports.lease_row import LeaseRow, LeaseTable

LOOK_S = 0.2
"""The longest time between two looks of a process that waits to lead: how late it may notice a released row."""
FED_LOOK_S = 0.5
"""The same while changes are noted as they come. Only the death of a process of this machine is noticed by a look."""
RELEASE_LOOK_S, RELEASE_LIMIT_S = 0.02, 15.0
"""The same after the leader has recorded its stop, and for how long: its plugins may take some seconds to leave."""


class LeaseWatch:
    """Notes what is seen of the row; `seconds` is the lease of this process, on the clock `now`."""

    def __init__(self, seconds: float, now: Callable[[], float] = lease_clock) -> None:
        self._seconds = seconds
        self._now = now
        self._row: LeaseRow | None = None
        self._since = float("-inf")
        self._looked_at = float("-inf")
        self._is_stale = False
        self._feeds = 0
        self._release_expected_until = float("-inf")
        self._noted = asyncio.Event()

    async def look(self, table: LeaseTable) -> LeaseRow | None:
        """Read the row of the leader, None where nobody leads."""
        row = await table.read()
        self.note(row)
        return row

    def note(self, row: LeaseRow | None) -> None:
        """Note a row that was just read.

        A row counts as unchanged from the moment at which it was first read. Its holder began to count earlier, before
        it sent the renewal.
        """
        self._looked_at = self._now()
        if row is None or self._row is None or row.mark != self._row.mark:
            self._since = self._looked_at
        if row is None or (self._row is not None and row.owner != self._row.owner):
            self._release_expected_until = float("-inf")
        self._row, self._is_stale = row, False
        self._noted.set()

    def note_renewal(self, fields: Mapping[str, Any]) -> None:
        """Note what a renewal has changed in the row."""
        if self._row is None:
            self.forget()
        else:
            self.note(msgspec.structs.replace(self._row, **fields))

    def forget(self) -> None:
        """Read the row again before it decides anything: it was released, or is that of another term."""
        self._is_stale = True
        self._noted.set()

    def expect_release(self) -> None:
        """Shorten the time between two looks for a while: the leader has recorded its stop."""
        self._release_expected_until = self._now() + RELEASE_LIMIT_S
        self._noted.set()

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Note each change of the row in the block, so that nobody has to look for one."""
        self._feeds += 1
        try:
            yield
        finally:
            self._feeds -= 1

    def lasts(self, row: LeaseRow) -> float:
        """Return for how many seconds this row has to be unchanged before it may be replaced."""
        return max(self._seconds, row.seconds)

    def unchanged_for(self, row: LeaseRow) -> float:
        """Return for how many seconds the newest row that was seen is unchanged; 0 for another one."""
        if self._row is None or row.mark != self._row.mark:
            return 0.0
        return self._now() - self._since

    def is_free(self) -> bool:
        """Return whether a campaign could succeed, by the row that was read last."""
        row = self._row
        if row is None or is_dead(row):
            return True
        if row.cut_off == "run":
            return False
        silence = silence_here(row)
        return (silence if silence is not None else self.unchanged_for(row)) >= self.lasts(row)

    async def wait_until_free(self, table: LeaseTable) -> None:
        """Return when a campaign could succeed. Read the row only where nobody else has for LOOK_S, and before that."""
        while True:
            noted = self._noted = asyncio.Event()
            if self._is_stale or self._expects_release() or (self._age() >= LOOK_S and self._has_to_look()):
                with suppress(StoreError):  # a row that cannot be read is not free; who follows says why
                    await self.look(table)
                noted.clear()
            if not self._is_stale and self._age() < LOOK_S and self.is_free():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds_to_look()):
                    await noted.wait()

    def seconds_to_look(self) -> float:
        """Return the seconds until the next look: it is due in the moment in which an unchanged row becomes free."""
        if self._expects_release():
            return RELEASE_LOOK_S
        tick = seconds_to_tick(FED_LOOK_S if self._feeds else LOOK_S)
        row = self._row
        if row is None or row.cut_off == "run":
            return tick
        silence = silence_here(row)
        left = self.lasts(row) - (silence if silence is not None else self.unchanged_for(row))
        return min(tick, left) if left > 0 else tick

    def _has_to_look(self) -> bool:
        return not self._feeds or self.is_free()

    def _expects_release(self) -> bool:
        return self._now() < self._release_expected_until

    def _age(self) -> float:
        return self._now() - self._looked_at
