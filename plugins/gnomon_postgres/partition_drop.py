"""Drops a partition whose runs have all ended long ago, in the time of a few statements, whatever its size.

What must survive is found by small indexes, not by reading the partition: facts about jobs and kernels by `lasting`,
and runs that began in it and ended later, or are not over, by their `began`. The rows of the log that have such events
are copied without the others, and the copy takes the place of the partition. If the one before or after it has been
replaced like that, too, the copy takes their places, so that bare ones do not become many. In the other direction,
events of its runs in other partitions are deleted there.

    forget events elsewhere ──► copy what survives ──► lock both tables ──► detach, attach the copy ──► drop ──► commit

The locks wait for all statements that read the tables, and other statements wait for the locks. So they are given up
after LOCK_LIMIT_MS, and the whole transaction is tried again later: appends and readers are not held up for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import psycopg

from gnomon.domain import codec
from gnomon.domain.events import Event, ExecutionEvent, UnknownEvent
from gnomon.errors import StoreUnavailableError
from gnomon.stores import commit_rows
from gnomon_postgres import event_reads, projection
from gnomon_postgres.event_removal import forget
from gnomon_postgres.partitions import REACH, Partitions
from gnomon_postgres.server import WORK_LIMIT_S, Connection, Row, Server
from gnomon_postgres.view_rows import Columns, copy
from gnomon_postgres.view_tables import ALL_PARTS

LOCK_LIMIT_MS: Final = 100
LOCK_PAUSE_S, LOCK_ATTEMPTS = 1.0, 600
"""A statement that reads the tables may take ten minutes."""
LINES_A_STEP: Final = 20_000
"""Log lines that are deleted in one transaction."""
_COMMITS: Final[Columns] = (
    *((name, "int8") for name in ("first", "last", "earliest", "latest", "setback")),
    ("previous", "bytea"),
    ("events", "bytea"),
    ("checksum", "int8"),
    ("identity", "int8"),
)
_DELETE_LINES = """DELETE FROM {{schema}}.log_lines WHERE ctid = ANY(ARRAY(
    SELECT line.ctid FROM {{schema}}.log_lines AS line JOIN {{schema}}.ended_{first} AS run ON run.id = execution_id
    LIMIT %s))"""
_DROPPABLE = """SELECT next FROM {schema}.partitions
    WHERE first = %s AND latest_end < %s AND next <= (SELECT max(first) FROM {schema}.commits)"""
_BARE_BESIDE = "SELECT first, next FROM {schema}.partitions WHERE is_bare AND (next = %s OR first = %s)"
_REACHING_OUT = """SELECT last FROM {{schema}}.ended_{first} WHERE is_split
    UNION SELECT last FROM {{schema}}.ended_{first} WHERE last <> final"""
_REACHING_IN = """SELECT last FROM {schema}.live WHERE began < %(reach)s
    UNION ALL SELECT last FROM {schema}.ended WHERE is_split AND began < %(reach)s AND final >= %(next)s"""
_SURVIVING = f"""SELECT {event_reads.COLUMNS}, identity FROM {{{{schema}}}}.commits_{{first}} WHERE first IN (
    SELECT first FROM {{{{schema}}}}.lasting UNION ALL SELECT unnest(%s::bigint[])) ORDER BY first"""  # noqa: S608
_ENDED_HERE = "SELECT id FROM {{schema}}.ended_{first} WHERE id = ANY(%s::text[])"
_COPY = (
    "CREATE TABLE {schema}.commits_copy (LIKE {schema}.commits INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS)"
)
_COPY_BARE = "INSERT INTO {{schema}}.commits_copy SELECT * FROM {{schema}}.commits_{bare}"
_DETACH = "ALTER TABLE {{schema}}.{parent} DETACH PARTITION {{schema}}.{parent}_{first}"
_ATTACH = """ALTER TABLE {{schema}}.commits_copy RENAME TO commits_{first};
    ALTER TABLE {{schema}}.commits ATTACH PARTITION {{schema}}.commits_{first} FOR VALUES FROM ({first}) TO ({next})"""
_NO_ACTS = """DELETE FROM {{schema}}.acts WHERE NOT position = ANY(%s::bigint[])
    AND position >= (SELECT min(first) FROM {{schema}}.commits_{first})
    AND position <= (SELECT max(last) FROM {{schema}}.commits_{first})"""
_NOT_LASTING = "DELETE FROM {schema}.lasting WHERE first >= %s AND first < %s AND NOT first = ANY(%s::bigint[])"
_TOTAL = "SELECT coalesce(sum(n), 0)::bigint FROM {schema}.counts WHERE part = %s AND job_id = ''"
_SUBTRACT = """UPDATE {schema}.counts AS known SET n = known.n - gone.n FROM {schema}.counts AS gone
    WHERE gone.part = %s AND known.part = %s
    AND (known.job_id, known.status, known.is_manual, known.hidden)
        = (gone.job_id, gone.status, gone.is_manual, gone.hidden)"""
_NOT_COUNTED = "DELETE FROM {schema}.counts WHERE part = %s"
_FORGET_PARTITIONS = "DELETE FROM {schema}.partitions WHERE first >= %s AND first < %s"
_NOTE_BARE = "INSERT INTO {schema}.partitions (first, next, is_bare) VALUES (%s, %s, true)"


async def drop(server: Server, partitions: Partitions, first: int, before: datetime) -> int | None:
    """Drop a partition, and return how many runs it had; None where it cannot be, as long as events are added to it.

    StoreUnavailableError where its tables are read all the time.
    """
    await _delete_lines(server, first)
    for _ in range(LOCK_ATTEMPTS):
        async with server.writing(WORK_LIMIT_S) as connection:
            try:
                async with connection.transaction():
                    await projection.catch_up(connection, partitions)
                    return await _drop(connection, first, before)
            except psycopg.errors.LockNotAvailable:
                pass
        await asyncio.sleep(LOCK_PAUSE_S)
    raise StoreUnavailableError(
        f"{server.address}: old runs cannot be deleted, because a transaction has been reading them for too long; "
        "pg_stat_activity shows it"
    )


async def _delete_lines(server: Server, first: int) -> None:
    """Delete the log lines of the runs in a partition: first, so that the next call completes an interrupted one."""
    while True:
        async with server.writing(WORK_LIMIT_S) as connection:
            if await connection.execute(_DELETE_LINES.format(first=first), (LINES_A_STEP,)) < LINES_A_STEP:
                return


async def _drop(connection: Connection, first: int, before: datetime) -> int | None:
    found = await connection.fetch_one(_DROPPABLE, (first, before))
    if found is None:
        return None
    following: int = found[0]
    await _forget_outside(connection, first, following)
    rows = await _surviving(connection, first, following)
    bare = await connection.fetch(_BARE_BESIDE, (first, following))
    await _forget_acts(connection, first, following, rows)
    await connection.execute(_COPY)
    await copy(connection, "commits_copy", _COMMITS, rows)
    for one, _ in bare:
        await connection.execute(_COPY_BARE.format(bare=one))
    await _replace(connection, first, following, bare)
    ((total,),) = await connection.fetch(_TOTAL, (first,))
    await connection.execute(_SUBTRACT, (first, ALL_PARTS))
    await connection.execute(_NOT_COUNTED, (first,))
    return int(total)


async def _forget_outside(connection: Connection, first: int, following: int) -> None:
    """Delete the events that runs of the partition have in others: before it, or after their end."""
    lasts = [last for (last,) in await connection.fetch(_REACHING_OUT.format(first=first))]
    chains = await event_reads.chains(connection, lasts)
    await forget(connection, (one for chain in chains.values() for one in chain if not first <= one[1] < following))


async def _surviving(connection: Connection, first: int, following: int) -> list[Row]:
    """Return the rows with the events that survive, and no others."""
    bounds = {"reach": following + REACH, "next": following}
    lasts = [last for (last,) in await connection.fetch(_REACHING_IN, bounds)]
    chains = await event_reads.chains(connection, lasts)
    kept = {position for chain in chains.values() for position, row in chain if first <= row < following}
    firsts = {row for chain in chains.values() for _, row in chain if first <= row < following}
    surviving: list[Row] = []
    for row in await connection.fetch(_SURVIVING.format(first=first), (list(firsts),)):
        *place, links, _, _, identity = row
        events = codec.decode_all(event_reads.checked(row))
        lasting = await _lasting(connection, first, [event for event in events if event is not None])
        gone = [i for i in range(len(events)) if place[0] + i not in kept and place[0] + i not in lasting]
        body, is_left = commit_rows.without(row[commit_rows.BODY], gone)
        if is_left:
            checksum = commit_rows.checksum_of(row[:5], links, body)
            surviving.append((*place, links, body, checksum, identity))
    return surviving


async def _lasting(connection: Connection, first: int, events: Collection[Event]) -> set[int]:
    """Return the positions of events that do not belong to runs; one of a later version may belong to anything."""
    others = [event for event in events if not isinstance(event, ExecutionEvent)]
    unknown = [event.stream for event in others if isinstance(event, UnknownEvent)]
    runs: set[Any] = set()
    if unknown:
        runs = {run for (run,) in await connection.fetch(_ENDED_HERE.format(first=first), (unknown,))}
    return {event.position for event in others if event.stream not in runs}


async def _forget_acts(connection: Connection, first: int, following: int, rows: Collection[Row]) -> None:
    """Delete the acts that the other events recorded, and the marks of rows that do not survive."""
    kept = [
        row[0] + index
        for row in rows
        for index, event in enumerate(codec.decode_all(row[commit_rows.BODY]))
        if event is not None
    ]
    await connection.execute(_NO_ACTS.format(first=first), (kept,))
    await connection.execute(_NOT_LASTING, (first, following, [row[0] for row in rows]))


async def _replace(connection: Connection, first: int, following: int, bare: Collection[Row]) -> None:
    """Put the copy in the place of the partition, and of the bare ones beside it."""
    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_LIMIT_MS}")
    detached = [("commits", first), ("ended", first), *(("commits", one) for one, _ in bare)]
    for parent, one in detached:
        await connection.execute(_DETACH.format(parent=parent, first=one))
    await connection.execute(f"DROP TABLE {', '.join(f'{{schema}}.{parent}_{one}' for parent, one in detached)}")
    begin, end = min([first, *(one for one, _ in bare)]), max([following, *(one for _, one in bare)])
    await connection.execute(_ATTACH.format(first=begin, next=end))
    await connection.execute(_FORGET_PARTITIONS, (begin, end))
    await connection.execute(_NOTE_BARE, (begin, end))
