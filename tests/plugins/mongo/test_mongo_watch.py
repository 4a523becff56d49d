"""What processes on a log ask the server while nothing happens: counted requests, with change streams and without."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymongo import AsyncMongoClient, monitoring

from gnomon.domain.events import Event
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.tasks import stop_tasks
from gnomon.testing.histories import append, scheduled
from gnomon.testing.order_channel_contract import Handler, order_of
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Client, Driver, DriverName
from gnomon_mongo.server import Server
from gnomon_shared_log import change_feed, log_watch
from gnomon_shared_log.lease import lease_watch
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.orders import order_receiver
from gnomon_shared_log.orders.order_receiver import OrderReceiver
from moved_clock import Hand
from proxies import proxied
from servers import eventually

MakeStore = Callable[..., MongoStore]


class Requests(monitoring.CommandListener):
    """Counts the requests of some clients, by command."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.made[event.command_name] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


class CountedDriver(Driver):
    """A driver whose clients are counted, those for change streams, too."""

    def __init__(self, name: DriverName) -> None:
        super().__init__(name)
        self.requests = Requests()

    def connect(self, uri: str, **options: Any) -> Client:
        return super().connect(uri, event_listeners=[self.requests], **options)

    def waiting(self) -> Driver:
        other = CountedDriver("pymongo")
        other.requests = self.requests
        return other


