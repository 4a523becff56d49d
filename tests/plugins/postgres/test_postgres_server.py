"""Connections: every call ends within its limit, and a connection whose state is not known is never used again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from gnomon.errors import StoreError, StoreUnavailableError
from gnomon_postgres.server import READERS, Server
from gnomon_shared_log.errors import Refusal
from postgres_servers import PostgresServer
from servers import PATIENCE


async def connected(dsn: str, timeout: float = 30.0) -> Server:
    server = Server(dsn, "gnomon", timeout)
    await server.connect()
    return server


async def test_a_call_to_a_stopped_server_ends_within_its_limit_and_later_ones_work(
    own_postgres: PostgresServer,
) -> None:
    server = await connected(own_postgres.dsn())
    async with server.writing() as connection:
        await connection.execute("CREATE TABLE public.numbers (n int)")
    own_postgres.send(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailableError, match="does not respond in time"):
            async with server.writing(0.3) as connection:
                await connection.execute("INSERT INTO public.numbers VALUES (1)")
    finally:
        own_postgres.send(signal.SIGCONT)

    async with server.writing() as connection, connection.transaction():
        await connection.execute("INSERT INTO public.numbers VALUES (2)")
    async with server.reading() as connection:
        assert (2,) in await connection.fetch("SELECT n FROM public.numbers")
    await server.close()


async def test_what_a_cancelled_call_has_begun_is_stopped_and_undone(dsn: str) -> None:
    server = await connected(dsn)
    async with server.writing() as connection:
        await connection.execute("CREATE TABLE public.numbers (n int)")
    begun = asyncio.Event()

    async def write() -> None:
        async with server.writing() as connection, connection.transaction():
            await connection.execute("INSERT INTO public.numbers VALUES (1)")
            begun.set()
            await connection.fetch("SELECT pg_sleep(600)")

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with server.reading() as connection:
        while await connection.fetch_one("SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)'"):
            await connection.fetch("SELECT pg_sleep(0.005)")
        assert await connection.fetch("SELECT n FROM public.numbers") == []
    await server.close()


async def test_idle_connections_that_the_server_has_ended_are_made_again(dsn: str) -> None:
    server = await connected(dsn)
    async with server.reading() as one, server.reading() as another:
        pids = [(await each.fetch("SELECT pg_backend_pid()"))[0][0] for each in (one, another)]
    async with server.writing() as connection:
        for pid in pids:
            await connection.fetch("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    async with server.reading() as one, server.reading() as another:
        assert {(await each.fetch("SELECT pg_backend_pid()"))[0][0] for each in (one, another)}.isdisjoint(pids)
    await server.close()


async def test_a_connection_that_cannot_be_written_is_made_again(dsn: str, database: str) -> None:
    server = await connected(dsn)
    async with server.reading() as connection:
        await connection.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    with pytest.raises(StoreUnavailableError, match="`default_transaction_read_only` is on for the"):
        async with server.writing() as connection:
            await connection.execute("CREATE TABLE public.numbers (n int)")
    async with server.reading() as connection:
        await connection.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')

    async with server.writing() as connection:
        await connection.execute("CREATE TABLE public.numbers (n int)")
    await server.close()


FORKING = """
import asyncio, gc, os, sys
from gnomon_postgres.server import Server

