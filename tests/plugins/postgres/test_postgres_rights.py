"""The SQL of the how-to page is executed as it stands, with other names of roles: its rights are enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from gnomon import Job, Kernel
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import StoreError
from gnomon_postgres import PostgresStore
from postgres_servers import PostgresServer

PAGE = Path(__file__).parents[3] / "docs/how-to/postgresql.md"


class Roles(NamedTuple):
    """The addresses of a role that owns the schema and of one that follows, its rights, and the query of sizes."""

    owner: str
    follower: str
    grant: str
    sizes: str


@pytest.fixture
def roles(postgres: PostgresServer, database: str) -> Iterator[Roles]:
    owner, follower = f"{database}_owner", f"{database}_web"
    page = re.sub(r"\b(ROLE|AUTHORIZATION) gnomon\b", rf"\1 {owner}", PAGE.read_text(encoding="utf-8"))
    page = re.sub(r"\b(ROLE|TO) web\b", rf"\1 {follower}", page)
    prepare, grant, sizes = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(prepare)
        yield Roles(postgres.dsn(database, owner), postgres.dsn(database, follower), grant, sizes)
        for role in (owner, follower):
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_follower_reads_and_orders_and_may_not_write_the_log(
    roles: Roles, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    def store(dsn: str, name: str) -> PostgresStore:
        return PostgresStore(dsn, spool=tmp_path / f"{name}.db")

    jobs = [Job(id="x", func="time:time")]
    async with Kernel(store=store(roles.owner, "owner"), jobs=jobs, drain=timedelta(0)):
        with psycopg.connect(postgres.dsn(database)) as connection:
            connection.execute(roles.grant)
        assert "in use by process" in await store(roles.follower, "web").try_connection("follower")
        async with Kernel(store=store(roles.follower, "web"), role="follower", drain=timedelta(0)) as follower:
            run = (await follower.trigger("x")).execution.id
            assert (await follower.wait(run)).status == "success"
            assert [one.id for one in (await follower.executions(ExecutionQuery())).items] == [run]
        with psycopg.connect(roles.follower) as connection:
            assert len(connection.execute(roles.sizes).fetchall()) == 10

    with pytest.raises(StoreError, match="the role lacks a permission"):
        await store(roles.follower, "web").open()
