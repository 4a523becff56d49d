"""Ends the term of a kernel from outside: `gnomon takeover`."""

from __future__ import annotations

import asyncio

from gnomon.domain.records import LogHolder
from gnomon.errors import StoreError, StoreInUseError
from gnomon_mongo import fence, schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.fence import Term
from gnomon_mongo.lease_clock import lease_clock
from gnomon_mongo.lease_holder import is_dead, mark_of, name_of
from gnomon_mongo.lease_watch import LOOK_S
from gnomon_mongo.server import Server

OPERATOR = "operator"
"""The owner of the epoch in which nobody leads."""


async def find_holder(server: Server) -> LogHolder | None:
    """Return the holder of the lease, after watching it for as long as the lease lasts, or until it renews it."""
    row = await _row(server)
    if row is None:
        return None
    began, lasts = lease_clock(), float(row.get("seconds", 15.0))
    is_active = False
    while not is_active and not is_dead(row) and lease_clock() < began + lasts:
        await asyncio.sleep(min(LOOK_S, lasts / 10))
        seen = await _row(server)
        if seen is None:
            return None
        is_active = mark_of(seen) != mark_of(row)
    return LogHolder(
        log=f"MongoDB log {server.address}",
        name=name_of(row),
        is_active=is_active,
        silent_s=lease_clock() - began,
        consequences=_consequences(row),
        mark=mark_of(row),
    )


async def end_term(server: Server, holder: LogHolder) -> None:
    """Close the log to the term of this holder, then free its row."""
    row = await _row(server)
    if row is None:
        return
    if mark_of(row) != holder.mark:
        raise StoreInUseError(f"{holder.log} was not taken over: {name_of(row)} has renewed its lease; stop it there")
    # The fence first: from here on the holder appends nothing, whether or not it still has its row.
    epoch = max(int(row.get("epoch", 0)), await fence.read_epoch(server)) + 1
    await fence.set_term(server, Term(OPERATOR, epoch))
    async with server.writing() as database:
        where = {"_id": schema.WRITER, "token": row.get("token"), "epoch": row.get("epoch")}
        await database[schema.KERNEL].delete_one(where)
    if await _row(server) is not None:
        raise StoreError(f"{holder.log} has another holder by now: look again with `gnomon takeover`")


def _consequences(row: Document) -> list[str]:
    told = ["Its term ends: it appends nothing more, and stops as soon as it reaches the server again."]
    if row.get("cut_off") == "run":
        return [
            "It may run jobs while it is cut off from the server: then the next kernel runs the same fires again.",
            *told,
            "Events in its spool are not merged, except for ends of runs that the log knows: they stay beside it.",
        ]
    return [*told, "Without a takeover, the next kernel that starts leads as soon as the lease has run out."]


async def _row(server: Server) -> Document | None:
    async with server.reading() as database:
        return await database[schema.KERNEL].find_one({"_id": schema.WRITER})
