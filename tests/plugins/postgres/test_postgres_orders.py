"""Orders through PostgreSQL: the contract, directly and through a pooler, and what only this channel has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import gnomon_postgres
from gnomon import Job, Kernel
from gnomon.errors import GnomonError, NoLeaderError, OrderLostError
from gnomon.ports import OrderChannel
from gnomon.testing.order_channel_contract import PATIENCE_S, Handler, OrderChannelContract, order_of
from gnomon_postgres import PostgresStore
from gnomon_shared_log.orders import order_receiver
from servers import eventually

MakeStore = Callable[[str], PostgresStore]


@pytest.fixture
async def make_store(tmp_path: Path, database: str) -> AsyncIterator[MakeStore]:
    """Provide a function that makes stores, closed before the database is dropped: a pooler would wait for it."""
    async with AsyncExitStack() as stack:

        def make(dsn: str) -> PostgresStore:
            settings: dict[str, Any] = {"timeout": timedelta(seconds=45), "lease": timedelta(seconds=50)}
            store = PostgresStore(dsn, spool=tmp_path / "spool.db", **settings)
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture
async def leader(make_store: MakeStore, dsn: str) -> PostgresStore:
    store = make_store(dsn)
    await store.open()
    return store


class TestPostgresOrderChannel(OrderChannelContract):
    """Both ends directly; the next class has them behind a pooler, which delivers no notices."""

    @pytest.fixture
    def address(self, dsn: str) -> str:
        return dsn

    @pytest.fixture
    async def leading(self, make_store: MakeStore, address: str) -> OrderChannel:
        store = make_store(address)
        await store.open()
        return store.orders()

    @pytest.fixture
    async def following(self, make_store: MakeStore, address: str, leading: OrderChannel) -> OrderChannel:
        """Provide the channel of a store that is never opened, as of a command."""
        return make_store(address).orders()


class TestPooledOrderChannel(TestPostgresOrderChannel):
    @pytest.fixture
    def address(self, pooled_dsn: str) -> str:
        return pooled_dsn


async def test_an_order_is_received_by_a_notice_where_nobody_looks(
    leader: PostgresStore, make_store: MakeStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_receiver, "LONGEST_S", 3600.0)
    handler = Handler()
    handler.release.set()
    async with leader.orders().serve(handler):
        async with leader._server.reading() as connection:
            await eventually(lambda: is_listening(connection))
        await make_store(dsn).orders().submit(order_of({}), PATIENCE_S)


async def is_listening(connection: Any) -> bool:
    """Return whether a session waits for notices."""
    found = await connection.fetch_one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    return bool(found[0])


async def test_a_new_leader_does_not_carry_out_what_an_older_one_had_claimed(
    leader: PostgresStore, make_store: MakeStore, dsn: str
) -> None:
    table, sender = leader._tables.orders, make_store(dsn)
    await table.place(order_of(1, id="claimed"), PATIENCE_S)
    assert [one.order.id for one in await table.claim(["claimed"], "an older leader", "mark")] == ["claimed"]
    assert [one.order.id for one in await table.claim(["claimed"], "an older leader", "mark")] == ["claimed"]
    assert await table.claim(["claimed"], "another leader", "other mark") == []
    handler = Handler()
    handler.release.set()

    async with leader.orders().serve(handler):
        with pytest.raises(OrderLostError, match="may have been carried out"):
            await sender.orders().submit(order_of(1, id="claimed"), PATIENCE_S)
        await sender.orders().submit(order_of(2, id="next"), PATIENCE_S)
    assert [order.id for order in handler.received] == ["next"]


async def test_an_order_of_a_sender_that_died_is_not_carried_out_after_its_limit(
    leader: PostgresStore, make_store: MakeStore, dsn: str
) -> None:
    table = leader._tables.orders
    for name, limit_s in (("late", 5.0), ("in_time", 3600.0)):
        await table.place(order_of({}, id=name), limit_s)
    async with leader._server.writing() as connection:
        await connection.execute("UPDATE {schema}.orders SET placed = placed - interval '1 minute'")
    handler = Handler()
    handler.release.set()

    async with leader.orders().serve(handler):
        await handler.has_received(1)
        with pytest.raises(NoLeaderError):
            await make_store(dsn).orders().submit(order_of({}, id="late"), PATIENCE_S)
    assert [order.id for order in handler.received] == ["in_time"]


async def test_old_orders_are_deleted(leader: PostgresStore) -> None:
    table = leader._tables.orders
    for name in ("old", "new"):
        await table.place(order_of({}, id=name), PATIENCE_S)
    async with leader._server.writing() as connection:
        await connection.execute("UPDATE {schema}.orders SET kept = kept - interval '61 minutes' WHERE id = 'old'")

    await table.waiting(10)

    assert list(await table.look(["old", "new"])) == ["new"]


async def test_an_order_that_is_too_large_is_refused_and_nothing_was_sent_to_a_server_that_is_away(
    leader: PostgresStore, make_store: MakeStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(leader._tables.orders), "most_bytes", 1000)
    with pytest.raises(GnomonError, match="split it"):
        await make_store(dsn).orders().submit(order_of("x" * 2000), PATIENCE_S)
    with pytest.raises(NoLeaderError, match="nothing was done"):
        await make_store("postgresql://gnomon@127.0.0.1:1/gnomon").orders().submit(order_of({}), 0.1)


@pytest.mark.parametrize("address", ["dsn", "pooled_dsn"])
async def test_a_kernel_carries_out_the_orders_of_transactions(
    address: str, dsn: str, make_store: MakeStore, request: pytest.FixtureRequest
) -> None:
    async def double(number: int) -> int:
        return 2 * number

    store = make_store(request.getfixturevalue(address))
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as application:
        await store.open()  # which makes the tables
        early = await gnomon_postgres.trigger(application, "double", kwargs={"number": 7})
        assert await store.waiting_orders() == 1
        await store.close()
        async with Kernel(store=store, jobs=[Job(id="double", func=double)]) as kernel:
            late = await gnomon_postgres.trigger(application, "double", kwargs={"number": 8})
            await eventually(lambda: is_done(application, early.id, late.id))
            ends = await kernel.wait_many([early.execution_id or "", late.execution_id or ""])

    assert [run.return_value for run in ends] == [14, 16]


async def is_done(application: Any, *orders: str) -> bool:
    found = [await gnomon_postgres.order_outcome(application, one) for one in orders]
    return all(one is not None and one.state == "done" for one in found)
