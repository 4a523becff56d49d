"""How soon a process that follows leads after the one that led: what it waits for, and how often it asks the server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from pymongo import monitoring

from gnomon import Duration, Job, Kernel
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Client, Driver
from servers import eventually

MakeStore = Callable[..., MongoStore]
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
