"""Deletes old runs, streams of kernels and removed jobs: whole partitions at once, and the rest in small steps.

A partition whose runs have all ended before is dropped (partition_drop.py). In the others, runs are deleted one by one.
Each transaction locks the log, so that no views are filed meanwhile, and files what is not filed yet: an event of a run
that is about to be deleted would bring it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from gnomon.domain.events import job_stream
from gnomon.stores import kernel_streams
from gnomon.stores.kernel_streams import Deletable
from gnomon.stores.removed_jobs import is_over
from gnomon.stores.run_counts import Cell
from gnomon_postgres.lists import queries
from gnomon_postgres.log import event_chains, event_reads
from gnomon_postgres.retention import partition_drop
from gnomon_postgres.retention.event_removal import forget
from gnomon_postgres.schema.partitions import Partitions, Span, read_spans
from gnomon_postgres.server import WORK_LIMIT_S, Connection, Row, Server
from gnomon_postgres.views import projection, projection_writer
from gnomon_shared_log.writing.pace import Pace

_ENDED = """SELECT id, last, job_id, status, is_manual, hidden FROM {{schema}}.ended_{first}
    WHERE id > %s AND ended_at < %s ORDER BY id LIMIT %s"""
_DELETE_ENDED = "DELETE FROM {{schema}}.ended_{first} WHERE id = ANY(%s::text[])"
_DELETE_LINES = "DELETE FROM {schema}.log_lines WHERE execution_id = ANY(%s::text[])"
_KERNELS = "FROM {schema}.streams WHERE name > %s AND name < %s"
_NEWEST_KERNEL = f"SELECT name {_KERNELS} ORDER BY last DESC LIMIT 1"
_NEXT_KERNELS = f"SELECT name, last {_KERNELS} ORDER BY name LIMIT %s"
_FORGET_STREAMS = "DELETE FROM {schema}.streams WHERE name = ANY(%s::text[]) RETURNING last"
_REMOVED = """SELECT removed_at, id FROM {schema}.job_states
    WHERE (removed_at, id) > (%s, %s) AND removed_at < %s ORDER BY removed_at, id LIMIT %s"""
_WITHOUT_RUNS = """SELECT id FROM unnest(%s::text[]) AS job (id) WHERE
    NOT EXISTS (SELECT 1 FROM {schema}.counts WHERE job_id = job.id AND n > 0)
    AND NOT EXISTS (SELECT 1 FROM {schema}.live WHERE job_id = job.id)"""
_OF_JOBS = (("job_states", "id"), ("fires", "job_id"), ("counts", "job_id"))


Forgotten: TypeAlias = Callable[[Collection[str] | None], None]
"""Is called with the streams that are gone, None for many of them: the writer may remember where they ended."""


@asynccontextmanager
async def locked_log(server: Server, partitions: Partitions) -> AsyncIterator[Connection]:
    """Begin a transaction in which all views are filed, and no others are until it is committed."""
    async with server.writing(WORK_LIMIT_S) as connection, connection.transaction():
        await projection.catch_up(connection, partitions)
        yield connection


async def prune(
    server: Server,
    partitions: Partitions,
    before: datetime,
    pace: Pace,
    forgotten: Forgotten,
    free: partition_drop.Free,
    spare: timedelta = timedelta(0),
) -> int:
    """Delete runs that ended before that moment, with their events, log lines and acts; return how many.

    Partitions whose last run ended less than `spare` after that moment are left to a later call, which drops them.
    """
    async with server.reading() as connection:
        spans = [span for span in await read_spans(connection) if span.oldest < before]
    pruned = following = 0
    for span in spans:
        if span.first < following:
            continue  # it was detached with the one before
        detached = None
        if span.latest_end < before:
            detached = await partition_drop.detach(server, partitions, span.first, before)
        elif span.latest_end < before + spare:
            continue
        if detached is None:
            pruned += await _prune_rows(server, partitions, span, before, pace, forgotten)
        else:
            free(detached.tables)
            pruned += detached.runs
            following = detached.next
            forgotten(None)
    return pruned


async def _prune_rows(
    server: Server, partitions: Partitions, span: Span, before: datetime, pace: Pace, forgotten: Forgotten
) -> int:
    """Delete runs of one partition, in the order of their ids."""
    pruned, after = 0, ""
    while True:
        async with pace.step(), locked_log(server, partitions) as connection:
            rows = await connection.fetch(_ENDED.format(first=span.first), (after, before, pace.size))
            if not rows:
                return pruned
            ids = [row[0] for row in rows]
            chains = await event_chains.chains(connection, [row[1] for row in rows])
            await forget(connection, (place for chain in chains.values() for place in chain))
            await connection.execute(_DELETE_LINES, (ids,))
            await connection.execute(_DELETE_ENDED.format(first=span.first), (ids,))
            await projection_writer.count(connection, span.first, [], _cells(rows))
        forgotten(ids)
        after = ids[-1]
        pruned += len(ids)


def _cells(rows: Iterable[Row]) -> list[Cell]:
    return [(job_id, status, is_manual, hidden) for _, _, job_id, status, is_manual, hidden in rows]


async def prune_kernels(
    server: Server, partitions: Partitions, deletable: Deletable, pace: Pace, forgotten: Forgotten
) -> None:
    """Delete the streams of kernels that are over, with the acts that they record."""
    after, end = kernel_streams.FIRST, kernel_streams.AFTER_LAST
    while True:
        async with pace.step(), locked_log(server, partitions) as connection:
            newest = await connection.fetch_one(_NEWEST_KERNEL, (kernel_streams.FIRST, end))
            found = await connection.fetch(_NEXT_KERNELS, (after, end, pace.size))
            if newest is None or not found:
                return
            over: list[str] = []
            for name, last in found:
                event = await event_reads.event_at(connection, last)
                if event is not None and deletable.has(name, event.at, newest[0]):
                    over.append(name)
            await _forget_streams(connection, over)
        forgotten(over)
        after = found[-1][0]


async def prune_jobs(
    server: Server, partitions: Partitions, before: datetime, pace: Pace, forgotten: Forgotten
) -> None:
    """Delete the removed jobs that are over and have no runs, with the acts in their streams."""
    after: tuple[datetime, str] = (datetime.min.replace(tzinfo=UTC), "")
    while True:
        async with pace.step(), locked_log(server, partitions) as connection:
            found = await connection.fetch(_REMOVED, (*after, before, pace.size))
            if not found:
                return
            states = await queries.job_states(connection, [job_id for _, job_id in found])
            ids = [state.job_id for state in states if is_over(state, before)]
            over = [job_id for (job_id,) in await connection.fetch(_WITHOUT_RUNS, (ids,))]
            streams = [job_stream(job_id) for job_id in over]
            await _forget_streams(connection, streams)
            for table, key in _OF_JOBS:
                await connection.execute(f"DELETE FROM {{schema}}.{table} WHERE {key} = ANY(%s::text[])", (over,))  # noqa: S608
        forgotten(streams)
        after = found[-1]


async def _forget_streams(connection: Connection, names: list[str]) -> None:
    lasts = [last for (last,) in await connection.fetch(_FORGET_STREAMS, (names,))]
    chains = await event_chains.chains(connection, lasts)
    await forget(connection, (place for chain in chains.values() for place in chain))
