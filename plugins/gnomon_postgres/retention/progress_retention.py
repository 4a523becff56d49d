"""Deletes the progress events of runs that ended long ago; the runs stay, with everything else."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gnomon.domain import codec
from gnomon.domain.events import Progress
from gnomon_postgres.log import event_chains, event_reads
from gnomon_postgres.retention.event_removal import read_rows, thin_out
from gnomon_postgres.retention.retention import locked_log
from gnomon_postgres.schema.partitions import Partitions
from gnomon_postgres.server import Connection, Server
from gnomon_shared_log.writing.pace import Pace

LEAST_EVENTS: Final = 4
"""Of a run with progress: it was scheduled, has started, and has ended."""

_DUE = """SELECT first, without_progress_before FROM {schema}.partitions
    WHERE oldest < %(before)s AND (without_progress_before IS NULL OR without_progress_before < %(before)s)
    ORDER BY first"""
_ENDED = """SELECT id, last FROM {{schema}}.ended_{first} WHERE id > %s AND ended_at < %s AND version >= %s
    AND (%s::timestamptz IS NULL OR ended_at >= %s) ORDER BY id LIMIT %s"""
_DONE = "UPDATE {schema}.partitions SET without_progress_before = %s WHERE first = %s"
_IS_THERE = "SELECT 1 FROM {schema}.partitions WHERE first = %s AND newest IS NOT NULL"


async def prune_progress(server: Server, partitions: Partitions, before: datetime, pace: Pace) -> int:
    """Delete the progress events of executions that ended before that moment; return how many events."""
    async with server.reading() as connection:
        due = await connection.fetch(_DUE, {"before": before})
    pruned = 0
    for first, done_before in due:
        after: str | None = ""
        while after is not None:
            async with pace.step(), locked_log(server, partitions) as connection:
                rows = []
                if await connection.fetch_one(_IS_THERE, (first,)) is not None:
                    bounds = (after, before, LEAST_EVENTS, done_before, done_before, pace.size)
                    rows = await connection.fetch(_ENDED.format(first=first), bounds)
                pruned += await _thin_out(connection, [last for _, last in rows])
                after = rows[-1][0] if rows else None
                if after is None:
                    await connection.execute(_DONE, (before, first))
    return pruned


async def _thin_out(connection: Connection, lasts: list[int]) -> int:
    """Delete the progress events of streams that end at these positions; return how many."""
    chains = (await event_chains.chains(connection, lasts)).values()
    rows = await read_rows(connection, {first for chain in chains for _, first in chain})
    is_kept: dict[int, bool] = {}
    for row in rows:
        events = codec.decode_all(event_reads.checked(row))
        is_kept |= {row[0] + index: not isinstance(event, Progress) for index, event in enumerate(events)}
    affected = [chain for chain in chains if not all(is_kept[position] for position, _ in chain)]
    await thin_out(connection, rows, affected, is_kept)
    return sum(not is_kept[position] for chain in affected for position, _ in chain)
