"""Sustained appends to PostgreSQL, against raw COPY of the same rows to the same tables on the same server.

python bench/postgres_append.py [--events 60000] [--jobs 1000] [--pairs 9]

Both sides write what bursts of `jobs` runs produce, in commits of about 600 events, each durable before the next one
begins. The log alone: appends in a term, which are compared with COPY of the rows of `commits`, one transaction for
each append. The whole store: appends until all views are filed, which are compared with the same and COPY of the rows
of the views. The raw side starts from prepared rows, so it only sends and commits. The server is the one that the tests
use, with fsync on.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from append import Batch, batches
from gnomon.domain.codec import EventBatch
from gnomon_postgres.log import event_reads
from gnomon_postgres.log.event_append import EventAppend
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import Row, Server
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.ports.lease_row import LeaseRow, Term
from measure import alternate, arguments, median, quartiles, ratios, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
NAME = "Appends to PostgreSQL"
TERM = Term("bench", 1)
LIMIT_S = 600.0
COLUMNS = f"{event_reads.COLUMNS}, identity"
TYPES = ["int8"] * 5 + ["bytea"] * 2 + ["int8"] * 2
VIEWS = ("ended", "live", "fires", "job_states", "streams", "lasting")


async def empty(server: Server) -> None:
    """Make an empty log in the place of the one that is there."""
    async with server.writing(LIMIT_S) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS {schema} CASCADE")
    await migrations.prepare(server)


async def append(dsn: str, appended: Sequence[Batch]) -> float:
    """Append to the log alone; return the seconds."""
    server = Server(dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    lease = PostgresLeaseTable(server)
    await lease.put(LeaseRow(owner=TERM.owner, epoch=TERM.epoch, renewals=1), None)
    log = EventAppend(server, lease)
    begun = time.perf_counter()
    for events, _, _ in appended:
        await log.append(EventBatch(events), TERM)
    spent = time.perf_counter() - begun
    await server.close()
    return spent


async def keep(dsn: str, appended: Sequence[Batch]) -> float:
    """Append through the store until all views are filed; return the seconds."""
    server = Server(dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    limit = timedelta(seconds=LIMIT_S)
    with tempfile.TemporaryDirectory() as folder:
        async with PostgresStore(dsn, "bench", spool=Path(folder) / "spool.db", timeout=limit, lease=limit) as store:
            begun = time.perf_counter()
            for events, executions, jobs in appended:
                await store.append(EventBatch(events), executions, jobs)
            await store.jobs(["nobody"])  # once everything is filed
            spent = time.perf_counter() - begun
    await server.close()
    return spent


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


async def copy(dsn: str, groups: Sequence[Sequence[Row]], views: Mapping[str, bytes]) -> float:
    """Copy rows of the log, one transaction for each group, and rows of views; return the seconds."""
    server = Server(dsn, "bench", LIMIT_S)
    await server.connect()
    await empty(server)
    async with server.writing(LIMIT_S) as connection, connection.link.cursor() as cursor:
        into = connection.sql(f"COPY {{schema}}.commits ({COLUMNS}) FROM STDIN (FORMAT binary)")
        begun = time.perf_counter()
        for group in groups:
            async with cursor.copy(into) as copied:
                copied.set_types(TYPES)
                for row in group:
                    await copied.write_row(row)
        for table, body in views.items():
            async with cursor.copy(connection.sql(f"COPY {{schema}}.{table} FROM STDIN (FORMAT binary)")) as copied:
                await copied.write(body)
        spent = time.perf_counter() - begun
    await server.close()
    return spent


def grouped(rows: Sequence[Row], appended: Sequence[Batch]) -> list[list[Row]]:
    """Return the rows of each append."""
    ends = [events[-1].position for events, _, _ in appended]
    groups: list[list[Row]] = [[] for _ in ends]
    number = 0
    for row in rows:
        number += row[1] > ends[number]
        groups[number].append(row)
    return groups


def measure(dsn: str, appended: Sequence[Batch], pairs: int) -> None:
    """Measure both in turn, and report."""
    events = sum(len(batch[0]) for batch in appended)

    def rate(spent: float) -> Mapping[str, float]:
        return {"events_per_s": events / spent}

    asyncio.run(keep(dsn, appended))
    rows, views = asyncio.run(written(dsn))
    groups = grouped(rows, appended)
    logs = alternate(
        lambda: rate(asyncio.run(append(dsn, appended))), lambda: rate(asyncio.run(copy(dsn, groups, {}))), pairs
    )
    stores = alternate(
        lambda: rate(asyncio.run(keep(dsn, appended))), lambda: rate(asyncio.run(copy(dsn, groups, views))), pairs
    )
    share, of_store = quartiles(ratios(logs, "events_per_s")), quartiles(ratios(stores, "events_per_s"))
    report(
        NAME,
        f"The PostgreSQL store appends {median([pair[0] for pair in logs], 'events_per_s'):,.0f} events per second to "
        f"the log, {share['median']} of the rate of COPY of the same rows, and "
        f"{median([pair[0] for pair in stores], 'events_per_s'):,.0f} with their views, {of_store['median']} of it.",
        pairs=pairs,
        share_of_copy=share,
        share_with_views=of_store,
    )


def main() -> None:
    """Start a server, measure and report."""
    from postgres_servers import PostgresServer, find_postgres, make_folder  # noqa: PLC0415 - of the tests, as above

    asked = arguments("Sustained appends to PostgreSQL.", events=60_000, jobs=1_000, pairs=9)
    appended, more = [], batches(asked.jobs)
    while sum(len(batch[0]) for batch in appended) < asked.events:
        appended.append(next(more))
    server = PostgresServer(find_postgres(), make_folder())
    server.initialize()
    server.start("-c", "fsync=on", "-c", "max_wal_size=4GB")
    try:
        measure(server.dsn(), appended, asked.pairs)
    finally:
        server.clean_up()
        shutil.rmtree(server.folder)


if __name__ == "__main__":
    main()
