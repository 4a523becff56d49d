"""Orders in transactions of every kind: with savepoints, open for long, prepared, beside each other, and very large."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest

import gnomon_postgres
from gnomon import Kernel, RunOrder
from gnomon.domain.records import ExecutionQuery
from gnomon_postgres.log.change_source import PostgresChangeSource
from gnomon_postgres.orders import look_pace
from gnomon_postgres.orders.look_pace import LookPace
from gnomon_postgres.orders.pending_orders import PendingOrders
from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import Server
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.ports.changes import Placed
from order_receiving import Connection, carry_out_some, outcome_of
from postgres_servers import PostgresServer


async def test_an_order_goes_with_its_savepoint(application: Connection, receiver: TransactionalReceiver) -> None:
    async with application.transaction():
        first = await gnomon_postgres.trigger(application, "greet")
        async with application.transaction():
            second = await gnomon_postgres.trigger(application, "greet")
        await application.execute("SAVEPOINT later")
        gone = await gnomon_postgres.trigger(application, "greet")
        await application.execute("ROLLBACK TO SAVEPOINT later")
    assert await carry_out_some(receiver) == 2

    assert (await outcome_of(application, first)).state == (await outcome_of(application, second)).state == "done"
    assert await gnomon_postgres.order_outcome(application, gone.id) is None


async def test_an_order_of_a_transaction_that_was_open_for_long_is_not_passed_over(
    application: Connection, receiver: TransactionalReceiver, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as slow:
        early = await gnomon_postgres.trigger(slow, "greet")
        later = await gnomon_postgres.trigger_many(application, [RunOrder("greet") for _ in range(250)])
        await application.commit()
        while await carry_out_some(receiver):
            pass
        assert {(await outcome_of(application, order)).state for order in later} == {"done"}
        await slow.commit()
    assert await carry_out_some(receiver) == 1

    assert (await outcome_of(application, early)).state == "done"


async def test_transactions_that_use_one_key_at_once_do_not_wait_for_each_other_and_make_one_run(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        placed = [await gnomon_postgres.trigger(one, "greet", key="invoice 7") for one in (application, other)]
        await other.commit()
        await carry_out_some(receiver)
        await application.commit()
    await carry_out_some(receiver)

    outcomes = [await outcome_of(application, order) for order in placed]
    assert [(one.state, one.execution_id) for one in outcomes] == [("done", placed[0].execution_id)] * 2
    assert (await kernel.executions(ExecutionQuery())).total == 1


async def test_thousands_of_orders_of_one_transaction_are_each_done_once(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    placed = await gnomon_postgres.trigger_many(
        application, [RunOrder("greet", {"name": str(n)}) for n in range(2_000)]
    )
    await application.commit()
    while await carry_out_some(receiver):
        pass

    done = "SELECT count(*) FROM gnomon.transactional_orders WHERE state = 'done' AND execution_id = ANY(%s)"
    counted = await application.execute(done, ([order.execution_id for order in placed],))
    assert await counted.fetchone() == (2_000,)
    assert (await kernel.executions(ExecutionQuery())).total == 2_000


async def test_a_prepared_transaction_places_orders_without_notices(own_postgres: PostgresServer) -> None:
    own_postgres.kill()
    own_postgres.start("-c", "max_prepared_transactions=2")
    server = Server(own_postgres.dsn(), "gnomon", 30.0)
    await server.connect()
    await migrations.prepare(server)
    async with await psycopg.AsyncConnection.connect(own_postgres.dsn(), autocommit=True) as connection:
        ids = {}
        for name in ("kept", "gone"):
            await connection.execute("BEGIN; SET LOCAL gnomon.notices = off")
            ids[name] = (await gnomon_postgres.trigger(connection, "greet")).id
            await connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
        assert await PendingOrders(server).next([]) == []
        await connection.execute("COMMIT PREPARED 'kept'")
        await connection.execute("ROLLBACK PREPARED 'gone'")
        assert [one.id for one in await PendingOrders(server).next([])] == [ids["kept"]]

        await connection.execute("BEGIN")
        await gnomon_postgres.trigger(connection, "greet")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
            await connection.execute("PREPARE TRANSACTION 'other'")
    await server.close()


async def test_orders_send_no_notices_while_the_kernel_looks_by_itself(application: Connection, dsn: str) -> None:
    until = "UPDATE gnomon.order_looks SET looks_until = clock_timestamp() + interval '1 hour' * %s"
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as listener,
        await psycopg.AsyncConnection.connect(dsn) as slow,
    ):
        await listener.execute("LISTEN gnomon")
        await listener.execute(until, (1,))
        await gnomon_postgres.trigger(application, "greet")
        await application.commit()
        await gnomon_postgres.trigger(slow, "greet")
        await listener.execute("NOTIFY gnomon, 'first'")
        await listener.execute(until, (-1,))
        await slow.commit()  # what counts is the end of the transaction
        notices = [notice async for notice in listener.notifies(timeout=60, stop_after=2)]

    assert [notice.payload for notice in notices] == ["first", "placed:transaction gnomon"]


async def test_orders_are_announced_where_the_schema_was_renamed_and_in_sessions_of_a_replica(
    led_server: Server, application: Connection, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as listener:
        await listener.execute(f'LISTEN gnomon; ALTER SCHEMA {led_server.schema} RENAME TO "an ""other"""')
        await application.execute("SET session_replication_role = replica")
        await gnomon_postgres.trigger(application, "greet", schema='an "other"')
        await application.commit()
        await application.execute(
            'INSERT INTO "an ""other""".orders (id, call, arguments, waits, limit_s) VALUES (1, 2, \'{}\', false, 1)'
        )
        await application.commit()
        notices = [notice.payload async for notice in listener.notifies(timeout=60, stop_after=2)]

    assert notices == ['placed:transaction an "other"', 'placed an "other"']


