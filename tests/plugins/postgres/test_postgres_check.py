"""What `gnomon check --connect` says about a server and its log, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from gnomon.domain.kernel_health import Role
from gnomon.errors import NoLogError, StoreError
from gnomon_postgres import PostgresStore, server
from gnomon_postgres.connection_check import check_connection
from gnomon_postgres.schema.migrations import prepare
from gnomon_postgres.server import Server
from postgres_servers import PostgresServer


async def check(dsn: str, role: Role = "leader") -> str:
    server = Server(dsn, "gnomon", 30.0)
    await server.connect()
    try:
        return await check_connection(server, role)
    finally:
        await server.close()


async def make_log(dsn: str) -> None:
    server = Server(dsn, "gnomon", 30.0)
    await server.connect()
    try:
        await prepare(server)
    finally:
        await server.close()


async def test_it_describes_a_server_without_and_with_a_log(dsn: str) -> None:
    assert "no log yet; the first start creates it; fsync is off" in await check(dsn)

    await make_log(dsn)

    found = await check(dsn)
    assert "schema gnomon on version 1" in found
    assert "a log at event 0;" in found


async def test_it_recognizes_a_pooler_in_transaction_mode(dsn: str, pooled_dsn: str) -> None:
    assert "pooler" not in await check(dsn)
    assert "through a pooler in transaction mode" in await check(pooled_dsn)


async def test_a_role_may_own_one_schema_and_nothing_else(role: Callable[..., str]) -> None:
    own = role("CREATE SCHEMA gnomon AUTHORIZATION {role}")

    assert "no log yet" in await check(own)
    await make_log(own)
    assert "a log at event 0" in await check(own)


async def test_missing_rights_are_named_with_the_statement_that_grants_them(role: Callable[..., str], dsn: str) -> None:
    poor = role()
    with pytest.raises(
        StoreError, match=r'cannot be led by .*, which lacks rights: CREATE SCHEMA "gnomon" AUTHORIZATION'
    ):
        await check(poor)

    role("CREATE SCHEMA gnomon")
    with pytest.raises(StoreError, match='GRANT USAGE, CREATE ON SCHEMA "gnomon" TO'):
        await check(poor)

    await make_log(dsn)
    role("GRANT USAGE, CREATE ON SCHEMA gnomon TO {role}")
    with pytest.raises(StoreError, match=r'rights: ALTER TABLE "gnomon"."acts" OWNER TO .* belong to gnomon$'):
        await check(poor)

    role("GRANT gnomon TO {role}")
    assert "a log at event 0" in await check(poor)


async def test_a_role_that_owns_the_tables_needs_the_owner_s_usual_rights_on_each(role: Callable[..., str]) -> None:
    own = role("CREATE SCHEMA gnomon AUTHORIZATION {role}")
    await make_log(own)
    role("REVOKE DELETE, INSERT ON gnomon.commits FROM {role}", "REVOKE SELECT ON gnomon.lease FROM {role}")

    with pytest.raises(StoreError, match=r"which lacks rights: ") as caught:
        await check(own)
    granted = str(caught.value).partition("lacks rights: ")[2]
    assert granted.count("GRANT") == 2
    role(*granted.split("; "))
    assert "a log at event 0" in await check(own)


async def test_a_member_of_the_owner_may_lead(role: Callable[..., str], postgres: PostgresServer, dsn: str) -> None:
    member = role("CREATE ROLE {role}_owner", "CREATE SCHEMA gnomon AUTHORIZATION {role}_owner")
    role("GRANT ALL ON SCHEMA gnomon TO {role}")
    await make_log(dsn)
    role("DO $$ DECLARE one text; BEGIN FOR one IN SELECT oid::regclass FROM pg_class WHERE relnamespace = "
         "'gnomon'::regnamespace AND relkind IN ('r', 'p') LOOP EXECUTE 'ALTER TABLE ' || one || ' OWNER TO "
         "{role}_owner'; END LOOP; END $$")  # fmt: skip
    try:
        with pytest.raises(StoreError, match=r"rights: GRANT \S+_owner\S+ TO \S+, because .* belong to") as caught:
            await check(member)
        role(str(caught.value).partition("lacks rights: ")[2].partition(",")[0])
        assert "a log at event 0" in await check(member)
    finally:
        role("DROP OWNED BY {role}_owner CASCADE", "DROP ROLE {role}_owner")


async def test_a_follower_is_told_each_statement_that_grants_what_it_lacks(role: Callable[..., str], dsn: str) -> None:
    follower = role()
    with pytest.raises(NoLogError, match="does not exist: start the kernel that leads first"):
        await check(follower, "follower")
    await make_log(dsn)

    with pytest.raises(StoreError, match=r"cannot be followed by the role \S+, which lacks rights: ") as caught:
        await check(follower, "follower")
    granted = str(caught.value).partition("lacks rights: ")[2].split("; ")
    assert [one.split(" TO ")[0] for one in granted] == [
        'GRANT USAGE ON SCHEMA "gnomon"',
        'GRANT SELECT ON ALL TABLES IN SCHEMA "gnomon"',
        'GRANT INSERT, UPDATE, DELETE ON "gnomon"."followers"',
        'GRANT INSERT, UPDATE, DELETE ON "gnomon"."orders"',
    ]
    role(*granted)
    assert "a log at event 0" in await check(follower, "follower")
    with pytest.raises(StoreError, match="cannot be led by the role"):
        await check(follower, "auto")


async def test_a_role_that_only_places_orders_cannot_follow(role: Callable[..., str], dsn: str) -> None:
    await make_log(dsn)
    shop = role(
        "GRANT USAGE ON SCHEMA gnomon TO {role}",
        "GRANT INSERT (id, call, job_id, arguments, expires) ON gnomon.transactional_orders TO {role}",
    )

    with pytest.raises(StoreError, match=r"cannot be followed by .* lacks rights: GRANT SELECT ON ALL TABLES"):
        await check(shop, "follower")


async def test_a_database_with_another_encoding_is_refused(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    name = f"{database}_latin"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            with pytest.raises(StoreError, match="this one has LATIN1: create one by CREATE DATABASE"):
                await check(postgres.dsn(name))
            with pytest.raises(StoreError, match="this one has LATIN1: create one by CREATE DATABASE"):
                await PostgresStore(postgres.dsn(name), spool=tmp_path / "spool.db").open()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_an_old_server_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OLDEST_VERSION", 99)

    for look in (check, make_log):
        with pytest.raises(StoreError, match="needs PostgreSQL 99 or later, the server has 1"):
            await look(dsn)


@pytest.mark.parametrize("whose", ["ROLE {role}", 'DATABASE "{database}"'])
async def test_a_limit_of_connections_that_is_too_low_is_refused(whose: str, role: Callable[..., str]) -> None:
    own = role("CREATE SCHEMA gnomon AUTHORIZATION {role}", f"ALTER {whose} CONNECTION LIMIT 8")
    with pytest.raises(StoreError, match=r"accepts 8 connections .* each process uses up to 9: raise the CONNECTION"):
        await check(own)
    role(f"ALTER {whose} CONNECTION LIMIT 9")
    assert "no log yet" in await check(own)


async def test_a_role_whose_transactions_cannot_write_is_refused(role: Callable[..., str]) -> None:
    own = role("CREATE SCHEMA gnomon AUTHORIZATION {role}", "ALTER ROLE {role} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match=r"`default_transaction_read_only` is on; .* ALTER ROLE \S+ SET") as caught:
        await check(own)
    role("ALTER ROLE" + str(caught.value).partition("ALTER ROLE")[2])
    assert "no log yet" in await check(own)
