"""Changes of role: a store that follows, waits to lead, leads, is deposed and follows again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.errors import DeposedError, StoreInUseError
from gnomon.testing.histories import append, numbered, scheduled
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Client, Driver
from gnomon_mongo.lease_table import MongoLeaseTable, lease_row_of
from gnomon_mongo.server import Server
from gnomon_shared_log import lease
from gnomon_shared_log.lease import Lease
from gnomon_shared_log.lease_watch import LeaseWatch
from log_holder import holding
from moved_clock import Hand

MakeStore = Callable[..., MongoStore]
ELSEWHERE = {"_id": "writer", "token": "theirs", "epoch": 3, "renewals": 8, "node": "b", "pid": 7, "place": "b"}


class CountingDriver(Driver):
    """Counts the clients that are open."""

    def __init__(self) -> None:
        super().__init__("pymongo")
        self.open = self.made = 0

    def connect(self, uri: str, **options: Any) -> Client:
        self.open += 1
        self.made += 1
        return super().connect(uri, **options)

    async def close(self, client: Client) -> None:
        await super().close(client)
        self.open -= 1


@pytest.fixture
def driver() -> CountingDriver:
    """Nothing here is about the driver but how many clients it makes."""
    return CountingDriver()


async def test_a_row_that_a_follower_saw_unchanged_for_its_lease_is_taken_at_once(
    server_uri: str, database: Any, driver: CountingDriver
) -> None:
    await database[schema.KERNEL].insert_one(ELSEWHERE | {"seconds": 40.0})
    clock, server = Hand(), Server(server_uri, database.name, driver, 45.0)
    await server.connect()
    table = MongoLeaseTable(server)
    candidate = Lease(table, 10.0, "hold", clock)
    await candidate.watch.look(table)
    clock.time += 39.9
    await candidate.watch.look(table)
    assert not candidate.watch.is_free()
    clock.time += 0.1
    assert candidate.watch.is_free()

    await candidate.acquire()  # this clock stands still: it would wait for ever

    assert candidate.term().epoch == 4
    await candidate.release()
    await server.close()


async def test_a_renewal_begins_the_count_of_a_follower_again() -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    watch.note(lease_row_of(ELSEWHERE))
    clock.time += 9.0
    watch.note(lease_row_of(ELSEWHERE | {"renewals": 9}))
    clock.time += 9.0
    assert not watch.is_free()
    watch.note(lease_row_of(ELSEWHERE | {"renewals": 9}))
    clock.time += 1.0

    assert watch.is_free()
    watch.note(lease_row_of(ELSEWHERE | {"renewals": 9, "cut_off": "run"}))
    assert not watch.is_free()
    watch.note(None)
    assert watch.is_free()


async def test_the_tail_of_a_follower_is_enough_to_notice_that_the_leader_has_stopped(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = make_store(), make_store()
    await leader.open()
    await append(leader, scheduled())
    await follower.open(read_only=True)
    follower._lease.watch._now = Hand()  # so no time passes after which it would look itself
    await follower.head()
    looks: list[object] = []
    monkeypatch.setattr(LeaseWatch, "look", lambda _, table: looks.append(table))
    waiting = asyncio.ensure_future(follower.wait_until_free())

    for _ in range(5):
        assert await follower.head() == 1
        assert not waiting.done()
    monkeypatch.undo()
    await leader.close()
    monkeypatch.setattr(LeaseWatch, "look", lambda _, table: looks.append(table))
    assert await follower.head() == 1

    await waiting
    assert looks == []


async def test_an_operator_looks_at_the_holder_beside_an_open_store(
    make_store: MakeStore, driver: CountingDriver
) -> None:
    leader, follower = make_store(lease=timedelta(seconds=2)), make_store()  # the leader renews soon
    await leader.open()
    await append(leader, scheduled())
    await follower.open(read_only=True)
    open_before = driver.open

    holder = await follower.holder()

    assert holder is not None
    assert driver.open == open_before
    assert await follower.head() == 1


async def test_no_client_is_left_of_changes_of_role(make_store: MakeStore, driver: CountingDriver) -> None:
    first, second = make_store(), make_store()
    owners = []
    await first.open()
    await append(first, scheduled())
    for _ in range(3):
        await second.open(read_only=True)
        await first.close()
        await second.wait_until_free()
        await second.close()
        await second.wait_until_free()
        await second.open()
        owners.append(second._lease.term().owner)
        with pytest.raises(StoreInUseError):
            await first.open()
        first, second = second, first

    assert driver.open == 1
    assert len(set(owners)) == 3
    await first.close()
    assert driver.open == 0


async def test_a_deposed_store_follows_and_leads_again(
    make_store: MakeStore, driver: CountingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_store(), make_store()
    await first.open()
    await append(first, scheduled())
    owner = first._lease.term().owner
    await first._server[schema.KERNEL].delete_one({"_id": "writer"})  # as `gnomon takeover` does
    await second.open()
    await append(second, scheduled("second"))

    with pytest.raises(DeposedError):
        await first.append(numbered(scheduled("late"), after=1), [], [])
    assert first.health().state == "lost"
    await first.close()
    await first.open(read_only=True)

    assert first.health().state == "healthy"
    assert [event.job_id for event in await first.read()] == ["sync", "second"]
    waiting = asyncio.ensure_future(first.wait_until_free())
    await second.close()
    await waiting
    await first.close()
    await first.open()
    await append(first, scheduled("third"))
    assert first.health().state == "healthy"
    assert first._lease.term().owner != owner
    await first.close()
    assert driver.open == 0


# A stopped process keeps its spool

HOLDER = """
import asyncio, sys
from datetime import timedelta
from gnomon.testing.histories import append, scheduled
from gnomon_mongo import MongoStore

async def main():
    uri, database, spool = sys.argv[1:]
    lease = {"lease": timedelta(seconds=1), "timeout": timedelta(milliseconds=900)}
    async with MongoStore(uri, database, spool=spool, **lease) as store:
        await append(store, scheduled())
        print("open", flush=True)
        while store.health().state != "lost":
            await asyncio.sleep(0.05)
asyncio.run(main())
"""


@pytest.fixture
def holder(server_uri: str, database: Any, settings: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Provide a process that leads, with the configuration of the test's own stores."""
    with holding(HOLDER, server_uri, database.name, str(settings["spool"])) as process:
        yield process


async def test_a_stopped_process_does_not_keep_another_one_of_its_configuration_from_leading(
    make_store: MakeStore, holder: subprocess.Popen[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.send_signal(signal.SIGSTOP)
    store = make_store()
    monkeypatch.setattr(LeaseWatch, "lasts", lambda _, row: 1.0)
    monkeypatch.setattr(lease, "LOOK_S", 0.05)
    await store.open(read_only=True)
    await store.wait_until_free()
    await store.close()
    await store.open()

    assert store._spool.path == settings["spool"].with_name("spool-2.db")
    await append(store, scheduled("second"))
    holder.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(holder.wait, 60) == 0
    await store.close()
    await store.open()
    assert store._spool.path == settings["spool"]


async def test_a_spool_with_acknowledged_events_is_never_passed_by(
    make_store: MakeStore, server_uri: str, driver: CountingDriver, settings: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (
        make_store(cut_off="run"),
        MongoStore(server_uri, "gnomon_other", driver=driver, cut_off="run", **settings),
    )
    await first.open()
    with pytest.raises(StoreInUseError, match=r"the spool .* is in use by another kernel"):
        await second.open()
    assert [path.name for path in tmp_path.glob("spool-*")] == []
    await first._server._db.client.drop_database("gnomon_other")