async def test_the_kernel_promises_to_look_by_itself_while_many_orders_come(
    led_server: Server, application: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_promised() -> bool:
        found = await application.execute("SELECT looks_until > clock_timestamp() FROM gnomon.order_looks")
        row = await found.fetchone()
        await application.rollback()
        return row == (True,)

    monkeypatch.setattr(look_pace, "WINDOW_S", 0.0)
    monkeypatch.setattr(look_pace, "PROMISED", timedelta(0))
    monkeypatch.setattr(look_pace, "AFTER_S", 0.0)
    pace = LookPace(PendingOrders(led_server))
    assert pace.look_s() is None
    monkeypatch.setattr(look_pace, "PROMISED", timedelta(hours=1))
    await pace.note(0)
    assert not await is_promised()
    await pace.note(1_000_000)
    assert await is_promised()
    assert pace.look_s() == look_pace.FIRST_LOOK_S
    assert LookPace(PendingOrders(led_server)).look_s() is not None  # a kernel that follows keeps the promise


async def test_each_receiver_is_woken_by_its_own_orders_alone(led_server: Server, application: Connection) -> None:
    feed = ChangeFeed(PostgresChangeSource(led_server), "orders")
    placed = feed.turns_of(lambda change: change == Placed())
    in_transaction = feed.turns_of(lambda change: change == Placed(in_transaction=True))
    running = asyncio.create_task(feed.run())
    with feed.used():
        await placed.after(0)  # the stream has begun
        await gnomon_postgres.trigger(application, "greet")
        await application.commit()
        await in_transaction.after(1)
        assert placed.count == 1
        await application.execute(
            "INSERT INTO gnomon.orders (id, call, arguments, waits, limit_s) VALUES ('a', 'health', '{}', false, 1)"
        )
        await application.commit()
        await placed.after(1)
        assert in_transaction.count == 2
    running.cancel()
