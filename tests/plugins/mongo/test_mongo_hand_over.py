"""How soon a process that follows leads after the one that led: what it waits for, and how often it asks the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from pymongo import monitoring

from gnomon import Duration, Job, Kernel
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Client, Driver
from gnomon_mongo.lease_table import lease_row_of
from gnomon_shared_log import lease_watch
from gnomon_shared_log.lease_watch import LeaseWatch
from moved_clock import Hand
from servers import eventually

MakeStore = Callable[..., MongoStore]
ELSEWHERE = {"_id": "writer", "token": "theirs", "epoch": 3, "renewals": 8, "node": "b", "pid": 7, "place": "b"}
NEVER_S = 3600.0
MOST_ROUNDS = 24
"""Of requests, from the connection to the first event of a kernel that takes over. One by one there were 38."""


class Rounds(monitoring.CommandListener):
    """Counts the rounds of requests since the last connection, up to the first append: those in one round overlap."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.rounds = self._open = 0
        self.has_appended = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        is_append = event.command.get("update") == schema.EVENTS and len(event.command["updates"]) > 1
        self.has_appended = self.has_appended or is_append  # its first statement checks the fence
        if not self._open and not self.has_appended:
            self.rounds += 1
        self._open += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._open -= 1

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._open -= 1


class CountedDriver(Driver):
    """A driver whose connections begin the count again."""

    def __init__(self) -> None:
        super().__init__("pymongo")
        self.requests = Rounds()

    def connect(self, uri: str, **options: Any) -> Client:
        self.requests.begin()
        return super().connect(uri, event_listeners=[self.requests], **options)


@pytest.fixture
def driver() -> CountedDriver:
    """Nothing here is about the driver but what it asks the server."""
    return CountedDriver()


def kernel_on(store: MongoStore, node: str) -> Kernel:
    hourly = Job(id="hourly", func="time:time", every=Duration(hours=1))
    return Kernel(role="auto", store=store, node=node, jobs=[hourly], drain=timedelta(0))


async def leads(kernel: Kernel) -> None:
    await eventually(lambda: not kernel.is_changing and kernel.health().role == "leader")


async def test_a_row_is_looked_at_in_the_moment_in_which_it_becomes_free() -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    watch.note(lease_row_of(ELSEWHERE))
    assert 0 < watch.seconds_to_look() <= lease_watch.LOOK_S
    clock.time += 9.99

    assert watch.seconds_to_look() == pytest.approx(0.01)
    with watch.fed():
        assert watch.seconds_to_look() == pytest.approx(0.01)

    clock.time += 0.01
    assert watch.is_free()
    watch.note(lease_row_of(ELSEWHERE | {"cut_off": "run"}))
    clock.time += 9.999
    assert watch.seconds_to_look() > 0.001  # nobody may take that one


async def test_a_release_is_looked_for_often_only_until_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    monkeypatch.setattr(lease_watch, "LOOK_S", NEVER_S)
    for after in (ELSEWHERE | {"token": "next"}, None):
        watch.note(lease_row_of(ELSEWHERE))
        watch.expect_release()
        watch.note(lease_row_of(ELSEWHERE | {"renewals": 9}))
        assert watch.seconds_to_look() == lease_watch.RELEASE_LOOK_S
        watch.note(lease_row_of(after))
        assert watch.seconds_to_look() > lease_watch.RELEASE_LOOK_S

    watch.note(lease_row_of(ELSEWHERE))
    watch.expect_release()
    clock.time += lease_watch.RELEASE_LIMIT_S
    watch.note(lease_row_of(ELSEWHERE | {"renewals": 9}))
    assert watch.seconds_to_look() > lease_watch.RELEASE_LOOK_S


async def test_a_follower_looks_for_the_release_as_soon_as_the_leader_has_recorded_its_stop(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause(*_: object) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(MongoStore, "wait_for_events", pause)  # it notes the row, and reports each change of it
    monkeypatch.setattr(lease_watch, "LOOK_S", NEVER_S)
    lease = timedelta(seconds=NEVER_S)
    first, second = (kernel_on(make_store(lease=lease), node) for node in ("first", "second"))
    async with AsyncExitStack() as stack:
        async with first:
            await stack.enter_async_context(second)
            assert second.health().role == "follower"
        await leads(second)


async def test_a_take_over_waits_for_few_requests_until_its_first_event(
    make_store: MakeStore, driver: CountedDriver
) -> None:
    mine = CountedDriver()
    first, second = kernel_on(make_store(), "first"), kernel_on(make_store(driver=mine), "second")
    async with AsyncExitStack() as stack:
        async with first:
            await stack.enter_async_context(second)
            for _ in range(3):
                await first.wait((await first.trigger("hourly")).execution.id)
        await leads(second)

        assert mine.requests.has_appended
        assert mine.requests.rounds <= MOST_ROUNDS
