"""What other programs drop or empty in the schema: a start makes it again, or says what is lost and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from gnomon.domain import codec
from gnomon.domain.events import Event, JobPaused
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.errors import DeposedError, NoLogError, RolledBackError, StoreError, StoreInUseError
from gnomon.kernel import Kernel
from gnomon.testing.histories import NOON, append, extend, job_added, kernel_history, succeeded
from gnomon_postgres import PostgresStore
from gnomon_postgres.connection_check import check_connection
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.schema import migrations, schema_check
from gnomon_postgres.schema.partitions import PARENTS, attachment
from gnomon_postgres.schema.schema_check import find_missing
from gnomon_postgres.server import Connection, Server
from gnomon_postgres.views import projection
from log_places import patient
from order_receiving import TERM
from store_commands import fill

MADE_AGAIN = [
    "DROP TABLE gnomon.live, gnomon.ended, gnomon.counts, gnomon.acts, gnomon.job_states, gnomon.fires CASCADE",
    "DROP TABLE gnomon.ended_1; DROP TABLE gnomon.streams, gnomon.lasting CASCADE",
    "DROP TABLE gnomon.partitions, gnomon.lease, gnomon.orders, gnomon.followers, gnomon.order_looks",
    "TRUNCATE gnomon.partitions, gnomon.streams, gnomon.lease, gnomon.order_looks",
    "TRUNCATE gnomon.lasting",
    (
        "DROP INDEX gnomon.lease_term, gnomon.commits_by_time; DROP VIEW gnomon.executions CASCADE; "
        "DROP FUNCTION gnomon.announce_order CASCADE"
    ),
]
FOLDED_AGAIN = [
    "TRUNCATE gnomon.ended",
    "TRUNCATE gnomon.counts",
    "TRUNCATE gnomon.job_states",
    "DELETE FROM gnomon.job_states WHERE id = 'sync'",
    "DELETE FROM gnomon.fires WHERE job_id = 'sync'",
]
LOST = [
    "DROP TABLE gnomon.log CASCADE",
    "TRUNCATE gnomon.log",
    "DROP TABLE gnomon.commits CASCADE",
    "TRUNCATE gnomon.commits",
    "DROP TABLE gnomon.checkpoints CASCADE",
]
ACCEPTABLE = ["log_lines", "late_ends", "transactional_orders"]


@pytest.fixture
def make_store(dsn: str, tmp_path: Path) -> Callable[..., PostgresStore]:
    return lambda spool="spool": PostgresStore(dsn, **patient(tmp_path / f"{spool}.db"))


@pytest.fixture
async def server(dsn: str) -> Server:
    return Server(dsn, "gnomon", 30.0)


def execute(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements)


async def content(store: PostgresStore) -> list[Any]:
    """Return what a log tells, and prove it."""
    assert await store.differences() == await store.without_events() == []
    lists = (await store.executions(ExecutionQuery())).items, (await store.actions(ActionQuery())).items
    return [*lists, await store.jobs(), await store.statistics(), await store.read(), await store.head()]


async def test_what_follows_from_the_log_is_made_again_by_a_start(
    dsn: str, make_store: Callable[..., PostgresStore], server: Server
) -> None:
    async with make_store() as store:
        await fill(store)
        before = await content(store)

    for dropped in MADE_AGAIN:
        execute(dsn, dropped)
        async with server.borrowed() as open_server:
            assert "which the next kernel that leads makes again" in await check_connection(open_server, "leader")
        async with make_store() as store:
            assert await content(store) == before, dropped
        async with server.borrowed() as open_server:
            assert (await find_missing(open_server)).parts == {}, dropped


async def test_views_that_were_emptied_are_folded_again_by_a_start(
    dsn: str, make_store: Callable[..., PostgresStore]
) -> None:
    async with make_store() as store:
        await fill(store)
        await append(store, extend(job_added(), JobPaused, actor="ann")[-1:], job_added("report"))
        before = await content(store)

    for harm in FOLDED_AGAIN:
        execute(dsn, harm)
        with capture_logs() as logs:
            async with make_store() as store:
                assert await content(store) == before, harm
        assert "views were missing: all are built again from the log" in {line["event"] for line in logs}
    with capture_logs() as logs:
        async with make_store():
            pass
    assert not {line["event"] for line in logs if line["log_level"] == "warning"}


async def test_only_the_kernel_that_leads_makes_it_again(
    dsn: str, make_store: Callable[..., PostgresStore], server: Server
) -> None:
    standby = make_store("standby")
    async with make_store(), server.borrowed() as open_server:
        execute(dsn, "DROP TABLE gnomon.fires, gnomon.followers CASCADE; DROP INDEX gnomon.commits_by_time")
        missing = await find_missing(open_server)
        assert {"fires", "followers", "commits_by_time"} <= missing.parts.keys()

        with pytest.raises(StoreInUseError):
            await standby.open()

        assert await find_missing(open_server) == missing
    async with standby, server.borrowed() as open_server:
        assert (await find_missing(open_server)).parts == {}


async def test_a_kernel_that_leads_no_longer_makes_nothing_again(
    dsn: str, make_store: Callable[..., PostgresStore], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_store():
        pass
    end_earlier_writers = projection.end_earlier_writers

    async def lose_the_lease(server: Server) -> None:
        await end_earlier_writers(server)
        execute(dsn, "DROP TABLE gnomon.fires CASCADE")
        execute(dsn, "UPDATE gnomon.lease SET owner = 'another kernel', epoch = epoch + 1")

    monkeypatch.setattr(projection, "end_earlier_writers", lose_the_lease)
    with pytest.raises(DeposedError, match="another kernel took the lease, and leads in epoch 3"):
        await make_store().open()

    async with server.borrowed() as open_server:
        assert "fires" in (await find_missing(open_server)).parts


async def test_nobody_takes_over_while_the_tables_are_made_again(dsn: str, led_server: Server) -> None:
    lease = PostgresLeaseTable(led_server)

    async def try_to_take_over(connection: Connection) -> None:
        await lease.hold(connection, TERM)
        with psycopg.connect(dsn, autocommit=True) as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SELECT FROM gnomon.lease FOR UPDATE NOWAIT")

    execute(dsn, "DROP TABLE gnomon.fires CASCADE")
    await migrations.complete(led_server, try_to_take_over)

    assert (await find_missing(led_server)).parts == {}


async def test_a_standby_that_accepts_a_loss_waits_until_nobody_leads(
    dsn: str, make_store: Callable[..., PostgresStore], server: Server, tmp_path: Path
) -> None:
    (kept,) = succeeded()[-1:]
    standby = make_store("standby")
    standby.accept_rollback = True
    async with make_store():
        pass
    async with standby:
        await standby._spool.put_ends([(kept.stream, kept.version, codec.encode(kept))])
    async with make_store(), server.borrowed() as open_server:
        execute(dsn, "DROP TABLE gnomon.late_ends")

        with pytest.raises(StoreInUseError):
            await standby.open()
        await standby.open(read_only=True)
        await standby.close()

        assert "late_ends" in (await find_missing(open_server)).parts
    async with standby:
        assert await standby.late_ends() == [kept]


async def test_partitions_that_come_and_go_during_the_check_are_not_missing(
    dsn: str, make_store: Callable[..., PostgresStore], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_store():
        pass
    with psycopg.connect(dsn) as connection:
        ((following,),) = connection.execute("SELECT max(next) FROM gnomon.partitions").fetchall()
    find_there = schema_check._there

    async def find_there_before_a_change(server: Server, connection: Connection) -> set[str]:
        there = await find_there(server, connection)
        made = [attachment(table, following, 2 * following).format(schema="gnomon") for table in PARENTS]
        dropped = "DROP TABLE gnomon.commits_1, gnomon.ended_1; DELETE FROM gnomon.partitions WHERE first = 1"
        register = f"INSERT INTO gnomon.partitions (first, next) VALUES ({following}, {2 * following})"  # noqa: S608 - a number
        execute(dsn, "; ".join([*made, register, dropped]))
        return there

    async with server.borrowed() as open_server:
        with monkeypatch.context() as patched:
            patched.setattr(schema_check, "_there", find_there_before_a_change)
            assert (await find_missing(open_server)).parts == {}
        assert (await find_missing(open_server)).parts == {}


@pytest.mark.parametrize("how", LOST)
async def test_no_start_goes_on_without_the_log(
    how: str, dsn: str, make_store: Callable[..., PostgresStore], server: Server
) -> None:
    async with Kernel(store=make_store(), drain=timedelta(0)) as kernel:
        pass
    head = kernel.health().position
    execute(dsn, how)
    is_emptied_log = how == "TRUNCATE gnomon.commits"
    said = f"events 1 to {head} are missing" if is_emptied_log else "has lost .*: another program has dropped"

    for spool in ("spool", "of another machine"):
        for accepts in (False, not is_emptied_log):
            store = make_store(spool)
            store.accept_rollback = accepts
            with pytest.raises(RolledBackError, match=said):
                await store.open()
        with pytest.raises(StoreError, match=said):
            await make_store(spool).try_connection("leader")
    if not is_emptied_log:
        with pytest.raises(RolledBackError, match=said):
            await make_store().open(read_only=True)
        return
    store = make_store()
    store.accept_rollback = True
    async with store:
        assert await store.head() == head


@pytest.mark.parametrize("history", [kernel_history(NOON, "f" * 24), succeeded()], ids=["kernel", "run"])
async def test_a_log_without_jobs_or_checkpoints_is_led_again(
    history: list[Event], make_store: Callable[..., PostgresStore], server: Server
) -> None:
    async with make_store() as store:
        await append(store, history)
        before = await content(store)  # of a kernel that was killed before a plugin saved a checkpoint

    async with server.borrowed() as open_server:
        assert (await find_missing(open_server)).parts == {}
    async with make_store() as store:
        assert await content(store) == before


@pytest.mark.parametrize("table", ACCEPTABLE)
async def test_what_nothing_else_has_is_made_again_if_the_loss_is_accepted(
    table: str, dsn: str, make_store: Callable[..., PostgresStore]
) -> None:
    async with make_store() as store:
        await fill(store)
        before = await content(store)
    execute(dsn, f"DROP TABLE gnomon.{table}")

    with pytest.raises(RolledBackError, match=rf"has lost {table}: .* accept the loss: gnomon run --accept-rollback"):
        await make_store().open()
    store = make_store()
    store.accept_rollback = True
    async with store:
        assert await content(store) == before


async def test_a_schema_with_tables_of_another_program_is_refused_and_left_alone(
    dsn: str, make_store: Callable[..., PostgresStore]
) -> None:
    execute(dsn, "CREATE SCHEMA gnomon; CREATE TABLE gnomon.orders (id int)")

    with pytest.raises(NoLogError):
        await make_store().open(read_only=True)
    with pytest.raises(StoreError, match="a table of another program with the name of one of Gnomon's: use another"):
        await make_store().open()
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'gnomon'::regnamespace")
        assert tables.fetchall() == [("orders",)]
