"""A database that has lost what it had acknowledged, after a rollback or from a backup: told, and nothing on top."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from append_writer import AppendWriter
from gnomon import Job, Kernel
from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.errors import DeposedError, StoreError
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Driver
from gnomon_shared_log.errors import LostEventsError

MakeStore = Callable[..., MongoStore]
Eventually = Callable[[Callable[[], Any]], Awaitable[None]]

pytestmark = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)  # nothing here is about the driver


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    return settings | {"lease": timedelta(seconds=60)}


def run(number: int, after: int) -> list[Event]:
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: MongoStore, batch: list[Event]) -> None:
    await store.append(batch, [execution.fold(batch)], [])


async def positions(database: Any) -> list[int]:
    found = database[schema.EVENTS].find({"_id": {"$gt": 0}}, {"_id": 1}).sort("_id", 1)
    return [document["_id"] async for document in found]


async def roll_back(database: Any, to: int) -> None:
    """Delete the newest events and all that came with them, as a restored backup lacks them."""
    await database[schema.EVENTS].delete_many({"_id": {"$gt": to}})
    await database[schema.EXECUTIONS].delete_many({"version": {"$exists": True}, "gnomon.view": {"$exists": True}})


async def test_nothing_is_written_on_top_of_events_that_are_lost(store: MongoStore, database: Any) -> None:
    for number in range(3):
        await keep(store, run(number, 3 * number))
    await roll_back(database, to=4)

    with (
        capture_logs() as logs,
        pytest.raises(LostEventsError, match="events 5 to 9 are missing, its newest event is 4"),
    ):
        await keep(store, run(3, 9))

    assert await positions(database) == [1, 2, 3, 4]
    health = store.health()
    assert (health.state, health.accepts_runs) == ("degraded", False)
    assert "events 5 to 9 are missing" in str(health.problem)
    assert [line["log_level"] for line in logs] == ["critical"]
    with pytest.raises(LostEventsError):
        await keep(store, run(3, 9))
    assert await positions(database) == [1, 2, 3, 4]


async def test_an_event_that_was_replaced_is_not_the_one_before(store: MongoStore, database: Any) -> None:
    await keep(store, run(1, 0))
    await database[schema.EVENTS].update_one({"_id": 3}, {"$set": {"node": "another"}})

    with pytest.raises(LostEventsError, match="event 3 is another one"):
        await keep(store, run(2, 3))

    assert await positions(database) == [1, 2, 3]


async def test_a_database_that_was_dropped_gets_no_event_either(store: MongoStore, database: Any) -> None:
    await keep(store, run(1, 0))
    await database[schema.EVENTS].drop()

    with pytest.raises(LostEventsError, match="events 1 to 3 are missing"):
        await keep(store, run(2, 3))

    assert await positions(database) == []


async def test_a_kernel_stops_loudly_and_starts_nothing_more(store: MongoStore, database: Any) -> None:
    await store.close()
    async with Kernel(store=store, jobs=[Job(id="x", func=print)], drain=timedelta(0)) as kernel:
        await kernel.wait((await kernel.trigger("x")).execution.id)
        await roll_back(database, to=2)
        with pytest.raises(DeposedError, match="are missing"):
            await kernel.trigger("x")
        health = kernel.health()

    assert health.state == "deposed"
    assert "has lost acknowledged events" in str(health.problem)
    assert await positions(database) == [1, 2]


async def test_a_backup_that_is_restored_while_no_kernel_runs_stops_the_start(
    make_store: MakeStore, store: MongoStore, database: Any, tmp_path: Path
) -> None:
    await keep(store, run(1, 0))
    await keep(store, run(2, 3))
    await store.close()
    await roll_back(database, to=3)

    again = make_store()
    for start in (lambda: again.try_connection("leader"), again.open):
        with pytest.raises(
            StoreError, match=r"events 4 to 6 are missing.* or rename the spool .*spool.db to start without"
        ):
            await start()

    assert await positions(database) == [1, 2, 3]
    (tmp_path / "spool.db").rename(tmp_path / "old-spool.db")
    assert "a log at event 3" in await again.try_connection("leader")
    await again.open()
    await keep(again, run(3, 3))
    assert await positions(database) == [1, 2, 3, 4, 5, 6]


async def test_other_events_in_the_place_of_acknowledged_ones_are_noticed_at_a_start(
    make_store: MakeStore, store: MongoStore, database: Any, tmp_path: Path
) -> None:
    await keep(store, run(1, 0))
    await keep(store, run(2, 3))
    await store.close()
    await roll_back(database, to=3)
    async with make_store(spool=tmp_path / "other.db") as other:  # on another machine
        await keep(other, run(7, 3))
        await keep(other, run(8, 6))

    with pytest.raises(StoreError, match="event 6 is another one"):
        await make_store().open()


async def test_a_standby_elsewhere_does_not_lead_without_the_events_that_it_has_read(
    make_store: MakeStore, store: MongoStore, database: Any, eventually: Eventually, tmp_path: Path
) -> None:
    await keep(store, run(1, 0))
    async with Kernel(store=make_store(spool=tmp_path / "other.db")) as standby:
        await keep(store, run(2, 3))
        await eventually(lambda: standby.health().position == 6)

        await roll_back(database, to=3)
        await store.close()  # its lease is free then

        lost = "nobody leads the log, and this kernel cannot: .*events 4 to 6 are missing, its newest event is 3"
        await eventually(lambda: re.search(lost, str(standby.health().problem)))
    with pytest.raises(StoreError, match="events 4 to 6 are missing"):  # also after a restart
        await make_store(spool=tmp_path / "other.db").open()
    assert await positions(database) == [1, 2, 3]


async def test_a_killed_kernel_has_recorded_what_was_acknowledged_to_it(
    make_store: MakeStore, server_uri: str, database: Any, tmp_path: Path
) -> None:
    place = f"{server_uri.rstrip('/')}/{database.name}?directConnection=true"
    writer = AppendWriter(place, tmp_path / "spool.db", "pymongo", lease_s=600)  # not renewed meanwhile
    try:
        writer.expect(3)
        acknowledged = writer.kill()
    finally:
        writer.close()
    await roll_back(database, to=acknowledged - 1)

    with pytest.raises(StoreError, match=rf"events {acknowledged} to \d+ are missing, its newest event is"):
        await make_store().open()


async def test_what_retention_has_deleted_is_not_lost(make_store: MakeStore, store: MongoStore, database: Any) -> None:
    await keep(store, run(1, 0))
    await store.prune(NOON + timedelta(days=1))
    assert await positions(database) == []
    await keep(store, run(2, 3))
    await store.close()

    again = make_store()
    await again.open()
    await again.prune(NOON + timedelta(days=1))
    await again.close()
    third = make_store()
    await third.open()
    await keep(third, run(3, 6))

    assert await positions(database) == [7, 8, 9]
    assert third.health().state == "healthy"


async def test_an_event_that_is_written_again_stays_as_it_is(store: MongoStore, database: Any) -> None:
    await keep(store, run(1, 0))
    before = [document async for document in database[schema.EVENTS].find({})]
    assert store._writer is not None
    store._writer.head, store._writer._newest = 0, None  # as after an answer that did not arrive

    await keep(store, run(1, 0))

    assert [document async for document in database[schema.EVENTS].find({})] == before


async def test_what_waited_in_the_spool_is_not_written_on_top_of_a_gap(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    settings = settings | {"timeout": timedelta(seconds=2), "lease": timedelta(seconds=5), "database": "log"}
    settings |= {"patience": timedelta(seconds=60), "cut_off": "run"}
    async with MongoStore(daemon.uri, driver=driver, **settings) as store:
        await keep(store, run(1, 0))
        client = driver.connect(daemon.uri)
        daemon.kill()
        await keep(store, run(2, 3))
        held, store._writer._spool.first = store._writer._spool.first, _nothing  # type: ignore[union-attr, method-assign]
        daemon.start()
        database = client["log"]
        await database[schema.EVENTS].delete_many({"_id": 3})
        store._writer._spool.first = held  # type: ignore[union-attr, method-assign]

        await eventually(lambda: "event" in str(store.health().problem) and not store.health().accepts_runs)

        assert "events 3 to 3 are missing" in str(store.health().problem)
        assert await positions(database) == [1, 2]
    await driver.close(client)


async def _nothing() -> Any:
    raise StoreError("not yet")
