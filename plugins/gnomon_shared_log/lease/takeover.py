"""Ends the term of a kernel from outside: `gnomon takeover`."""

from __future__ import annotations

import asyncio

from gnomon.domain.records import LogHolder
from gnomon.errors import StoreError, StoreInUseError
from gnomon_shared_log.lease.lease_clock import lease_clock
from gnomon_shared_log.lease.lease_holder import is_dead, name_of
from gnomon_shared_log.lease.lease_watch import LOOK_S
from gnomon_shared_log.ports.lease_row import LeaseRow, LeaseTable

UNKNOWN_S = 15.0
"""For how long a row is watched that does not say how long it lasts."""


async def find_holder(table: LeaseTable) -> LogHolder | None:
    """Return the holder of the lease, after watching it for as long as the lease lasts, or until it renews it.

    None for one whose process has ended on this machine: the next kernel leads at once.
    """
    row = await table.read()
    if row is None or is_dead(row):
        return None
    began, lasts = lease_clock(), row.seconds or UNKNOWN_S
    is_active = False
    while not is_active and lease_clock() < began + lasts:
        await asyncio.sleep(min(LOOK_S, lasts / 10))
        seen = await table.read()
        if seen is None or is_dead(seen):
            return None
        is_active = seen.mark != row.mark
    return LogHolder(
        log=table.log_name,
        name=name_of(row),
        is_active=is_active,
        silent_s=lease_clock() - began,
        consequences=_consequences(row),
        mark=row.mark,
    )


async def end_term(table: LeaseTable, holder: LogHolder) -> None:
    """Close the log to the term of this holder, then free its row."""
    row = await table.read()
    if row is None:
        return
    if row.mark != holder.mark:
        raise StoreInUseError(f"{holder.log} was not taken over: {name_of(row)} has renewed its lease; stop it there")
    await table.end(row)
    if await table.read() is not None:
        raise StoreError(f"{holder.log} has another holder by now: look again with `gnomon takeover`")


def _consequences(row: LeaseRow) -> list[str]:
    told = ["Its term ends: it appends nothing more, and stops as soon as it reaches the server again."]
    if row.cut_off == "run":
        return [
            "It may run jobs while it is cut off from the server: then the next kernel runs the same fires again.",
            *told,
            "Events in its spool are not merged, except for ends of runs that the log knows: they stay beside it.",
        ]
    return [*told, "Without a takeover, the next kernel that starts leads as soon as the lease has run out."]
