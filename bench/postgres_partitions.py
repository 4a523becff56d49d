"""A log in PostgreSQL that lies in many partitions, beside the same log in one.

python bench/postgres_partitions.py [--partitions 365] [--runs 50000] [--requests 20]

Both logs have the same runs, and each question is asked of both in turn; the goal is three times the time of a single
partition, at most. What reads all runs, such as statistics, is asked a few times. The server has its usual room for
locks, 64 for each of 100 connections: in the end, all connections for reading ask for the longest list at once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from gnomon import ExecutionQuery
from gnomon.domain.events import Hidden, job_stream
from gnomon.domain.execution import execution_id, manual_execution_id
from gnomon.domain.records import ActionQuery
from gnomon.domain.run_sorting import RunSort
from gnomon.testing.histories import append, extend, job_added
from gnomon_postgres.schema.partitions import make
from gnomon_postgres.server import READERS, Connection, Server
from gnomon_postgres.store import PostgresStore
from lists import JOBS, START, STEP
from measure import arguments, report
from runs import append as append_runs
from runs import runs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
LIMIT = timedelta(seconds=600)
GOAL = 3.0
EVENTS_OF_A_RUN = 3
FEW = 3
"""Times that a question is asked which reads all runs."""
Question: TypeAlias = Callable[[PostgresStore, int], Awaitable[object]]


def questions(count: int, requests: int) -> dict[str, Question]:
    """Return what is asked, by name; the functions take the number of the request."""

    def run(number: int) -> str:
        place = (number + 1) * count // (requests + 2)
        return execution_id(JOBS[place % len(JOBS)], START + place * STEP)

    def page(**filters: Any) -> Question:
        return lambda store, _: store.executions(ExecutionQuery(**filters))

    async def hide(store: PostgresStore, number: int) -> None:
        history = await store.stream(run(number))
        await append(store, extend(history, Hidden, actor="ann")[len(history) :])
        await store.jobs()  # once its view is filed

    return {
        "run": lambda store, number: store.execution(run(number)),
        "run of a key": lambda store, number: store.execution(manual_execution_id("job-1", START, str(number), "ann")),
        "20 runs": lambda store, _: store.executions_by_id([run(number) for number in range(requests)]),
        "its events": lambda store, number: store.stream(run(number)),
        "events of a job's definition": lambda store, _: store.stream(job_stream(JOBS[0])),
        "events of a job in an hour": lambda store, number: store.job_events(
            JOBS[0], at := START + number * count // requests * STEP, at + timedelta(hours=1)
        ),
        "newest events": lambda store, _: _newest(store),
        "oldest events": lambda store, _: store.read(0, 1_000),
        "newest": page(),
        "of a job": page(job_id=JOBS[7]),
        "of a status": page(status=("failed",)),
        "search": page(text="shard 3"),
        "of an actor": page(actors=("actor-3",)),
        "longest": page(sort=RunSort("duration", descending=True)),
        "newest of each job": page(per_job=1),
        "acts": lambda store, _: store.actions(ActionQuery(limit=50)),
        "hide": hide,
        "statistics": lambda store, _: store.statistics(),
        "verify": lambda store, _: store.without_events(),
    }


async def _newest(store: PostgresStore) -> object:
    return await store.read(await store.head() - 20, 1_000)


def opened(dsn: str, folder: Path) -> PostgresStore:
    """Return a store of the log."""
    return PostgresStore(dsn, spool=folder / "spool.db", timeout=LIMIT, lease=2 * LIMIT)


async def fill(dsn: str, folder: Path, parts: int, count: int) -> None:
    """Make a log with so many partitions, and append jobs and runs to it, the same ones each time."""
    async with opened(dsn, folder):
        pass
    server = Server(dsn, "gnomon", LIMIT.total_seconds())
    await server.connect()
    async with server.writing() as connection:
        if parts > 1:
            await divide(connection, parts, (count * EVENTS_OF_A_RUN + len(JOBS)) // parts)
        async with opened(dsn, folder) as store:
            await append(store, *(job_added(job_id, START) for job_id in JOBS))
            await append_runs(store, runs(count, JOBS, START, STEP))
            await store.jobs()  # once all views are filed
        await connection.execute("VACUUM (ANALYZE)")
    await server.close()


async def divide(connection: Connection, parts: int, size: int) -> None:
    """Make small partitions in an empty log, in the place of its first one."""
    for statement in ("DROP TABLE {schema}.commits_1, {schema}.ended_1", "DELETE FROM {schema}.partitions"):
        await connection.execute(statement)
    for number in range(parts):
        async with connection.transaction():
            await make(connection, 1 + number * size, 1 + (number + 1) * size)


async def compare(dsns: tuple[str, str], folders: tuple[Path, Path], count: int, requests: int) -> dict[str, Any]:
    """Question both logs in turn; return the medians in ms, and their ratios."""
    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        begun = [time.perf_counter()]
        stores = []
        for dsn, folder in zip(dsns, folders, strict=True):
            stores.append(await stack.enter_async_context(opened(dsn, folder)))
            begun.append(time.perf_counter())
        found["start"] = _figures([begun[1] - begun[0]], [begun[2] - begun[1]])
        totals = [(await store.executions(ExecutionQuery(hidden=True))).total for store in stores]
        if totals != [count, count]:
            sys.exit(f"the logs have {totals} runs, not {count}")
        for name, ask in questions(count, requests).items():
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(FEW if name in {"statistics", "verify", "longest"} else requests):
                for store, side in zip(stores, times, strict=True):
                    begin = time.perf_counter()
                    await ask(store, number)
                    side.append(time.perf_counter() - begin)
            found[name] = _figures(*times)
        longest = ExecutionQuery(sort=RunSort("duration", descending=True))
        await asyncio.gather(*(stores[1].executions(longest) for _ in range(READERS)))
    return found


def _figures(one: list[float], many: list[float]) -> dict[str, float]:
    first, other = (sorted(side)[len(side) // 2] * 1_000 for side in (one, many))
    return {"one": round(first, 2), "many": round(other, 2), "ratio": round(other / first, 2)}


def main() -> None:
    """Start a server, fill both logs, measure and report."""
    from postgres_servers import running_postgres  # noqa: PLC0415 - of the tests, as above

    asked = arguments("Partitions in PostgreSQL.", partitions=365, runs=50_000, requests=20)
    options = ("-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB", "-c", "max_connections=100")
    with running_postgres(*options) as server, tempfile.TemporaryDirectory() as folder:
        folders, dsns = (Path(folder, "one"), Path(folder, "many")), (server.dsn("one"), server.dsn("many"))
        for path, dsn, parts in zip(folders, dsns, (1, asked.partitions), strict=True):
            path.mkdir()
            server.create_database(path.name)
            asyncio.run(fill(dsn, path, parts, asked.runs))
        found = asyncio.run(compare(dsns, folders, asked.runs, asked.requests))
    slowest = max(found, key=lambda name: float(found[name]["ratio"]))
    report(
        "Partitions in PostgreSQL",
        f"With {asked.runs:,} runs in {asked.partitions} partitions, {slowest!r} takes {found[slowest]['many']} ms, "
        f"{found[slowest]['ratio']} times as long as in one; the goal is {GOAL:g}.",
        ms=found,
    )


if __name__ == "__main__":
    main()
