"""Partitions of the log and of finished runs: blocks of positions whose bounds are decided before events reach them.

A partition ends at a position, not at a moment, so that an append never waits for the next one to be made: that is
attached ahead, when half of the present one is used, and as large as the rate of events asks for to cover about a
period, which becomes longer with the log. Attaching takes a lock that neither readers nor writers notice. The `first`
of a row of `commits` decides about its partition, so the events of its last row may reach up to REACH positions over
the bound.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec
import psycopg

from gnomon.stores.microseconds import from_micros
from gnomon_postgres.server import Connection, Server
from gnomon_shared_log.errors import Refusal

REACH: Final = 256
"""Events in a row of `commits`, at most."""
SMALLEST, LARGEST = 2**17, 2**24
"""Positions of a partition. A list may read all of them, and some ten thousand runs are quickly deleted one by one."""
USUAL: Final = 64
"""Partitions of a log, before they cover more time: a list that reads all of them plans and locks each one."""
GROWTH: Final = 4
"""The largest ratio between two neighbours."""
PARENTS: Final = ("commits", "ended")
LOCK_LIMIT_MS: Final = 100
MAKE_LIMIT_S: Final = 10.0
"""For making the next partition. Views are filed after that, and appends wait for them."""

_LOCK = "LOCK TABLE {schema}.partitions IN SHARE UPDATE EXCLUSIVE MODE"
_KNOWN = "SELECT first, next, begun_at FROM {schema}.partitions WHERE NOT is_bare ORDER BY first"
_SPANS = "SELECT first, oldest, newest, latest_end FROM {schema}.partitions WHERE newest IS NOT NULL ORDER BY first"
_NEWEST = "SELECT last, latest FROM {schema}.commits WHERE first > %s ORDER BY first DESC LIMIT 1"
_REGISTER = "INSERT INTO {schema}.partitions (first, next) VALUES (%s, %s)"
_ATTACH = """
    CREATE TABLE {{schema}}.{table}_{first}
        (LIKE {{schema}}.{table} INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS);
    ALTER TABLE {{schema}}.{table} ATTACH PARTITION {{schema}}.{table}_{first} FOR VALUES FROM ({first}) TO ({next})"""


class Partition(msgspec.Struct, frozen=True):
    """The positions from `first` to below `next`, and the time of its first events; None as long as it has none."""

    first: int
    next: int
    begun_at: datetime | None = None


class Span(msgspec.Struct, frozen=True):
    """The times of the finished runs in a partition: their timestamps, and when the last one ended."""

    first: int
    oldest: datetime
    newest: datetime
    latest_end: datetime


async def read_partitions(connection: Connection) -> list[Partition]:
    """Return the partitions that may have runs, by position; the last one is among them."""
    return [Partition(*row) for row in await connection.fetch(_KNOWN)]


async def read_spans(connection: Connection) -> list[Span]:
    """Return the partitions that have finished runs, by position."""
    return [Span(*row) for row in await connection.fetch(_SPANS)]


class Partitions:
    """Knows the bounds, and makes partitions ahead of the events; `period` is the time that one covers at first."""

    def __init__(self, period: timedelta) -> None:
        self._period = period
        self._known: list[Partition] = []

    async def part_of(self, connection: Connection, position: int) -> Partition:
        """Return the partition for a run that ended at a position which the log has; the next one, if it is bare."""
        known = self._known
        if not known or position >= known[-1].next:
            await ensure(connection, position)  # an append may reach far over the bounds
            known = await _expect_partitions(connection)  # for this transaction, which may be rolled back
        return known[bisect_right(known, position, key=lambda part: part.next)]

    async def keep_ahead(self, server: Server, head: int | None = None) -> None:
        """Make the next partition, if the last one is half used; nothing is read if `head` shows that it is not.

        Where another session has locked the tables, as ANALYZE does, the next call tries again.
        """
        if head is not None and self._known and not _is_due(self._known[-1], head):
            return
        async with server.writing(MAKE_LIMIT_S) as connection:
            with suppress(psycopg.errors.LockNotAvailable):
                async with connection.transaction():
                    known = await self._known_ahead(connection)
                self._known = known

    async def _known_ahead(self, connection: Connection) -> list[Partition]:
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_LIMIT_MS}")
        await connection.execute(_LOCK)
        known = await _expect_partitions(connection)
        last = known[-1]
        newest = await connection.fetch_one(_NEWEST, (last.first - REACH,))
        if newest is not None and _is_due(last, newest[0]):
            since = next((part.begun_at for part in known if part.begun_at is not None), None)
            size = self._size_after(last, since, newest[0], from_micros(newest[1]))
            await make(connection, last.next, last.next + size)
            known = await read_partitions(connection)
        return known

    def _size_after(self, part: Partition, since: datetime | None, head: int, at: datetime) -> int:
        """Return how many positions cover the period, at the rate of the events in a partition so far.

        In a log that has gone on `since` long ago, that is a part of its whole time.
        """
        period = max(self._period, (at - since) / USUAL) if since is not None else self._period
        size = part.next - part.first
        spent = at - part.begun_at if part.begun_at is not None else timedelta(0)
        wanted = size * GROWTH
        if spent > timedelta(0):
            wanted = int((head - part.first) * (period / spent))
        return min(max(wanted, size // GROWTH, SMALLEST), size * GROWTH, LARGEST)


async def _expect_partitions(connection: Connection) -> list[Partition]:
    """Return the partitions; Refusal where there are none, as after a TRUNCATE by another program."""
    if not (known := await read_partitions(connection)):
        raise Refusal("the table `partitions` is empty, which has their bounds: start again, which makes it again")
    return known


def _is_due(last: Partition, head: int) -> bool:
    return head > (last.first + last.next) // 2


async def ensure(connection: Connection, position: int) -> None:
    """Make partitions up to a position, in the caller's transaction, where there are none yet.

    Positions that are left out, as in a log whose beginning was deleted before it was moved here, share a partition.
    """
    await connection.execute(_LOCK)
    known = await read_partitions(connection)
    first, size = (known[-1].next, known[-1].next - known[-1].first) if known else (1, SMALLEST)
    if position >= first + size:
        await make(connection, first, position)
        first, size = position, SMALLEST
    if position >= first:
        await make(connection, first, first + size)


def attachment(table: str, first: int, following: int) -> str:
    """Return what makes one table of a partition, and attaches it."""
    return _ATTACH.format(table=table, first=first, next=following)


async def make(connection: Connection, first: int, following: int) -> None:
    """Make the partition from one position to below another, in the caller's transaction."""
    for table in PARENTS:
        await connection.execute(attachment(table, first, following))
    await connection.execute(_REGISTER, (first, following))
