"""Kernel and server are killed at any moment while applications order runs in their transactions."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from fault_runs import rounds, seed
from gnomon.domain.events import JobAdded, Scheduled
from gnomon.stores.reading import read_log
from gnomon_postgres import PostgresStore
from postgres_applications import APPLICATIONS, Abort, Begin
from postgres_servers import PostgresServer, find_postgres, make_folder
from servers import eventually

KERNELS = """
import asyncio, os, sys

from gnomon import Job, Kernel
from gnomon_postgres import PostgresStore

async def send(number: int) -> int:
    return number

async def lead(dsn, spool):
    jobs = [Job(id="send", func=send, max_instances=20, overlap="queue", queue_limit=50)]
    async with Kernel(store=PostgresStore(dsn, spool=spool), jobs=jobs):
        print("leads", flush=True)
        await asyncio.Event().wait()

# Each pair of lines starts a kernel, in a process that has imported everything, and forgets it after its end.
for _ in sys.stdin:
    if (child := os.fork()) == 0:
        asyncio.run(lead(*sys.argv[1:]))
        os._exit(1)
    print(child, flush=True)
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    print("ended by", ended.si_status, flush=True)
    next(sys.stdin)  # until then no other process has its number
    os.waitpid(child, 0)
"""


class Kernels:
    """Kernels that follow each other on one log, of which one runs at a time."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._errors = (folder / "kernels").open("w+")
        self._launcher = subprocess.Popen(
            [sys.executable, "-c", KERNELS, dsn, str(folder / "spool.db")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self._kernel = self._read_errors = 0
        self._leads = False

    async def start(self) -> None:
        """Start the next kernel, and do not wait until it leads."""
        self._say("start")
        self._kernel, self._leads = int(await self._line()), False

    async def lead(self) -> None:
        """Wait until the kernel has begun to lead; start it again where the server was killed while it started."""
        while not self._leads:
            self._leads = (line := await self._line()) == "leads"
            if line.startswith("ended"):
                self._errors.seek(self._read_errors)
                errors = self._errors.read()
                self._read_errors = self._errors.tell()
                assert "StoreUnavailableError" in errors, errors
                self._say("forget")
                await self.start()

    async def kill(self) -> None:
        """Kill the kernel, and wait until it has ended."""
        os.kill(self._kernel, signal.SIGKILL)
        while not (await self._line()).startswith("ended"):
            pass
        self._say("forget")

    def _say(self, word: str) -> None:
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(f"{word}\n")
        self._launcher.stdin.flush()

    async def _line(self) -> str:
        assert self._launcher.stdout is not None
        line = await asyncio.to_thread(self._launcher.stdout.readline)
        self._errors.seek(0)
        assert line, self._errors.read()
        return line.strip()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._kernel, signal.SIGKILL)
        self._launcher.kill()
        self._launcher.wait()
        for pipe in (self._launcher.stdin, self._launcher.stdout, self._errors):
            assert pipe is not None
            pipe.close()


class Applications:
    """Transactions of applications. Each writes an invoice and its order, or neither of them."""

    def __init__(self, dsn: str, chance: random.Random) -> None:
        self.dsn = dsn
        self.committed: set[int] = set()
        self.aborted: set[int] = set()
        self._chance = chance
        self._numbers = iter(range(1_000_000_000))

    async def work(self, driver: str, transactions: int) -> None:
        """Begin transactions with one driver until the server is gone."""
        with suppress(Exception):  # whatever the driver raises where the connection is lost
            async with APPLICATIONS[driver](self.dsn) as begin:
                for _ in range(transactions):
                    await self._transaction(begin, next(self._numbers))

    async def _transaction(self, begin: Begin, number: int) -> None:
        aborts = self._chance.random() < 0.3
        try:
            async with begin() as transaction:
                if self._chance.random() < 0.2:
                    order = await transaction.call("add_job", "json:dumps", id=f"job-{number}")
                else:
                    key = f"key {number // 3}" if self._chance.random() < 0.3 else None
                    kwargs = {"number": number // 3} if key is not None else {"number": number}
                    order = await transaction.call("trigger", "send", kwargs=kwargs, key=key)
                insert = "INSERT INTO invoices VALUES ($1, CAST($2 AS text), CAST($3 AS text)) RETURNING number"
                await transaction.execute(insert, number, order.id, order.execution_id)
                if aborts:
                    raise Abort
        except Abort:
            self.aborted.add(number)
        else:
            self.committed.add(number)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    folder = make_folder()
    server = PostgresServer(find_postgres(), folder)
    server.initialize()
    server.start()
    yield server
    server.clean_up()
    shutil.rmtree(folder)


@pytest.fixture
async def kernels(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Kernels]:
    kernels = Kernels(server.dsn(), tmp_path)
    yield kernels
    kernels.close()


@pytest.mark.timeout(10_000)
async def test_an_order_of_a_committed_transaction_is_done_once(
    server: PostgresServer, kernels: Kernels, tmp_path: Path
) -> None:
    chance = random.Random(seed())
    applications = Applications(server.dsn(), chance)
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE invoices (number bigint PRIMARY KEY, order_id text, execution_id text)")
    await kernels.start()
    await eventually(lambda: has_log(server.dsn()))

    for _ in range(rounds(short=12, long=1000)):
        drivers = chance.sample(sorted(APPLICATIONS), 2)
        working = [asyncio.create_task(applications.work(driver, chance.randrange(1, 15))) for driver in drivers]
        await reach_a_moment(chance, kernels, server.dsn())
        victims = chance.choice(["kernel", "kernel", "server", "both"])
        if victims != "server":
            await kernels.kill()
        if victims != "kernel":
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await asyncio.gather(*working)
        if victims != "server":
            await kernels.start()
    await eventually(lambda: not pending(server.dsn()))

    with psycopg.connect(server.dsn()) as connection:
        invoices = connection.execute("SELECT number, order_id, execution_id FROM invoices").fetchall()
        orders = connection.execute(
            "SELECT id, state, execution_id, problem FROM gnomon.transactional_orders"
        ).fetchall()
    numbers = {number for number, _, _ in invoices}
    assert applications.committed <= numbers
    assert not applications.aborted & numbers
    assert {order for _, order, _ in invoices} == {order for order, _, _, _ in orders}
    assert [order for order in orders if order[1] != "done"] == []
    assert {(order, run) for _, order, run in invoices} == {(order, run) for order, _, run, _ in orders}
    store = PostgresStore(server.dsn(), spool=tmp_path / "reader.db")
    await store.open(read_only=True)
    events = [event async for block in read_log(store, 0, await store.head()) for event in block]
    await store.close()
    runs = Counter(event.stream for event in events if isinstance(event, Scheduled) and event.job_id == "send")
    assert runs == dict.fromkeys({run for _, _, run in invoices if run is not None}, 1)
    added = Counter(event.job_id for event in events if isinstance(event, JobAdded) and event.job_id != "send")
    assert added == dict.fromkeys({f"job-{number}" for number, _, run in invoices if run is None}, 1)
    print(len(invoices), "committed,", len(applications.aborted), "rolled back,", len(runs), "runs")


async def reach_a_moment(chance: random.Random, kernels: Kernels, dsn: str) -> None:
    """Wait for a moment of the kernel's start, of its first orders, or of its later ones."""
    if (kind := chance.random()) > 0.2:
        await kernels.lead()
    if kind > 0.5:
        before = answered(dsn)
        await eventually(lambda: answered(dsn) > before or not pending(dsn))
    await asyncio.sleep(chance.uniform(0, 0.1))


def has_log(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT to_regclass('gnomon.transactional_orders')").fetchone() != (None,)


def answered(dsn: str) -> int:
    count = "SELECT count(*) FROM gnomon.transactional_orders WHERE state <> 'pending'"
    with psycopg.connect(dsn) as connection:
        ((found,),) = connection.execute(count).fetchall()
    return int(found)


def pending(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT 1 FROM gnomon.transactional_orders WHERE state = 'pending' LIMIT 1")
        return found.fetchone() is not None
