"""Lists and statistics of a million executions in PostgreSQL, beside the same lists from SQLite.

python bench/postgres_lists.py [--executions 1000000] [--requests 40]

Both logs have the same executions. Each kind of page is requested from both in turn over HTTP, as in bench/lists.py;
the goal is three times the time of SQLite, at most. The server is the one that the tests use, with its usual 128 MB of
shared buffers; the tables are vacuumed and analyzed after they are filled, as autovacuum does.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon import Execution
from gnomon_postgres.lists.statistics import statistics
from gnomon_postgres.schema import migrations
from gnomon_postgres.schema.partitions import Partitions
from gnomon_postgres.server import Server
from gnomon_postgres.store import PostgresStore
from gnomon_postgres.views.projection_writer import file_views, lock_log
from gnomon_postgres.views.view_batch import ViewBatch
from gnomon_sqlite import SqliteStore
from lists import JOBS, START, STEP, kinds, served
from measure import arguments, report
from runs import batches, fill, runs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
LIMIT_S = 600.0
GOAL = 3.0


async def fill_postgres(dsn: str, executions: Iterator[Execution]) -> None:
    """File executions in a new log; without events, because lists do not read them."""
    server, partitions, last = Server(dsn, "gnomon", LIMIT_S), Partitions(timedelta(days=1)), 0
    await server.connect()
    await migrations.prepare(server)
    for views in batches(executions):
        batch = ViewBatch(first=last + 1, since=views[0].timestamp, until=views[-1].updated_at)
        for view in views:
            batch.began[view.id], last = last + 1, last + view.version
            batch.ends[view.id], batch.executions[view.id] = (view.version, last), view
        batch.last = last
        async with server.writing(LIMIT_S) as connection, connection.transaction():
            await lock_log(connection)
            await file_views(connection, batch, partitions)
    async with server.writing(LIMIT_S) as connection:
        await connection.execute("UPDATE {schema}.log SET filed = 0")  # the log is empty
        await connection.execute("VACUUM (ANALYZE)")
    await server.close()


async def compare(path: Path, dsn: str, count: int, requests: int) -> dict[str, Any]:
    """Request each kind of page from both logs in turn; return the medians in ms, and their ratios."""
    limit = timedelta(seconds=LIMIT_S)
    found: dict[str, Any] = {}
    async with (
        served(SqliteStore(path)) as from_sqlite,
        served(PostgresStore(dsn, spool=path.with_name("spool.db"), timeout=limit, lease=2 * limit)) as from_postgres,
    ):
        for name, query in kinds(count).items():
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(requests):
                asked = query()
                (one, spent), (other, took) = await from_sqlite(asked), await from_postgres(asked)
                if _shown(one) != _shown(other):
                    sys.exit(f"{name}: the stores answer {asked} differently")
                times[0].append(spent)
                times[1].append(took)
            sqlite, postgres = (sorted(side)[requests // 2] for side in times)
            found[name] = {"sqlite": sqlite, "postgres": postgres, "ratio": round(postgres / sqlite, 2)}
    return found


def _shown(page: Any) -> tuple[int, list[str]]:
    return page["total"], [row["_id"] for row in page["items"]]


async def count(dsn: str) -> float:
    """Return the seconds for the statistics of all jobs."""
    server = Server(dsn, "gnomon", LIMIT_S)
    await server.connect()
    begun = time.perf_counter()
    await statistics(server)
    spent = time.perf_counter() - begun
    await server.close()
    return spent


def main() -> None:
    """Start a server, fill both logs, measure and report."""
    from postgres_servers import running_postgres  # noqa: PLC0415 - of the tests, as above

    asked = arguments("Lists from PostgreSQL.", executions=1_000_000, requests=40)
    options = ("-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB")
    with running_postgres(*options) as server, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.db"
        fill(path, runs(asked.executions, JOBS, START, STEP))
        asyncio.run(fill_postgres(server.dsn(), runs(asked.executions, JOBS, START, STEP)))
        counted_s = asyncio.run(count(server.dsn()))
        found = asyncio.run(compare(path, server.dsn(), asked.executions, asked.requests))
    slowest = max(found, key=lambda name: float(found[name]["ratio"]))
    report(
        "Lists from PostgreSQL",
        f"With {asked.executions:,} executions the kind of page that PostgreSQL is slowest at, beside SQLite, is "
        f"{slowest!r}: {found[slowest]['postgres']} ms, {found[slowest]['ratio']} times as long; the goal is {GOAL:g}. "
        f"The statistics of all jobs take {counted_s:.2f} s.",
        ms=found,
        statistics_s=round(counted_s, 3),
    )


if __name__ == "__main__":
    main()
