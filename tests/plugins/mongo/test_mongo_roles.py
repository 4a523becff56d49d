"""Changes of role: a store that follows, waits to lead, leads, is deposed and follows again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gnomon.errors import StoreInUseError
from gnomon.testing.histories import append, scheduled
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Client, Driver
from gnomon_shared_log.lease.lease_watch import LeaseWatch
from moved_clock import Hand

MakeStore = Callable[..., MongoStore]


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
