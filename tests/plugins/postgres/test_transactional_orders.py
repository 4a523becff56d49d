"""Orders in the transactions of applications, from the side of the application: with every driver."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row

import gnomon_postgres
from gnomon import JobError
from gnomon.domain.run_order import RunOrder
from gnomon.errors import IdempotencyKeyError
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import Server
from postgres_applications import APPLICATIONS, Abort, Begin

KWARGS = {"text": "naïve 日本 🦑 \x00 %s :x $1", "n": [1, 2.5, None, True], "nested": {"a": {}}}

PAGE = Path(__file__).parents[3] / "docs/how-to/transactional-orders.md"
(MAKE_LOG,) = re.findall(r"```python\n# conftest.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
FROM_SQL, GRANTS, GRANT_OUTCOMES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
UNDONE_ORDERS = FROM_SQL.rpartition("\n\n")[2]


@pytest.fixture
async def server(dsn: str) -> AsyncIterator[Server]:
    """Provide a database with a log."""
    server = Server(dsn, "gnomon", 30.0)
    await server.connect()
    await migrations.prepare(server)
    yield server
    await server.close()


@pytest.fixture(params=APPLICATIONS)
async def begin(request: pytest.FixtureRequest, server: Server, dsn: str) -> AsyncIterator[Begin]:
    """Provide an application with one driver, which begins transactions."""
    async with APPLICATIONS[request.param](dsn) as begin:
        yield begin


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    """Provide a role that may connect, and nothing else."""
    name = "shop_" + dsn.rpartition("_")[2]
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        owner.execute(f"DROP OWNED BY {name}")
        owner.execute(f"DROP ROLE {name}")


async def orders_in(server: Server) -> list[dict[str, Any]]:
    """Return the orders that are committed."""
    async with server.reading() as connection, connection.link.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT * FROM gnomon.transactional_orders ORDER BY number")
        return await cursor.fetchall()


async def test_an_order_exists_exactly_if_its_transaction_commits(begin: Begin, server: Server) -> None:
    with suppress(Abort):
        async with begin() as transaction:
            gone = await transaction.call("trigger", "send")
            assert (await transaction.call("order_outcome", gone.id)).state == "pending"
            raise Abort
    async with begin() as transaction:
        assert await transaction.call("order_outcome", gone.id) is None
        order = await transaction.call("trigger", "send", kwargs=KWARGS, labels={"a": "ü"}, key="k 1")
        many = await transaction.call("trigger_many", [RunOrder("b", {"n": n}) for n in range(3)])
        assert await orders_in(server) == []

    found = await orders_in(server)
    assert [one["id"] for one in found] == [order.id, *(one.id for one in many)]
    assert [one["job_id"] for one in found] == ["send", "b", "b", "b"]
    assert found[0]["arguments"] == {"kwargs": KWARGS, "labels": {"a": "ü"}, "idempotency_key": "k 1"}
    assert [one["arguments"]["kwargs"] for one in found[1:]] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert {one["placed_by"] for one in found} == {"gnomon"}
    assert len({one.execution_id for one in many}) == 3


async def test_every_order_can_be_placed_and_found(begin: Begin, server: Server) -> None:
    async with begin() as transaction:
        added = await transaction.call(
            "add_job", "json:dumps", id="a", every=timedelta(minutes=5), tags=["x"], owner="me"
        )
        replaced = await transaction.call("add_job", "json:dumps", id="a", replace=True)
        removed = await transaction.call("remove_job", "a", reason="why", expires_in=timedelta(hours=1))
        cancelled = await transaction.call("cancel", "0" * 24, actor="me")
    async with begin() as transaction:
        outcome = await transaction.call("order_outcome", removed.id)

    found = {one["id"]: one for one in await orders_in(server)}
    assert list(found) == [added.id, replaced.id, removed.id, cancelled.id]
    order = found[added.id]["arguments"]["order"]
    assert (order["how"], order["owner"]) == ("add", "me")
    assert order["keys"] == {"func": "json:dumps", "every": "5m", "tags": ["x"]}
    assert found[replaced.id]["arguments"]["order"]["how"] == "replace"
    assert found[removed.id]["expires"] > found[removed.id]["placed"] + timedelta(minutes=59)
    assert found[cancelled.id]["arguments"] == {"execution_id": "0" * 24, "actor": "me"}
    assert (outcome.state, outcome.placed_by, outcome.answered) == ("pending", "gnomon", None)
    assert outcome.placed.tzinfo is not None


async def test_the_kernel_is_woken_when_the_transaction_commits(begin: Begin, server: Server) -> None:
    async with server.direct() as listener:
        await listener.execute("LISTEN gnomon")
        async with begin() as transaction:
            await transaction.call("trigger", "a")
            await transaction.call("trigger", "b")
            assert [notice async for notice in listener.link.notifies(timeout=0)] == []
        notices = [notice async for notice in listener.link.notifies(timeout=30, stop_after=1)]

    assert [notice.payload for notice in notices] == ["placed:transaction gnomon"]


async def test_an_application_that_may_only_place_orders(server: Server, dsn: str, role: str) -> None:
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as owner,
        await psycopg.AsyncConnection.connect(dsn.replace("//gnomon@", f"//{role}@"), autocommit=True) as shop,
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as unknown:
            await gnomon_postgres.trigger(shop, "send")
        await owner.execute(GRANTS.replace("shop", role))
        order = await gnomon_postgres.trigger(shop, "send")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as unreadable:
            await gnomon_postgres.order_outcome(shop, order.id)
        await owner.execute(GRANT_OUTCOMES.replace("shop", role))
        outcome = await gnomon_postgres.order_outcome(shop, order.id)
        undone = await (await shop.execute(UNDONE_ORDERS)).fetchall()
        for forbidden in (
            "INSERT INTO gnomon.transactional_orders (call, job_id, placed_by) VALUES ('trigger', 'a', 'gnomon')",
            "UPDATE gnomon.transactional_orders SET state = 'done'",
            "DELETE FROM gnomon.transactional_orders",
            "SELECT arguments FROM gnomon.transactional_orders",
            "INSERT INTO gnomon.orders (id, call) VALUES ('a', 'step_down')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await shop.execute(forbidden)

    assert "the GRANTs to place orders" in unknown.value.__notes__[0]
    assert "to find their outcomes" in unreadable.value.__notes__[0]
    assert outcome is not None
    assert (outcome.state, outcome.placed_by) == ("pending", role)
    assert undone == [(order.id, "send", "pending", None)]


async def test_an_application_is_tested_without_a_kernel(dsn: str, tmp_path: Path) -> None:
    conftest: dict[str, Any] = {}
    exec(MAKE_LOG, conftest)  # noqa: S102 - the example of the page
    await conftest["make_log"](dsn, tmp_path)

    with psycopg.connect(dsn) as application:
        order = gnomon_postgres.trigger_sync(application, "send")
        placed = gnomon_postgres.order_outcome_sync(application, order.id)
        application.rollback()
        undone = gnomon_postgres.order_outcome_sync(application, order.id)

    assert (placed and placed.state, undone) == ("pending", None)


async def test_orders_of_other_schemas_and_none_say_what_to_do(server: Server, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable) as refused:
            await gnomon_postgres.trigger(connection, "send", schema='we:ird $1 "%s')
        await connection.rollback()

    assert refused.value.__notes__ == [
        "Gnomon has no log in the schema 'we:ird $1 \"%s': start a kernel with it once, or pass its `schema`"
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"kwargs": {"x": float("nan")}}, {"kwargs": {"x": {1, 2}}}, {"kwargs": {"x": object()}}, {"job_id": "a\x00"}],
    ids=["nan", "set", "object", "id"],
)
async def test_what_no_kernel_could_read_is_refused_at_once(wrong: dict[str, Any], server: Server, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        with pytest.raises(JobError):
            await gnomon_postgres.trigger(connection, **({"job_id": "send"} | wrong))
        with pytest.raises(IdempotencyKeyError):
            await gnomon_postgres.trigger(connection, "send", key="")
        with pytest.raises(JobError, match="cannot be found again"):
            await gnomon_postgres.add_job(connection, lambda: None, id="a")

    assert await orders_in(server) == []


async def test_a_transaction_that_has_failed_takes_no_orders(begin: Begin, server: Server) -> None:
    with suppress(Abort):
        async with begin() as transaction:
            await transaction.call("trigger", "send")
            with pytest.raises(Exception, match="division by zero"):
                await transaction.execute("SELECT 1 / CAST($1 AS int)", 0)
            with pytest.raises(Exception, match="current transaction is aborted"):
                await transaction.call("trigger", "send")
            raise Abort

    assert await orders_in(server) == []


async def test_what_is_refused_before_it_is_sent_leaves_the_transaction_as_it_is(begin: Begin, server: Server) -> None:
    async with begin() as transaction:
        with pytest.raises(JobError):
            await transaction.call("trigger", "send", kwargs={"at": float("nan")})
        for unknown in ("\0", "\ud800"):
            assert await transaction.call("order_outcome", unknown) is None
        order = await transaction.call("trigger", "send", kwargs={"text": "\0ü" * 500_000})

    assert [(one["id"], one["arguments"]["kwargs"]) for one in await orders_in(server)] == [
        (order.id, {"text": "\0ü" * 500_000})
    ]


async def test_what_is_no_connection_of_the_right_kind_is_refused(server: Server, dsn: str) -> None:
    async with (
        await psycopg.AsyncConnection.connect(dsn) as connection,
        asyncpg.create_pool(dsn, min_size=0, max_size=1) as pool,
    ):
        for wrong in (pool, connection.cursor(), sqlalchemy.create_engine("postgresql+psycopg://"), 5):
            with pytest.raises(TypeError, match=r"expected a psycopg\.AsyncConnection, an asyncpg"):
                await gnomon_postgres.trigger(wrong, "send")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"expected a psycopg\.Connection, a Connection or"):
                gnomon_postgres.trigger_sync(wrong, "send")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="use the one without _sync"):
            gnomon_postgres.trigger_sync(connection, "send")
    with psycopg.connect(dsn) as blocking, pytest.raises(TypeError, match="with _sync at the end"):
        await gnomon_postgres.trigger(blocking, "send")  # type: ignore[arg-type]

    assert await orders_in(server) == []


def test_an_application_needs_no_other_driver_than_its_own() -> None:
    program = """
import sys
from gnomon_postgres import trigger, trigger_sync, add_job, PlacedOrder
drivers = {"psycopg", "asyncpg", "sqlalchemy", "django", "sqlite3"}
print(sorted(drivers & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
