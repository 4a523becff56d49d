"""Drops partitions whose runs have all ended long ago, in the time of a few statements, whatever their size.

What must survive is found by small indexes, not by reading the partition: facts about jobs and kernels by `lasting`,
runs that began in it and ended later, or are not over, by their `began`, and late events of runs that ended before it
and stay by their `last`. The rows of the log that have such events are copied without the others, and the copy takes
the place of the partition. If the one before or after it has been replaced like that, too, the copy takes their places,
so that bare ones do not become many. In the other direction, events of its runs in other partitions are deleted there.

    forget events elsewhere ──► copy what survives ──► lock both tables ──► detach, attach the copy ──► commit ──► free

The locks wait for all statements that read the tables, and other statements wait for the locks. So they are given up
after LOCK_LIMIT_MS, and the whole transaction is tried again later: appends and readers are not held up for longer.
The disk takes its time to free large files, so the detached tables are dropped without locks on others, while the
next ones are detached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import uuid4

import psycopg

from gnomon.domain import codec
from gnomon.domain.events import Event, ExecutionEvent, UnknownEvent
from gnomon.errors import StoreUnavailableError
from gnomon.stores import commit_rows
from gnomon_postgres.log import event_chains, event_reads
from gnomon_postgres.retention.event_removal import forget
from gnomon_postgres.schema.partitions import REACH, Partitions
from gnomon_postgres.schema.view_rows import Columns, copy
from gnomon_postgres.schema.view_tables import ALL_PARTS
from gnomon_postgres.server import WORK_LIMIT_S, Connection, Row, Server
from gnomon_postgres.views import projection
from gnomon_shared_log.errors import Refusal

LOCK_LIMIT_MS: Final = 100
LOCK_PAUSE_S, LOCK_ATTEMPTS = 1.0, 600
"""A statement that reads the tables may take ten minutes."""
MOST_AT_ONCE: Final = 4
"""Partitions that are detached in one transaction, while appends wait: about a millisecond for each."""
LINES_A_STEP: Final = 20_000
"""Log lines that are deleted in one transaction."""
_COMMITS: Final[Columns] = (
    *((name, "int8") for name in ("first", "last", "earliest", "latest", "setback")),
    ("previous", "bytea"),
    ("events", "bytea"),
    ("checksum", "int8"),
    ("identity", "int8"),
)
_RUNS_HERE = "final >= %(first)s AND final < %(next)s"
_ROWS_HERE = "first >= %(first)s AND first < %(next)s"
_DELETE_LINES = f"""DELETE FROM {{schema}}.log_lines WHERE ctid = ANY(ARRAY(
    SELECT line.ctid FROM {{schema}}.log_lines AS line JOIN {{schema}}.ended AS run ON run.id = execution_id
    WHERE {_RUNS_HERE} AND NOT EXISTS (
        SELECT 1 FROM {{schema}}.partitions WHERE {_ROWS_HERE} AND latest_end >= %(before)s)
    LIMIT %(most)s))"""  # noqa: S608 - our own names
_DROPPABLE = """SELECT first, next FROM {schema}.partitions
    WHERE first >= %s AND latest_end < %s AND next <= %s ORDER BY first LIMIT %s"""
_BARE_BESIDE = "SELECT first, next FROM {schema}.partitions WHERE is_bare AND (next = %s OR first = %s)"
_REACHING_OUT = f"""SELECT last FROM {{schema}}.ended WHERE is_split AND {_RUNS_HERE}
    UNION SELECT last FROM {{schema}}.ended WHERE last <> final AND {_RUNS_HERE}"""  # noqa: S608 - our own names
_REACHING_IN = """SELECT last FROM {schema}.live WHERE began < %(reach)s
    UNION ALL SELECT last FROM {schema}.ended WHERE is_split AND began < %(reach)s AND final >= %(next)s
    UNION ALL SELECT last FROM {schema}.ended WHERE last <> final AND last >= %(first)s AND final < %(first)s"""
_SURVIVING = f"""SELECT {event_reads.COLUMNS}, identity FROM {{schema}}.commits
    WHERE {_ROWS_HERE} AND first IN (SELECT first FROM {{schema}}.lasting UNION ALL SELECT unnest(%(rows)s::bigint[]))
    ORDER BY first"""  # noqa: S608 - our own names
_ENDED_HERE = f"SELECT id FROM {{schema}}.ended WHERE id = ANY(%(ids)s::text[]) AND {_RUNS_HERE}"  # noqa: S608
_COPY = (
    "CREATE TABLE {schema}.commits_copy (LIKE {schema}.commits INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS)"
)
_COPY_BARE = "INSERT INTO {{schema}}.commits_copy SELECT * FROM {{schema}}.commits_{bare}"
_DETACH = """ALTER TABLE {{schema}}.{parent} DETACH PARTITION {{schema}}.{parent}_{first};
    ALTER TABLE {{schema}}.{parent}_{first} RENAME TO detached_{parent}_{first}_{token}"""
_DETACHED = """SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'
    AND relname LIKE 'detached\\_%%'"""
_ATTACH = """ALTER TABLE {{schema}}.commits_copy RENAME TO commits_{first};
    ALTER TABLE {{schema}}.commits ATTACH PARTITION {{schema}}.commits_{first} FOR VALUES FROM ({first}) TO ({next})"""
_NO_ACTS = f"""DELETE FROM {{schema}}.acts WHERE NOT position = ANY(%(kept)s::bigint[])
    AND position >= (SELECT min(first) FROM {{schema}}.commits WHERE {_ROWS_HERE})
    AND position <= (SELECT last FROM {{schema}}.commits WHERE {_ROWS_HERE} ORDER BY first DESC LIMIT 1)"""  # noqa: S608
_NOT_LASTING = f"DELETE FROM {{schema}}.lasting WHERE {_ROWS_HERE} AND NOT first = ANY(%(rows)s::bigint[])"  # noqa: S608
_COUNTED_HERE = "part >= %(first)s AND part < %(next)s"
_TOTAL = f"SELECT coalesce(sum(n), 0)::bigint FROM {{schema}}.counts WHERE {_COUNTED_HERE} AND job_id = ''"  # noqa: S608
_SUBTRACT = f"""UPDATE {{schema}}.counts AS known SET n = known.n - gone.n FROM (
        SELECT job_id, status, is_manual, hidden, sum(n) AS n FROM {{schema}}.counts WHERE {_COUNTED_HERE}
        GROUP BY job_id, status, is_manual, hidden) AS gone
    WHERE known.part = {ALL_PARTS} AND (known.job_id, known.status, known.is_manual, known.hidden)
        = (gone.job_id, gone.status, gone.is_manual, gone.hidden)"""  # noqa: S608 - our own names
_NOT_COUNTED = f"DELETE FROM {{schema}}.counts WHERE {_COUNTED_HERE}"  # noqa: S608 - our own names
_FORGET_PARTITIONS = "DELETE FROM {schema}.partitions WHERE first >= %s AND first < %s"
_NOTE_BARE = "INSERT INTO {schema}.partitions (first, next, is_bare) VALUES (%s, %s, true)"


Free: TypeAlias = Callable[[Collection[str]], None]
"""Is called with the names of detached tables, which are to be dropped."""


class Detached(NamedTuple):
    """How many runs some partitions had, the position behind them, and their tables, which are to be dropped."""

    runs: int
    next: int
    tables: list[str]


class Stretch(NamedTuple):
    """Some partitions side by side, from the position `first` to below `next`."""

    parts: list[int]
    first: int
    next: int

    @property
    def bounds(self) -> dict[str, Any]:
        """The parameters of a statement about it."""
        return {"first": self.first, "next": self.next}

    def has(self, first: int) -> bool:
        """Return whether a row of the log that begins at a position is in it."""
        return self.first <= first < self.next


async def detach(server: Server, partitions: Partitions, first: int, before: datetime) -> Detached | None:
    """Detach a partition and those behind it that can be, MOST_AT_ONCE at most.

    Return None where the partition cannot be dropped, as long as events are added to it. StoreUnavailableError where
    its tables are read all the time.
    """
    async with server.reading() as connection:
        found = await _droppable(connection, first, before)
    if found is None:
        return None
    await _delete_lines(server, found, before)
    for _ in range(LOCK_ATTEMPTS):
        await projection.repair(server, partitions)  # what the transaction files is lost where it is given up
        async with server.writing(WORK_LIMIT_S) as connection:
            try:
                async with connection.transaction():
                    await projection.catch_up(connection, partitions)
                    stretch = await _droppable(connection, first, before, len(found.parts))
                    return await _detach(connection, stretch) if stretch is not None else None
            except psycopg.errors.LockNotAvailable:
                pass
        await asyncio.sleep(LOCK_PAUSE_S)
    raise StoreUnavailableError(
        f"{server.address}: old runs cannot be deleted, because a transaction has been reading them for too long; "
        "pg_stat_activity shows it"
    )


@asynccontextmanager
async def freeing(server: Server) -> AsyncIterator[Free]:
    """Drop tables beside the block: those that it names, and those that a killed kernel has left.

    All of them are gone at its end.
    """
    async with server.apart() as other:
        tasks = [asyncio.ensure_future(_free_left(other))]
        try:
            yield lambda names: tasks.append(asyncio.ensure_future(_free(other, names)))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _free_left(server: Server) -> None:
    async with server.reading() as connection:
        names = [name for (name,) in await connection.fetch(_DETACHED, (server.quoted,))]
    await _free(server, names)


async def _free(server: Server, names: Collection[str]) -> None:
    """Drop tables; raise Refusal, after the others, for those that stay, such as one that a view of a user reads."""
    refused: Refusal | None = None
    for name in names:
        try:
            async with server.writing(WORK_LIMIT_S) as connection:
                await connection.execute(f"DROP TABLE IF EXISTS {{schema}}.{name}")
        except Refusal as exc:
            refused = refused or exc
    if refused is not None:
        raise refused


async def _droppable(connection: Connection, first: int, before: datetime, most: int = MOST_AT_ONCE) -> Stretch | None:
    parts: list[int] = []
    following = first
    newest = await event_reads.newest_row(connection)
    newest_first = newest[1] if newest is not None else 0
    for one, end in await connection.fetch(_DROPPABLE, (first, before, newest_first, most)):
        if one != following:
            break
        parts.append(one)
        following = end
    return Stretch(parts, first, following) if parts else None


async def _delete_lines(server: Server, stretch: Stretch, before: datetime) -> None:
    """Delete the log lines of runs in partitions: first, so that the next call completes an interrupted one."""
    values = {**stretch.bounds, "before": before, "most": LINES_A_STEP}
    deleted = LINES_A_STEP
    while deleted == LINES_A_STEP:
        async with server.writing(WORK_LIMIT_S) as connection:
            deleted = await connection.execute(_DELETE_LINES, values)


async def _detach(connection: Connection, stretch: Stretch) -> Detached:
    await _forget_outside(connection, stretch)
    rows = await _surviving(connection, stretch)
    bare = await connection.fetch(_BARE_BESIDE, (stretch.first, stretch.next))
    await _forget_acts(connection, stretch, rows)
    await connection.execute(_COPY)
    await copy(connection, "commits_copy", _COMMITS, rows)
    for one, _ in bare:
        await connection.execute(_COPY_BARE.format(bare=one))
    tables = await _replace(connection, stretch, bare)
    ((total,),) = await connection.fetch(_TOTAL, stretch.bounds)
    await connection.execute(_SUBTRACT, stretch.bounds)
    await connection.execute(_NOT_COUNTED, stretch.bounds)
    return Detached(int(total), stretch.next, tables)


async def _forget_outside(connection: Connection, stretch: Stretch) -> None:
    """Delete the events that runs of the partitions have in others: before them, or after their end."""
    lasts = [last for (last,) in await connection.fetch(_REACHING_OUT, stretch.bounds)]
    chains = await event_chains.chains(connection, lasts)
    await forget(connection, (place for chain in chains.values() for place in chain if not stretch.has(place[1])))


async def _surviving(connection: Connection, stretch: Stretch) -> list[Row]:
    """Return the rows with the events that survive, and no others."""
    bounds = {**stretch.bounds, "reach": stretch.next + REACH}
    lasts = [last for (last,) in await connection.fetch(_REACHING_IN, bounds)]
    places = [place for chain in (await event_chains.chains(connection, lasts)).values() for place in chain]
    kept = {position for position, row in places if stretch.has(row)}
    wanted = {**stretch.bounds, "rows": sorted({row for _, row in places if stretch.has(row)})}
    surviving: list[Row] = []
    for row in await connection.fetch(_SURVIVING, wanted):
        *place, links, _, _, identity = row
        events = codec.decode_all(event_reads.checked(row))
        lasting = await _lasting(connection, stretch, [event for event in events if event is not None])
        gone = [i for i in range(len(events)) if place[0] + i not in kept and place[0] + i not in lasting]
        body, is_left = commit_rows.without(row[commit_rows.BODY], gone)
        if is_left:
            checksum = commit_rows.checksum_of(row[:5], links, body)
            surviving.append((*place, links, body, checksum, identity))
    return surviving


async def _lasting(connection: Connection, stretch: Stretch, events: Collection[Event]) -> set[int]:
    """Return the positions of events that do not belong to runs; one of a later version may belong to anything."""
    others = [event for event in events if not isinstance(event, ExecutionEvent)]
    unknown = [event.stream for event in others if isinstance(event, UnknownEvent)]
    runs: set[Any] = set()
    if unknown:
        runs = {run for (run,) in await connection.fetch(_ENDED_HERE, {**stretch.bounds, "ids": unknown})}
    return {event.position for event in others if event.stream not in runs}


async def _forget_acts(connection: Connection, stretch: Stretch, rows: Collection[Row]) -> None:
    """Delete the acts that the other events recorded, and the marks of rows that do not survive."""
    kept = [
        row[0] + index
        for row in rows
        for index, event in enumerate(codec.decode_all(row[commit_rows.BODY]))
        if event is not None
    ]
    await connection.execute(_NO_ACTS, {**stretch.bounds, "kept": kept})
    await connection.execute(_NOT_LASTING, {**stretch.bounds, "rows": [row[0] for row in rows]})


async def _replace(connection: Connection, stretch: Stretch, bare: Collection[Row]) -> list[str]:
    """Put the copy in the place of the partitions, and of the bare ones beside them; return the names that they get."""
    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_LIMIT_MS}")
    # The log comes last, so that appends wait the shortest time.
    detached = [(parent, part) for parent in ("ended", "commits") for part in stretch.parts]
    detached += [("commits", part) for part, _ in bare]
    token = uuid4().hex[:8]  # a bare one may have the place of one that is not dropped yet
    for parent, part in detached:
        await connection.execute(_DETACH.format(parent=parent, first=part, token=token))
    begin, end = min([stretch.first, *(one for one, _ in bare)]), max([stretch.next, *(one for _, one in bare)])
    await connection.execute(_ATTACH.format(first=begin, next=end))
    await connection.execute(_FORGET_PARTITIONS, (begin, end))
    await connection.execute(_NOTE_BARE, (begin, end))
    return [f"detached_{parent}_{part}_{token}" for parent, part in detached]