async def main():
    server = Server(sys.argv[1], "gnomon", 30.0)
    await server.connect()
    async with server.reading() as connection:
        before = await connection.fetch("SELECT pg_backend_pid()")
    if (child := os.fork()) == 0:
        gc.collect()
        os._exit(1 if server.is_connected else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    async with server.reading() as connection:
        assert await connection.fetch("SELECT pg_backend_pid()") == before
    await server.close()

asyncio.run(main())
"""


def test_a_forked_child_leaves_the_connections_alone(dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, dsn], check=False, capture_output=True, text=True, timeout=PATIENCE
    )

    assert done.returncode == 0, done.stderr


async def test_reads_wait_for_each_other_and_not_for_ever(dsn: str) -> None:
    server = await connected(dsn)

    async def sleep(seconds: float, limit_s: float) -> None:
        async with server.reading(limit_s) as connection:
            await connection.fetch("SELECT pg_sleep(%s)", (seconds,))

    slow = [asyncio.create_task(sleep(600, 600)) for _ in range(READERS)]
    async with server.writing() as connection:
        while (await connection.fetch("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep($1)'"))[0][
            0
        ] < READERS:
            await connection.fetch("SELECT pg_sleep(0.005)")
    with pytest.raises(StoreUnavailableError):
        await sleep(0, limit_s=0.05)
    for task in slow:
        task.cancel()
    await asyncio.wait(slow)

    await sleep(0, limit_s=30)
    await server.close()


@pytest.mark.parametrize(
    ("dsn", "kind"),
    [
        ("postgresql://gnomon@127.0.0.1:1/gnomon", StoreUnavailableError),
        ("nonsense", StoreError),
        ("postgresql://gnomon@127.0.0.1/gnomon?nonsense=1", StoreError),
    ],
)
async def test_an_address_that_is_wrong_or_away_is_told_apart(dsn: str, kind: type[StoreError]) -> None:
    server = Server(dsn, "gnomon", 2.0)

    async def connect() -> None:
        await server.connect()
        async with server.reading():
            pass

    with pytest.raises(StoreError) as caught:
        await connect()

    assert type(caught.value) is kind
    await server.close()


async def test_what_the_server_refuses_is_not_tried_again(dsn: str) -> None:
    server = await connected(dsn)
    with pytest.raises(Refusal, match="something is not as Gnomon made it: was it dropped or altered"):
        async with server.reading() as connection:
            await connection.fetch("SELECT FROM {schema}.nothing")
    absent = await connected(f"{dsn}_that_is_not_there")
    with pytest.raises(Refusal, match="there is no such database: create it, restore a backup"):
        async with absent.reading():
            pass
    for each in (server, absent):
        await each.close()


@pytest.mark.parametrize("option", ["sslmode=wrong", "port=99999", "port=1,2", "sslmode=require", "service=nowhere"])
async def test_an_option_that_cannot_work_is_not_tried_again(dsn: str, option: str) -> None:
    server = await connected(make_conninfo(dsn, **dict([option.split("=")])))
    with pytest.raises(Refusal, match="rejects this: check the options in `dsn`"):
        async with server.reading():
            pass
    await server.close()


@pytest.mark.parametrize("address", ["dsn", "pooled_dsn"])
async def test_limits_of_the_database_end_no_work(
    address: str, request: pytest.FixtureRequest, role: Callable[..., str]
) -> None:
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    role(*(f'ALTER DATABASE "{{database}}" SET {limit} = 250' for limit in limits))
    server = await connected(request.getfixturevalue(address))
    async with server.writing() as connection, connection.transaction():
        await connection.fetch("SELECT pg_sleep(0.5)")
        await connection.fetch("SELECT pg_sleep(0.5) FROM pg_sleep(0.5)")
    async with server.reading() as connection:
        await connection.fetch("SELECT pg_sleep(0.5)")
    await server.close()


async def test_a_statement_that_was_cancelled_there_is_tried_again(dsn: str) -> None:
    server = await connected(dsn)

    async def sleep() -> None:
        async with server.reading(600) as connection:
            await connection.fetch("SELECT pg_sleep(600)")

    sleeping = asyncio.create_task(sleep())
    sleeper = "datname = current_database() AND state = 'active' AND query = 'SELECT pg_sleep(600)'"
    async with server.writing() as connection:
        while not await connection.fetch(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {sleeper}"):  # noqa: S608
            await connection.fetch("SELECT pg_sleep(0.005)")
    with pytest.raises(StoreUnavailableError, match="has ended a statement, which was cancelled there"):
        await sleeping
    await server.close()


async def test_a_server_without_a_free_connection_counts_as_away(role: Callable[..., str]) -> None:
    server = await connected(role('ALTER DATABASE "{database}" CONNECTION LIMIT 0'))
    with pytest.raises(StoreUnavailableError, match="no connection is free: end some, raise `max_connections`"):
        async with server.reading():
            pass
    role('ALTER DATABASE "{database}" CONNECTION LIMIT -1')
    async with server.reading() as connection:
        assert await connection.fetch("SELECT 1") == [(1,)]
    await server.close()


async def test_a_connection_is_shared_where_the_server_has_no_room_for_another(role: Callable[..., str]) -> None:
    server = await connected(role("ALTER ROLE {role} CONNECTION LIMIT 1"))

    async def ask(number: int) -> int:
        async with server.reading() as connection:
            return int((await connection.fetch("SELECT %s::int, pg_sleep(0.01)", (number,)))[0][0])

    for _ in range(2):  # without a connection, and with one that is free
        assert await asyncio.gather(*map(ask, range(10))) == [*range(10)]
    async with server.reading():
        with pytest.raises(StoreUnavailableError, match="no connection is free"):
            async with server.writing():
                pass
    await server.close()


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://ann:hunter2@db/app", "db:5432/app"),
        ("host=one,two port=5432,5433 dbname=app password=hunter2", "one:5432,two:5433/app"),
        ("postgresql://ann:hunter2@one,two/app", "one:5432,two:5432/app"),
    ],
)
def test_an_address_shows_the_servers_and_no_password(dsn: str, shown: str) -> None:
    assert Server(dsn, "gnomon", 2.0).address == f"PostgreSQL log {shown}, schema gnomon"


@pytest.mark.parametrize("dsn", ["postgresql//ann:hunter2@db/app", "postgresql://ann:hunter2%@db/app", "hunter2"])
async def test_an_address_that_cannot_be_read_is_not_quoted(dsn: str) -> None:
    with pytest.raises(StoreError) as caught:
        await Server(dsn, "gnomon", 2.0).connect()

    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match='the unknown option "nonsense"'):
        await Server("postgresql://db/app?nonsense=1", "gnomon", 2.0).connect()
