"""Views follow their events in groups: an append waits for its events only, and no view is lost or read too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from pymongo.errors import BulkWriteError

from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.domain.records import ExecutionQuery
from gnomon.testing import check_store
from gnomon.testing.histories import NOON, SECOND, job_added, job_states, numbered, succeeded
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.errors import TRANSIENT
from gnomon_mongo.lists import queries
from gnomon_mongo.server import Server
from gnomon_shared_log.writing import spooling_writer

MakeStore = Callable[..., MongoStore]

pytestmark = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)


class Gate:
    """Counts the calls to collections, and holds or refuses the writes of views."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.refuses = False
        self.written: list[tuple[str, int]] = []
        get = Server.__getitem__
        monkeypatch.setattr(Server, "__getitem__", lambda server, name: Gated(get(server, name), name, self))


class Gated:
    def __init__(self, collection: Any, name: str, gate: Gate) -> None:
        self._collection, self._name, self._gate = collection, name, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    async def bulk_write(self, requests: list[Any], **options: Any) -> Any:
        if self._name != schema.EVENTS:
            await self._gate.is_open.wait()
            if self._gate.refuses:
                code = next(iter(TRANSIENT))
                raise BulkWriteError({"writeErrors": [{"index": 0, "code": code}], "writeConcernErrors": []})
        self._gate.written.append((self._name, len(requests)))
        return await self._collection.bulk_write(requests, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def parts(number: int) -> tuple[list[Event], list[Event]]:
    """Return the appends in which a run starts and ends."""
    history = numbered(succeeded("sync", NOON + number * SECOND), after=3 * number)
    return history[:2], history[2:]


async def run(store: MongoStore, number: int) -> list[Event]:
    start, end = parts(number)
    await store.append(start, [execution.fold(start)], [])
    await store.append(end, [execution.fold([*start, *end])], [])
    return [*start, *end]


async def test_an_append_is_one_write_and_its_views_are_filed_together(gate: Gate, make_store: MakeStore) -> None:
    store = make_store()
    await store.open()
    gate.is_open.clear()
    gate.written.clear()

    histories = [await run(store, number) for number in range(5)]

    # The term, the event before, and one or two events, in one call.
    assert gate.written == [(schema.EVENTS, 2 + (number > 0) + (number % 2 == 0)) for number in range(10)]
    view = execution.fold(histories[4])
    assert await store.execution(view.id) == view
    assert len(await store.read()) == 15
    listing = asyncio.create_task(store.executions(ExecutionQuery()))
    gate.is_open.set()
    page = await listing
    assert [one.status for one in page.items] == ["success"] * 5
    filed = [count for name, count in gate.written if name == schema.EXECUTIONS]
    assert filed == [1, 5]  # what was added while the first one was held became one group, a view for each run
    await check_store(store)


async def test_views_that_a_killed_kernel_did_not_file_are_folded_by_the_next(
    gate: Gate, make_store: MakeStore, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling_writer, "FINISH_LIMIT_S", 0.0)
    store = make_store()
    await store.open()
    added = numbered(job_added("sync"))
    await store.append(added, [], job_states(added))
    await store.jobs()
    half = numbered(succeeded("sync", NOON), after=1)
    await store.append(half[:2], [execution.fold(half[:2])], [])
    await store.jobs()
    gate.is_open.clear()
    await store.append(half[2:], [execution.fold(half)], [])
    for number in range(1, 4):
        history = numbered(succeeded("sync", NOON + number * SECOND), after=1 + 3 * number)
        await store.append(history[:2], [execution.fold(history[:2])], [])
        await store.append(history[2:], [execution.fold(history)], [])
    await store.close()
    assert await database[schema.EXECUTIONS].count_documents({}) == 1
    assert {one["batch"] async for one in database[schema.EVENTS].find({"_id": {"$gt": 1}})} == {2, 4}

    gate.is_open.set()
    again = make_store()
    with monkeypatch.context() as at_once:  # a request for each of thousands of runs would put off a take-over
        for name in ("execution", "stream"):
            at_once.setattr(queries, name, AsyncMock(side_effect=AssertionError("read one by one")))
        await again.open()
    assert (await again.executions(ExecutionQuery())).total == 4
    await check_store(again)
