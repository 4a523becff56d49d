"""Kernel and server are killed at any moment while applications order runs in their transactions."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from fault_runs import rounds, seed
from forked_kernels import ForkedKernels
from gnomon.domain.events import JobAdded, Scheduled
from gnomon.stores.reading import read_log
from gnomon_postgres import PostgresStore
from ordering_applications import OrderingApplications
from postgres_applications import APPLICATIONS
from postgres_servers import PostgresServer
from servers import eventually


@pytest.fixture
async def kernels(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[ForkedKernels]:
    arguments = (postgres.dsn(), str(tmp_path / "spool.db"))
    kernels = ForkedKernels("sending_kernel", *arguments, errors=tmp_path / "kernels")
    yield kernels
    kernels.close()


@pytest.mark.timeout(10_000)
async def test_an_order_of_a_committed_transaction_is_done_once(
    postgres: PostgresServer, kernels: ForkedKernels, tmp_path: Path
) -> None:
    chance = random.Random(seed())
    applications = OrderingApplications(postgres.dsn(), chance, share_of_keys=0.3)
    await kernels.start()
    await eventually(lambda: has_log(postgres.dsn()))

    for _ in range(rounds(short=12, long=1000)):
        drivers = chance.sample(sorted(APPLICATIONS), 2)
        working = [asyncio.create_task(applications.work(driver, chance.randrange(1, 15))) for driver in drivers]
        await reach_a_moment(chance, kernels, applications)
        victims = chance.choice(["kernel", "kernel", "server", "both"])
        if victims != "server":
            await kernels.kill()
        if victims != "kernel":
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
        await asyncio.gather(*working)
        if victims != "server":
            await kernels.start()
    await eventually(lambda: not applications.is_waiting)

    ordered = applications.check_orders()
    store = PostgresStore(postgres.dsn(), spool=tmp_path / "reader.db")
    await store.open(read_only=True)
    events = [event async for block in read_log(store, 0, await store.head()) for event in block]
    await store.close()
    runs = Counter(event.stream for event in events if isinstance(event, Scheduled) and event.job_id == "send")
    assert runs == dict.fromkeys(ordered.runs, 1)
    added = Counter(event.job_id for event in events if isinstance(event, JobAdded) and event.job_id != "send")
    assert added == dict.fromkeys(ordered.jobs, 1)
    print(len(applications.committed), "committed,", len(applications.aborted), "rolled back,", len(runs), "runs")


async def reach_a_moment(chance: random.Random, kernels: ForkedKernels, applications: OrderingApplications) -> None:
    """Wait for a moment of the kernel's start, of its first orders, or of its later ones."""
    if (kind := chance.random()) > 0.2:
        await kernels.lead()
    if kind > 0.5:
        before = applications.answered
        await eventually(lambda: applications.answered > before or not applications.is_waiting)
    await asyncio.sleep(chance.uniform(0, 0.1))


def has_log(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT to_regclass('gnomon.transactional_orders')").fetchone() != (None,)
