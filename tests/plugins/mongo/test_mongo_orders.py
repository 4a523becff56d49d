"""Orders through the database: the contract on a real wire server, and what only this channel has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError, NoLeaderError, OrderLostError, StoreError
from gnomon.ports import OrderChannel
from gnomon.testing.histories import append, scheduled
from gnomon.testing.order_channel_contract import Handler, OrderChannelContract, echo, order_of
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_mongo.log.order_table import MongoOrderTable
from gnomon_shared_log.orders import order_channel, order_receiver
from servers import eventually

MakeStore = Callable[..., MongoStore]
PATIENCE_S = 30.0
ELSEWHERE = {"place": "b", "node": "b", "pid": 7}


class TestMongoOrderChannel(OrderChannelContract):
    @pytest.fixture(params=["motor", "pymongo"])
    def driver(self, request: pytest.FixtureRequest) -> Driver:
        name: DriverName = request.param
        return Driver(name)

    @pytest.fixture
    async def leading(self, make_store: MakeStore) -> OrderChannel:
        store = make_store()
        await store.open()
        return store.orders()

    @pytest.fixture
    async def following(self, make_store: MakeStore) -> OrderChannel:
        """Provide the channel of a store that is never opened, as of a command."""
        return make_store().orders()


@pytest.fixture
def driver() -> Driver:
    """Nothing below is about the driver."""
    return Driver("pymongo")


@pytest.fixture
async def leader(make_store: MakeStore) -> MongoStore:
    store = make_store()
    await store.open()
    await append(store, scheduled())
    return store


@pytest.fixture
async def follower(make_store: MakeStore, leader: MongoStore) -> MongoStore:
    store = make_store()
    await store.open(read_only=True)
    return store


async def test_an_order_that_was_answered_has_the_same_answer_again(leader: MongoStore, follower: MongoStore) -> None:
    numbers: list[str] = []

    async def count(order: Order) -> Answer:
        numbers.append(order.id)
        return Answer(msgspec.Raw(b"%d" % len(numbers)))

    order = order_of({}, id="one")
    async with leader.orders().serve(count):
        assert bytes((await follower.orders().submit(order, PATIENCE_S)).result) == b"1"
        assert bytes((await follower.orders().submit(order, PATIENCE_S)).result) == b"1"
        twice = [follower.orders().submit(order_of({}, id="two"), PATIENCE_S) for _ in range(2)]
        assert [bytes(answer.result) for answer in await asyncio.gather(*twice)] == [b"2", b"2"]
    assert numbers == ["one", "two"]


async def test_a_new_leader_does_not_carry_out_what_an_older_one_had_claimed(
    leader: MongoStore, follower: MongoStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler()
    serving = leader.orders().serve(handler)
    await serving.__aenter__()
    sending = asyncio.create_task(follower.orders().submit(order_of(1, id="claimed"), PATIENCE_S))
    await handler.has_received(1)

    async def nothing(*_: Any, **__: Any) -> None:
        """Leave everything as it is, like a process that was killed."""

    with monkeypatch.context() as patched:
        patched.setattr(MongoOrderTable, "abandon", nothing)
        await serving.__aexit__(None, None, None)
    await leader.close()
    second, received = make_store(), Handler()
    received.release.set()
    await second.open()
    async with second.orders().serve(received):
        with pytest.raises(OrderLostError, match="may have been carried out"):
            await sending
        with pytest.raises(OrderLostError):  # nor if it is sent again
            await follower.orders().submit(order_of(1, id="claimed"), PATIENCE_S)
        await follower.orders().submit(order_of(2, id="next"), PATIENCE_S)
    assert [order.id for order in received.received] == ["next"]


async def test_the_sender_notices_that_the_leader_is_gone_while_nobody_follows_it(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_channel, "LEADER_LOOK_S", 0.05)
    handler = Handler()
    async with leader.orders().serve(handler):
        sending = asyncio.create_task(follower.orders().submit(order_of(1), PATIENCE_S))
        await handler.has_received(1)
        await leader._server[schema.KERNEL].delete_one({"_id": schema.WRITER})

        with pytest.raises(OrderLostError, match="leads no longer"):
            await sending


async def test_an_order_of_a_sender_that_died_is_not_carried_out_after_its_limit(
    leader: MongoStore, follower: MongoStore
) -> None:
    server = leader._server
    for name, limit_s in (("late", 5.0), ("in_time", 3600.0)):
        await MongoOrderTable(server).place(order_of({}, id=name), limit_s)
        document = await server[schema.ORDERS].find_one({"_id": name})
        assert document is not None
        await server[schema.ORDERS].update_one(
            {"_id": name}, {"$set": {"sent": document["sent"] - timedelta(seconds=60)}}
        )
    handler = Handler()
    handler.release.set()

    async with leader.orders().serve(handler):
        await handler.has_received(1)
        await eventually(lambda: _has(server, "late", "expired"))
        with pytest.raises(NoLeaderError):
            await follower.orders().submit(order_of({}, id="late"), PATIENCE_S)

    assert [order.id for order in handler.received] == ["in_time"]


async def test_an_order_is_claimed_once_though_the_reply_to_the_claim_is_lost(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, calls = MongoOrderTable.claim, []

    async def unheard(*args: Any) -> Any:
        found = await claim(*args)
        calls.append(found)
        if len(calls) == 1:
            raise StoreError("the reply was lost")
        return found

    monkeypatch.setattr(MongoOrderTable, "claim", unheard)
    handler = Handler()
    handler.release.set()
    async with leader.orders().serve(handler):
        await follower.orders().submit(order_of({}), PATIENCE_S)

    assert len(calls) == 2
    assert len(handler.received) == 1


async def test_a_leader_whose_lease_has_run_out_receives_nothing(leader: MongoStore, follower: MongoStore) -> None:
    leader._lease._trusted_until = float("-inf")
    handler = Handler()
    async with leader.orders().serve(handler):
        with pytest.raises(NoLeaderError):
            await follower.orders().submit(order_of({}), 0.5)
    assert handler.received == []


async def test_a_queued_order_whose_sender_was_killed_is_cancelled(
    leader: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_receiver, "GONE_S", 0.0)
    monkeypatch.setattr(order_receiver, "CHECK_S", 0.0)
    await MongoOrderTable(leader._server).place(order_of({}, waits=True), PATIENCE_S)
    handler = Handler()

    async with leader.orders().serve(handler):
        await handler.has_received(1)
        await handler.has_cancelled(1)


async def test_a_sender_survives_that_its_own_process_comes_to_lead(leader: MongoStore, follower: MongoStore) -> None:
    sending = asyncio.create_task(follower.orders().submit(order_of("x"), PATIENCE_S))
    await eventually(lambda: _has(leader._server, None, "waiting"))
    await leader.close()
    await follower.close()
    await follower.open()
    async with follower.orders().serve(echo):
        assert bytes((await sending).result) == b'"x"'


async def test_an_order_that_no_document_can_hold_is_refused(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MongoOrderTable, "most_bytes", 1000)

    async def large(order: Order) -> Answer:
        return Answer(msgspec.Raw(b'"' + b"x" * 2000 + b'"'))

    with pytest.raises(GnomonError, match="split it"):
        await follower.orders().submit(order_of("x" * 2000), PATIENCE_S)
    async with leader.orders().serve(large):
        answer = await follower.orders().submit(order_of({}), PATIENCE_S)
    assert answer.error is not None
    assert "was carried out; its answer has" in answer.error.message


async def test_without_a_server_nothing_was_done(tmp_path: Any) -> None:
    store = MongoStore("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200", driver=Driver("pymongo"), spool=tmp_path)

    with pytest.raises(NoLeaderError, match="nothing was done"):
        await store.orders().submit(order_of({}), 0.1)


async def test_answered_orders_expire_by_the_clock_of_the_server(leader: MongoStore) -> None:
    indexes = await leader._server[schema.ORDERS].index_information()

    assert indexes["kept_1"]["expireAfterSeconds"] == 3600
    await MongoOrderTable(leader._server).place(order_of({}, id="a"), 1.0)
    document = await leader._server[schema.ORDERS].find_one({"_id": "a"})
    assert document is not None
    assert document["kept"] == document["sent"]


async def _has(server: Any, order_id: str | None, field: str) -> bool:
    where = {field: True} if order_id is None else {"_id": order_id, field: True}
    return await server[schema.ORDERS].find_one(where) is not None
