"""Sustained appends to PostgreSQL, against raw COPY of the same rows to the same tables on the same server.

python bench/postgres_append.py [--events 60000] [--jobs 1000] [--pairs 9]

Both sides write what bursts of `jobs` runs produce, in commits of about 600 events, each durable before the next one
begins. The log alone: appends in a term, which are compared with COPY of the rows of `commits`, one transaction for
each append. The whole store: appends until all views are filed, which are compared with the same and COPY of the rows
of the views, once, as they are in the end. The raw side starts from prepared rows, so it only sends and commits: it
encodes no event, links none to the one before it in its stream, computes no checksum, and checks nothing. So the log is
compared with a third side, too: COPY of rows that are made of the events before they are sent. The server is
the one that the tests use, with fsync on.

Beside the rates by the clock there are those by CPU time, of this process and of the server together: other programs on
the machine change them less, and they do not contain the waits for the disk, which are the same on both sides.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from append import Batch, batches
from gnomon.domain.codec import EventBatch
from gnomon.stores import commit_rows
from gnomon_postgres.log import event_reads
from gnomon_postgres.log.event_append import EventAppend
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import Row, Server
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.ports.lease_row import LeaseRow, Term
from measure import alternate, arguments, median, quartiles, ratios, report

if TYPE_CHECKING:
    from psycopg import AsyncCursor

    from postgres_servers import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
NAME = "Appends to PostgreSQL"
TERM = Term("bench", 1)
LIMIT_S = 600.0
COLUMNS = f"{event_reads.COLUMNS}, identity"
TYPES = ["int8"] * 5 + ["bytea"] * 2 + ["int8"] * 2
_INTO = f"COPY {{schema}}.commits ({COLUMNS}) FROM STDIN (FORMAT binary)"
VIEWS = ("ended", "live", "fires", "job_states", "streams", "lasting")


async def empty(server: Server) -> None:
    """Make an empty log in the place of the one that is there."""
    async with server.writing(LIMIT_S) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS {schema} CASCADE")
    await migrations.prepare(server)


class Meter:
    """Measures how fast a block processes events, by the clock, and by CPU time of this process and of the server."""

    def __init__(self, server: PostgresServer, events: int) -> None:
        self.dsn = server.dsn()
        self.rates: Mapping[str, float] = {}
        self._server = server
        self._events = events

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the block; `rates` has the result."""
        begun, cpu_begun = time.perf_counter(), self._cpu_s()
        yield
        seconds, cpu_s = time.perf_counter() - begun, self._cpu_s() - cpu_begun
        self.rates = {"events_per_s": self._events / seconds, "events_per_cpu_s": self._events / cpu_s}

    def _cpu_s(self) -> float:
        return time.process_time() + self._server.cpu_s()


