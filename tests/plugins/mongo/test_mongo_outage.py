"""Outages with `cut_off = "run"`, as far as they are about MongoDB: see tests/plugins/shared_log/test_outage.py."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gnomon import Job, Kernel
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.testing import check_log
from gnomon_mongo import MongoStore, drivers
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_mongo.log import event_append
from outage_events import keep, look_often, run

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Shorten the time limits of calls and of the lease, and wait long for a server that starts."""
    limits = {"timeout": timedelta(seconds=2), "lease": timedelta(seconds=5), "patience": timedelta(minutes=1)}
    return settings | limits | {"cut_off": "run"}


@pytest.fixture(autouse=True)
def a_store_looks_often_and_closes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)


@pytest.fixture
async def store(daemon: Any, driver: Driver, settings: dict[str, Any]) -> AsyncIterator[MongoStore]:
    """Provide an open store on its own server, that may be killed."""
    daemon.start()
    store = MongoStore(daemon.uri, driver=driver, **settings)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("driver", ["pymongo"], indirect=True)
async def test_a_store_closes_although_its_client_does_not(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "CLOSE_LIMIT_S", 0.05)
    client: Any = store._server._client
    await client._topology._lock.acquire()  # as a call leaves it that was cancelled at the wrong moment

    await store.close()

    client._topology._lock.release()
    await client.close()


async def test_a_write_without_an_answer_is_written_once(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start("--enable-test-commands")
    async with MongoStore(daemon.uri, driver=driver, **settings) as store:
        admin: Any = store._server._client
        fails = {"failCommands": ["insert"], "writeConcernError": {"code": 64, "errmsg": "not confirmed"}}
        await admin.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": fails})

        await keep(store, run(1, 0))

        await eventually(lambda: store.health().state == "healthy")
        assert len(await store.read()) == 3
        await keep(store, run(2, 3))
        assert await store.differences() == []


async def test_a_write_that_goes_on_at_the_server_while_it_is_repeated_is_no_conflict(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = event_append._appended

    async def behind_another(collection: Any, events: Any, after: Any, term: Any) -> bool:
        await collection.insert_one(events[0])
        return await insert(collection, events, after, term)

    monkeypatch.setattr(event_append, "_appended", behind_another)
    await keep(store, run(1, 0))

    assert store.health().state == "healthy"
    assert [event.position for event in await store.read()] == [1, 2, 3]
    assert await store.differences() == []


async def test_a_write_that_nobody_can_see_yet_is_no_conflict(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, tries = event_append._appended, []

    async def in_the_way_of_another(collection: Any, events: Any, after: Any, term: Any) -> bool:
        tries.append(events)
        return len(tries) > 10 and await insert(collection, events, after, term)

    monkeypatch.setattr(event_append, "_appended", in_the_way_of_another)
    await keep(store, run(1, 0))

    assert store.health().state == "healthy"
    assert [event.position for event in await store.read()] == [1, 2, 3]


@pytest.fixture
async def database_of(daemon: Any, driver: Driver) -> AsyncIterator[Callable[[], Any]]:
    """Return a function that returns the database of the test's own server, when that is up."""
    clients: list[Any] = []

    def connect() -> Any:
        clients.append(Driver("pymongo").connect(daemon.uri))
        return clients[-1]["gnomon"]

    yield connect
    for client in clients:
        await client.close()


# With a kernel


async def test_jobs_go_on_while_the_server_hangs_for_longer_than_the_lease(
    daemon: Any, settings: dict[str, Any], tmp_path: Path, eventually: Eventually
) -> None:
    async def body() -> str:
        return "done"

    async def go_on(kernel: Kernel) -> int:
        runs, until = 0, time.monotonic() + 6
        while time.monotonic() < until:
            ended = await kernel.wait((await kernel.trigger("often", actor="ann")).execution.id)
            assert ended.status == "success"
            runs += 1
            await asyncio.sleep(0.1)
        assert kernel.health().state == "degraded"
        return runs

    daemon.start()
    async with AsyncExitStack() as stack:
        drivers: tuple[DriverName, ...] = ("motor", "pymongo")
        stores = [
            MongoStore(daemon.uri, name, driver=Driver(name), **settings | {"spool": tmp_path / name})
            for name in drivers
        ]
        jobs = [Job(id="often", func=body, overlap="allow")]
        kernels = [await stack.enter_async_context(Kernel(store=store, jobs=jobs)) for store in stores]
        daemon.send(signal.SIGSTOP)

        runs = await asyncio.gather(*map(go_on, kernels))

        daemon.send(signal.SIGCONT)
        for store, many in zip(stores, runs, strict=True):
            await eventually(partial(is_healthy, store))
            check_log(await store.read(limit=100_000), await every_execution(store), await store.jobs())
            assert (await store.executions(ExecutionQuery())).total == many > 1
            assert await store.differences() == []


def is_healthy(store: MongoStore) -> bool:
    return store.health().state == "healthy"


async def every_execution(store: MongoStore) -> list[Execution]:
    found, page = [], await store.executions(ExecutionQuery(limit=200))
    while True:
        found += page.items
        if page.next is None:
            return found
        page = await store.executions(ExecutionQuery(limit=200, cursor=page.next))