@pytest.fixture(params=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> CountedDriver:
    """The followers' driver: a leader has its own."""
    return CountedDriver(request.param)


@pytest.fixture
async def leader(make_store: MakeStore) -> MongoStore:
    store = make_store(driver=Driver("pymongo"))
    await store.open()
    await append(store, scheduled())
    return store


@asynccontextmanager
async def following(store: MongoStore) -> AsyncIterator[list[int]]:
    """Read the log as a kernel that follows does, and yield the positions that were read."""
    await store.open(read_only=True)
    seen: list[int] = []

    async def read() -> None:
        while True:
            events: list[Event] = []
            with suppress(StoreUnavailableError):
                events = await store.read(seen[-1] if seen else 0)
                if not events:
                    await store.wait_for_events(seen[-1] if seen else 0)
            seen.extend(event.position for event in events)

    task = asyncio.create_task(read())
    try:
        await eventually(lambda: seen)
        yield seen
    finally:
        await stop_tasks((task,))  # as a kernel does: the driver may swallow a cancellation
        await store.close()


async def asked_in_rounds(requests: Requests, rounds: int) -> Counter[str]:
    """Return what was asked in this number of rounds of the stream. 50 take longer than several looks without one."""
    before = requests.made.copy()
    await eventually(lambda: requests.made["getMore"] >= before["getMore"] + rounds)
    return requests.made - before


def without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("no change streams")

    monkeypatch.setattr(Server, "changes", refuse)


def pass_time_at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Remove the pauses between two looks of the watch over the log; return a list of those that were removed."""
    pauses: list[float] = []

    async def pause(interval_s: float) -> None:
        pauses.append(interval_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(log_watch, "next_tick", pause)
    return pauses


async def test_an_idle_follower_waits_for_the_stream_and_asks_for_nothing_else(
    leader: MongoStore, make_store: MakeStore, driver: CountedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "AWAIT_S", 0.02)  # many rounds of the stream, which take 5 s otherwise
    monkeypatch.setattr(lease_watch, "FED_LOOK_S", 0.01)
    store = make_store()
    async with following(store) as seen:
        free = asyncio.ensure_future(store.wait_until_free())
        await eventually(lambda: store._watch.feed.stream)
        for _ in range(5):  # the first look after the stream has begun, and a look before that may come late
            asked = await asked_in_rounds(driver.requests, 50)
            if set(asked) == {"getMore"}:
                break

        assert set(asked) == {"getMore"}
        assert not free.done()
        free.cancel()
        assert seen == [1]


async def test_a_follower_is_told_of_each_append_and_reads_every_event(
    leader: MongoStore, make_store: MakeStore
) -> None:
    store = make_store()
    async with following(store) as seen:
        await eventually(lambda: store._watch.feed.stream)
        for number in range(2, 12):
            await append(leader, scheduled(f"job{number}"))
            if number % 3:
                await eventually(lambda position=number: seen[-1] == position)  # type: ignore[misc]
        await eventually(lambda: seen[-1] == 11)
        assert seen == list(range(1, 12))


async def test_a_released_lease_is_noticed_through_the_stream(
    leader: MongoStore, make_store: MakeStore, driver: CountedDriver
) -> None:
    store = make_store()
    async with following(store):
        store._lease.watch._now = Hand()  # no time passes after which the watch would look by itself
        free = asyncio.ensure_future(store.wait_until_free())
        await eventually(lambda: store._watch.feed.stream and store._watch._followed)
        before = driver.requests.made.copy()

        await leader.close()

        await free
        assert driver.requests.made["find"] <= before["find"] + 1


async def test_renewals_are_noted_without_a_request(
    leader: MongoStore, make_store: MakeStore, driver: CountedDriver
) -> None:
    store = make_store()
    async with following(store):
        watch = store._lease.watch
        watch._now = clock = Hand()
        await eventually(lambda: store._watch.feed.stream and store._watch._followed and watch._row)
        before = driver.requests.made.copy()
        for _ in range(3):
            assert watch._row is not None
            renewals = watch._row.renewals
            clock.time += 40.0  # of 50
            await leader._lease.renew()
            await eventually(lambda before=renewals: getattr(watch._row, "renewals", 0) > before)  # type: ignore[misc]
            assert watch.unchanged_for(watch._row) == 0.0
        assert not watch.is_free()
        assert set(driver.requests.made - before) <= {"getMore"}


async def test_an_event_between_two_streams_is_not_missed(
    leader: MongoStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "REST_S", 0.0)
    monkeypatch.setattr(change_feed, "AWAIT_S", 0.02)
    store = make_store()
    await store.open(read_only=True)
    waiting = asyncio.ensure_future(store.wait_for_events(1))
    await eventually(lambda: store._watch.feed.stream)
    waiting.cancel()
    await eventually(lambda: not store._watch.feed.stream)  # nobody waits, so it was closed
    await append(leader, scheduled("second"))

    await store.wait_for_events(1)

    assert [event.position for event in await store.read(1)] == [2]
    await store.close()


async def test_a_follower_whose_connections_are_cut_reads_on(
    leader: MongoStore,
    make_store: MakeStore,
    server_uri: str,
    database: Any,
    settings: dict[str, Any],
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(change_feed, "FIRST_RETRY_S", 0.01)
    async with proxied(server_uri) as proxy:
        uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        store = MongoStore(uri, database.name, driver=Driver("pymongo"), **settings)
        async with following(store) as seen:
            for number in range(2, 8):
                await eventually(lambda: store._watch.feed.stream)
                proxy.cut()
                await append(leader, scheduled(f"job{number}"))
                await eventually(lambda position=number: seen[-1] == position)  # type: ignore[misc]
            assert seen == list(range(1, 8))


async def test_a_follower_without_change_streams_asks_once_for_events_and_lease(
    leader: MongoStore, make_store: MakeStore, driver: CountedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_streams(monkeypatch)
    pauses = pass_time_at_once(monkeypatch)
    store = make_store()
    async with following(store) as seen:
        free = asyncio.ensure_future(store.wait_until_free())
        await eventually(lambda: len(pauses) > 10)
        before, begun = driver.requests.made.copy(), len(pauses)
        await eventually(lambda: len(pauses) >= begun + 100)
        made = driver.requests.made - before

        assert set(made) == {"aggregate"}
        assert made["aggregate"] <= len(pauses) - begun + 1
        assert not free.done()

        await append(leader, scheduled("second"))
        await eventually(lambda: seen == [1, 2])
        await leader.close()
        await free


# --- the leader, and orders ---


@pytest.fixture
async def counted_leader(make_store: MakeStore) -> MongoStore:
    store = make_store()
    await store.open()
    await append(store, scheduled())
    return store


@asynccontextmanager
async def serving(leader: MongoStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Handler, OrderReceiver]]:
    """Receive orders, as soon as the server reports them: no other look is left."""
    receivers: list[OrderReceiver] = []
    run = OrderReceiver.run

    async def noted(self: OrderReceiver) -> None:
        receivers.append(self)
        await run(self)

    monkeypatch.setattr(OrderReceiver, "run", noted)
    monkeypatch.setattr(order_receiver, "LONGEST_S", 1e9)
    handler = Handler()
    handler.release.set()
    async with leader.orders().serve(handler):
        await eventually(lambda: receivers and receivers[0].feed.stream and receivers[0].feed._waiting)
        yield handler, receivers[0]


async def test_an_idle_leader_waits_for_the_stream_and_asks_for_no_orders(
    counted_leader: MongoStore, driver: CountedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "AWAIT_S", 0.02)
    requests = driver.requests.made
    async with serving(counted_leader, monkeypatch):
        begun = requests["getMore"]
        await eventually(lambda: requests["getMore"] >= begun + 10)  # the look after the stream has begun is over
        before = requests.copy()
        await eventually(lambda: requests["getMore"] >= before["getMore"] + 20)
        assert set(requests - before) <= {"getMore", "findAndModify"}  # which renews the lease


async def test_a_leader_that_rests_receives_each_order(
    counted_leader: MongoStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = make_store().orders()
    async with serving(counted_leader, monkeypatch) as (handler, receiver):
        for number in range(4):
            await channel.submit(order_of(number, id=f"order-{number}"), 60.0)
            if number % 2:  # also in the moment in which it looks often
                await eventually(lambda: receiver.feed._waiting)
        assert [order.id for order in handler.received] == [f"order-{number}" for number in range(4)]


async def test_an_order_that_came_while_the_lease_had_lapsed_is_received_afterwards(
    counted_leader: MongoStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = [True]
    monkeypatch.setattr(Lease, "is_trusted", property(lambda _: trusted[0]))
    channel = make_store().orders()
    async with serving(counted_leader, monkeypatch) as (handler, receiver):
        trusted[0] = False
        sending = asyncio.create_task(channel.submit(order_of(1), 60.0))
        placed = receiver._placed.count
        await eventually(lambda: receiver._placed.count > placed)
        assert handler.received == []
        trusted[0] = True
        await sending


async def test_a_document_of_another_program_among_the_events_does_not_end_the_stream(
    leader: MongoStore, make_store: MakeStore, database: Any
) -> None:
    store = make_store()
    async with following(store) as seen:
        await eventually(lambda: store._watch.feed.stream and store._watch._followed)
        stream = store._watch.feed.stream
        await database[schema.EVENTS].insert_one({"stream": "theirs", "version": 1})
        await append(leader, scheduled("second"))
        await eventually(lambda: seen == [1, 2])
        assert store._watch.feed.stream == stream


async def test_the_change_streams_of_a_sharded_cluster_are_not_used(
    leader: MongoStore, make_store: MakeStore, driver: CountedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def yes() -> bool:
        return True

    monkeypatch.setattr(AsyncMongoClient, "is_mongos", property(lambda _: yes()))
    store = make_store()
    async with following(store) as seen:
        await append(leader, scheduled("second"))
        await eventually(lambda: seen == [1, 2])
        assert not store._watch.feed.stream
    assert "getMore" not in driver.requests.made