async def append(meter: Meter, appended: Sequence[Batch]) -> Mapping[str, float]:
    """Append to the log alone; return the rates."""
    server = Server(meter.dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    lease = PostgresLeaseTable(server)
    await lease.put(LeaseRow(owner=TERM.owner, epoch=TERM.epoch, renewals=1), None)
    log = EventAppend(server, lease)
    with meter.running():
        for events, _, _ in appended:
            await log.append(EventBatch(events), TERM)
    await server.close()
    return meter.rates


async def make_and_copy(meter: Meter, appended: Sequence[Batch]) -> Mapping[str, float]:
    """Make the rows of each append, and copy them in one transaction; return the rates."""
    server = Server(meter.dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    ends: dict[str, commit_rows.End] = {}
    newest: commit_rows.Newest = (0, 0, 0)
    async with server.writing(LIMIT_S) as connection, connection.link.cursor() as cursor:
        into = connection.sql(_INTO)
        with meter.running():
            for events, _, _ in appended:
                rows, changed = commit_rows.rows_of(EventBatch(events), ends, newest)
                ends |= changed
                newest = commit_rows.newest_of(rows[-1])
                await _copy_rows(cursor, into, [(*row, row[-1]) for row in rows])
    await server.close()
    return meter.rates


async def _copy_rows(cursor: AsyncCursor[Row], into: str, rows: Iterable[Row]) -> None:
    async with cursor.copy(into) as copied:
        copied.set_types(TYPES)
        for row in rows:
            await copied.write_row(row)


async def keep(meter: Meter, appended: Sequence[Batch]) -> Mapping[str, float]:
    """Append through the store until all views are filed; return the rates."""
    server = Server(meter.dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    limit = timedelta(seconds=LIMIT_S)
    with tempfile.TemporaryDirectory() as folder:
        store = PostgresStore(meter.dsn, "bench", spool=Path(folder) / "spool.db", timeout=limit, lease=limit)
        async with store:
            with meter.running():
                for events, executions, jobs in appended:
                    await store.append(EventBatch(events), executions, jobs)
                await store.jobs(["nobody"])  # once everything is filed
    await server.close()
    return meter.rates


async def written(dsn: str) -> tuple[list[Row], dict[str, bytes]]:
    """Return the rows of the log that is there, and those of its views as COPY has them."""
    server = Server(dsn, "bench", LIMIT_S)
    await server.connect()
    views = {}
    async with server.reading(LIMIT_S) as connection:
        rows = await connection.fetch(f"SELECT {COLUMNS} FROM {{schema}}.commits ORDER BY first")  # noqa: S608
        for table in VIEWS:
            copy = connection.sql(f"COPY (SELECT * FROM {{schema}}.{table}) TO STDOUT (FORMAT binary)")  # noqa: S608
            async with connection.link.cursor() as cursor, cursor.copy(copy) as out:
                views[table] = b"".join([bytes(block) async for block in out])
    await server.close()
    return rows, views


async def copy(meter: Meter, groups: Sequence[Sequence[Row]], views: Mapping[str, bytes]) -> Mapping[str, float]:
    """Copy rows of the log, one transaction for each group, and rows of views; return the rates."""
    server = Server(meter.dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    async with server.writing(LIMIT_S) as connection, connection.link.cursor() as cursor:
        into = connection.sql(_INTO)
        with meter.running():
            for group in groups:
                await _copy_rows(cursor, into, group)
            for table, body in views.items():
                async with cursor.copy(connection.sql(f"COPY {{schema}}.{table} FROM STDIN (FORMAT binary)")) as copied:
                    await copied.write(body)
    await server.close()
    return meter.rates


def grouped(rows: Sequence[Row], appended: Sequence[Batch]) -> list[list[Row]]:
    """Return the rows of each append."""
    ends = [events[-1].position for events, _, _ in appended]
    groups: list[list[Row]] = [[] for _ in ends]
    number = 0
    for row in rows:
        number += row[1] > ends[number]
        groups[number].append(row)
    return groups


def measure(meter: Meter, appended: Sequence[Batch], pairs: int) -> None:
    """Measure both in turn, and report."""
    asyncio.run(keep(meter, appended))
    rows, views = asyncio.run(written(meter.dsn))
    groups = grouped(rows, appended)
    logs = alternate(lambda: asyncio.run(append(meter, appended)), lambda: asyncio.run(copy(meter, groups, {})), pairs)
    makers = alternate(
        lambda: asyncio.run(append(meter, appended)), lambda: asyncio.run(make_and_copy(meter, appended)), pairs
    )
    stores = alternate(
        lambda: asyncio.run(keep(meter, appended)), lambda: asyncio.run(copy(meter, groups, views)), pairs
    )
    sides = (logs, makers, stores)
    share, of_made, of_store = (quartiles(ratios(found, "events_per_s")) for found in sides)
    by_cpu, of_made_by_cpu, of_store_by_cpu = (quartiles(ratios(found, "events_per_cpu_s")) for found in sides)
    report(
        NAME,
        f"The PostgreSQL store appends {median([pair[0] for pair in logs], 'events_per_s'):,.0f} events per second to "
        f"the log, {share['median']} of the rate of COPY of the same rows ({by_cpu['median']} by CPU time), and "
        f"{of_made['median']} where that has to make the rows ({of_made_by_cpu['median']}). With views it appends "
        f"{median([pair[0] for pair in stores], 'events_per_s'):,.0f}, {of_store['median']} of the rate of COPY "
        f"({of_store_by_cpu['median']}).",
        pairs=pairs,
        share_of_copy=share,
        share_of_copy_by_cpu=by_cpu,
        share_where_rows_are_made=of_made,
        share_where_rows_are_made_by_cpu=of_made_by_cpu,
        share_with_views=of_store,
        share_with_views_by_cpu=of_store_by_cpu,
    )


def main() -> None:
    """Start a server, measure and report."""
    from postgres_servers import running_postgres  # noqa: PLC0415 - of the tests, as above

    asked = arguments("Sustained appends to PostgreSQL.", events=60_000, jobs=1_000, pairs=9)
    appended, more = [], batches(asked.jobs)
    while sum(len(batch[0]) for batch in appended) < asked.events:
        appended.append(next(more))
    with running_postgres("-c", "fsync=on", "-c", "max_wal_size=4GB") as server:
        measure(Meter(server, sum(len(batch[0]) for batch in appended)), appended, asked.pairs)


if __name__ == "__main__":
    main()
