"""One side of `postgres_peers.py`: a library that runs orders in this process and keeps them in PostgreSQL.

python bench/peer_sides.py SIDE DSN TASKS PACED

Prints JSON: `runs_per_s` of TASKS orders by CALLERS concurrent callers, from the first call to the start of the last
body and the last confirmation, and the time in ms from a call to the start of its body, of PACED orders at PACE per
second. Each library is used as its documentation shows for a worker inside of the own process, and keeps its history.
`cpu_ms` is the CPU time of this process for each of the TASKS; that of the server is not in it.

`gnomon` orders through the kernel, which confirms that the run is durable. `gnomon_orders` and `oban` do the same for
each order: BEGIN, an INSERT with a notice and COMMIT, on one of CONNECTIONS connections, and the notice wakes a worker
in this process. `many_per_s` is `runs_per_s` where they place ORDERS_AT_ONCE orders in each transaction.
"""
# ruff: noqa: PLC0415 - a side imports its own library alone

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from measure import percentile, short

Submit = Callable[..., Awaitable[object]]
"""Submits the orders with these numbers, one or several."""
Side = Callable[[str], AbstractAsyncContextManager[Submit]]

CALLERS, PACE = 50, 50
ORDERS_AT_ONCE = 20
CONNECTIONS = 12
"""In the pool of each side that has one."""
WARM_UP = 20
LIMIT_S = 120.0

started: dict[int, float] = {}


def note(number: int) -> None:
    """Note that the body of an order has started."""
    started[number] = time.perf_counter()


@asynccontextmanager
async def kernel(dsn: str) -> AsyncIterator[Any]:
    """Run a kernel with one job in this process."""
    from gnomon import Job, Kernel
    from gnomon_postgres import PostgresStore

    async def task(number: int) -> None:
        note(number)

    job = Job(id="task", func=task, overlap="allow")
    with tempfile.TemporaryDirectory() as folder:
        store = PostgresStore(dsn, spool=Path(folder) / "spool.db")
        async with Kernel(store=store, jobs=[job], max_running=1_000_000, drain=timedelta(0)) as running:
            yield running


@asynccontextmanager
async def gnomon(dsn: str) -> AsyncIterator[Submit]:
    """Trigger a job of the kernel in this process."""
    async with kernel(dsn) as running:
        yield lambda number: running.trigger("task", kwargs={"number": number})


@asynccontextmanager
async def gnomon_orders(dsn: str) -> AsyncIterator[Submit]:
    """Place an order in a transaction of the caller's own, as any process may."""
    from psycopg import AsyncConnection

    from gnomon import RunOrder
    from gnomon_postgres import trigger, trigger_many

    free: asyncio.Queue[AsyncConnection[Any]] = asyncio.Queue()

    async def submit(*numbers: int) -> None:
        connection = await free.get()
        async with connection.transaction():
            if len(numbers) == 1:
                await trigger(connection, "task", kwargs={"number": numbers[0]})
            else:
                await trigger_many(connection, [RunOrder("task", {"number": number}) for number in numbers])
        free.put_nowait(connection)

    async with kernel(dsn), AsyncExitStack() as held:
        for _ in range(CONNECTIONS):
            connection = await AsyncConnection.connect(dsn, autocommit=True)
            free.put_nowait(await held.enter_async_context(connection))
        yield submit


@asynccontextmanager
async def procrastinate(dsn: str) -> AsyncIterator[Submit]:
    """Defer a task to a worker that is woken by a notice."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=CONNECTIONS, max_size=CONNECTIONS))

    @app.task(name="task")
    async def task(number: int) -> None:
        note(number)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        working = app.run_worker_async(concurrency=CALLERS, install_signal_handlers=False)
        worker = asyncio.create_task(working)
        yield lambda number: task.defer_async(number=number)
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


@asynccontextmanager
async def oban(dsn: str) -> AsyncIterator[Submit]:
    """Enqueue a job to a queue of this process."""
    from oban import Oban, schema, worker

    @worker(queue="default")
    class Task:
        async def process(self, job: Any) -> None:
            note(job.args["number"])

    pool = await Oban.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    await schema.install(pool)

    async def submit(*numbers: int) -> None:
        await running.enqueue_many(Task.new({"number": number}) for number in numbers)

    async with Oban(pool=pool, queues={"default": CALLERS}) as running:
        yield submit
    await pool.close()


@asynccontextmanager
async def dbos(dsn: str) -> AsyncIterator[Submit]:
    """Start a durable workflow in this process, without a queue, which is its fastest way."""
    from dbos import DBOS

    DBOS(config={"name": "bench", "system_database_url": dsn, "run_admin_server": False, "log_level": "ERROR"})

    @DBOS.workflow(name="task")
    async def task(number: int) -> None:
        note(number)

    await asyncio.to_thread(DBOS.launch)
    yield lambda number: DBOS.start_workflow_async(task, number)
    await asyncio.to_thread(DBOS.destroy)


SIDES: dict[str, Side] = {
    "gnomon": gnomon, "gnomon_orders": gnomon_orders, "procrastinate": procrastinate, "oban": oban, "dbos": dbos,
}  # fmt: skip
OF_MANY = frozenset({"gnomon_orders", "oban"})
"""Sides that place several orders in a transaction."""


async def submit_all(submit: Submit, numbers: range, at_once: int = 1) -> None:
    """Submit these orders from CALLERS concurrent callers, and wait until all bodies have started."""
    left = iter(range(numbers.start, numbers.stop, at_once))

    async def call() -> None:
        for first in left:
            await submit(*range(first, min(first + at_once, numbers.stop)))

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        await all_started(numbers.stop)


async def all_started(count: int) -> None:
    """Wait until so many bodies have started; they may do so in other threads."""
    while len(started) < count:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.001)


async def submit_paced(submit: Submit, numbers: range) -> list[float]:
    """Submit orders at PACE per second; return the seconds from each call to the start of its body."""
    called: dict[int, float] = {}
    tasks = []
    for number in numbers:
        called[number] = time.perf_counter()
        tasks.append(asyncio.ensure_future(submit(number)))
        await asyncio.sleep(1 / PACE)
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*tasks)
        await all_started(numbers.stop)
    return sorted(started[number] - at for number, at in called.items())


async def measure(name: str, dsn: str, tasks: int, paced: int) -> dict[str, float]:
    """Measure a side."""
    figures: dict[str, float] = {}
    async with SIDES[name](dsn) as submit:
        await submit_all(submit, range(WARM_UP))
        numbers = range(WARM_UP, WARM_UP + tasks)
        before, used = time.perf_counter(), time.process_time()
        await submit_all(submit, numbers)
        figures["runs_per_s"] = tasks / (time.perf_counter() - before)
        figures["cpu_ms"] = short((time.process_time() - used) * 1000 / tasks)
        if name in OF_MANY:
            numbers = range(numbers.stop, numbers.stop + tasks)
            before = time.perf_counter()
            await submit_all(submit, numbers, ORDERS_AT_ONCE)
            figures["many_per_s"] = tasks / (time.perf_counter() - before)
        ages = await submit_paced(submit, range(numbers.stop, numbers.stop + paced))
    return figures | {f"p{percent}_ms": short(percentile(ages, percent) * 1000) for percent in (50, 99)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    name, address, *counts = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(name, address, *map(int, counts)))))
