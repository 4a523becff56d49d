"""Odd settings of the role, of the database and of a pooler's sessions: everything works, and says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from gnomon import Job, Kernel, RunOrder
from gnomon.domain.records import ActionQuery, ExecutionQuery, JobScope
from gnomon.domain.run_sorting import RunSort
from gnomon.testing.log_checks import check_store
from gnomon_postgres import PostgresStore
from gnomon_postgres.schema import partitions
from order_receiving import greet
from postgres_applications import APPLICATIONS, Begin
from servers import eventually

ODD = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "check_function_bodies": "off",
    "client_encoding": "LATIN1",
    "client_min_messages": "debug1",
    "commit_delay": "10",
    "default_toast_compression": "pglz",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "enable_indexscan": "off",
    "enable_partition_pruning": "off",
    "enable_seqscan": "off",
    "escape_string_warning": "on",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "600s",
    "idle_session_timeout": "600s",
    "jit": "off",
    "lc_numeric": "C.UTF-8",
    "lock_timeout": "600s",
    "plan_cache_mode": "force_generic_plan",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "session_replication_role": "replica",
    "standard_conforming_strings": "off",
    "statement_timeout": "600s",
    "synchronous_commit": "off",
    "transaction_timeout": "600s",
    "transform_null_equals": "on",
    "vacuum_cost_delay": "1",
    "work_mem": "64kB",
    "xmlbinary": "hex",
    "xmloption": "document",
}
"""What a server allows for a role or a database, apart from the search path, and from what only takes time."""
OTHERS_NAMES = {
    "FUNCTION": (
        "clock_timestamp()", "now()", "pg_backend_pid()", "current_setting(text)", "current_setting(text, boolean)",
        "set_config(text, text, boolean)", "pg_notify(text, text)", "to_regclass(text)", "gen_random_uuid()",
        "replace(text, text, text)", "concat(text, text)", "date_part(text, timestamptz)", "quote_ident(text)",
        "octet_length(text)", "make_interval(integer, integer, integer, integer, integer, integer, float8)",
        "to_char(timestamp, text)", "timezone(text, timestamptz)", "unnest(text[])", "convert_from(bytea, text)",
    ),
    "OPERATOR": (
        "=(text, text)", "=(bigint, bigint)", "=(name, text)", "=(boolean, boolean)", "<>(text, text)",
        "+(timestamptz, interval)", "+(timestamptz, text)", "*(float8, interval)", "*(smallint, interval)",
        "||(text, name)", "||(text, text)", "||(text, anyelement)", ">(timestamptz, timestamptz)",
    ),
    "TYPE": ("text", "json", "jsonb", "bytea", "timestamptz", "int8", "float8", "bool"),
    "TABLE": ("log", "lease", "commits", "transactional_orders", "order_looks", "pg_class", "pg_locks", "pg_proc"),
}  # fmt: skip
"""What a schema before `pg_catalog` has, each of which fails where it is used."""


DRIVERS = ("psycopg", "psycopg-sync", "asyncpg", "sqlalchemy", "sqlalchemy-async-asyncpg")
"""Django itself uses functions of PostgreSQL by their bare names."""


def hostile(schema: str) -> Iterator[str]:
    """Yield the statements that make a schema with other things of the same names."""
    yield f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO PUBLIC"
    body = "LANGUAGE plpgsql AS $$ BEGIN RAISE 'a function of another schema was called'; END $$"
    for name in OTHERS_NAMES["FUNCTION"]:
        kind = name.partition("(")[2].removesuffix(")")
        result = "anyelement" if "any" in kind else "text"
        yield f"CREATE FUNCTION {schema}.{name} RETURNS {result} {body}"
    for number, name in enumerate(OTHERS_NAMES["OPERATOR"]):
        symbol, _, kinds = name.removesuffix(")").partition("(")
        left, right = kinds.split(", ")
        comparison = symbol in {"=", "<>", ">"}
        result = "boolean" if comparison else ("anyelement" if "any" in kinds else "text")
        yield f"CREATE FUNCTION {schema}.operator_{number}({kinds}) RETURNS {result} {body}"
        function = f"FUNCTION = {schema}.operator_{number}"
        yield f"CREATE OPERATOR {schema}.{symbol} (LEFTARG = {left}, RIGHTARG = {right}, {function})"
    for name in OTHERS_NAMES["TYPE"]:
        yield f"CREATE DOMAIN {schema}.{name} AS pg_catalog.{name} CHECK (false)"
    for name in OTHERS_NAMES["TABLE"]:
        yield f"CREATE TABLE {schema}.{name} (nothing pg_catalog.text)"


def settings_of(connection: psycopg.Connection[tuple[object, ...]], whose: sql.Composable) -> None:
    """Set all odd settings that this version of the server knows, for a role or a database."""
    known = {name for (name,) in connection.execute("SELECT name FROM pg_settings")}
    for name, value in ODD.items():
        if name in known:
            setting = sql.SQL(" SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            connection.execute(sql.SQL("ALTER ") + whose + setting)
    connection.execute(sql.SQL("ALTER ") + whose + sql.SQL(" SET search_path = others, pg_catalog, public"))


def prepare(dsn: str, database: str, whose: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in hostile("others"):
            connection.execute(statement)
        name = sql.Identifier(database if whose == "DATABASE" else f"{database}_app")
        settings_of(connection, sql.SQL(f"{whose} ") + name)


class Addresses(NamedTuple):
    """Those of the kernel and of an application."""

    kernel: str
    application: str


@pytest.fixture(params=["role", "database", "pooled"])
def addresses(request: pytest.FixtureRequest, dsn: str, database: str, role: Callable[..., str]) -> Addresses:
    """Provide a database, directly and through a pooler, in which every setting is odd."""
    own = role('GRANT CREATE ON DATABASE "{database}" TO {role}')
    prepare(dsn, database, "ROLE" if request.param == "role" else "DATABASE")
    if request.param == "pooled":
        return Addresses(request.getfixturevalue("pooled_dsn"), dsn)
    return Addresses(own, own)


async def test_a_log_lives_its_whole_life_whatever_the_settings_are(
    addresses: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "SMALLEST", 64)

    def store() -> PostgresStore:
        patience = timedelta(seconds=30)
        return PostgresStore(addresses.kernel, spool=tmp_path / "spool.db", timeout=patience, lease=2 * patience)

    assert "no log yet" in await store().try_connection("leader")
    jobs = [Job(id="greet", func=greet), Job(id="fail", func="json:loads", labels={"a": "\\'\"ü"})]
    async with Kernel(store=store(), jobs=jobs, allow_functions=["json:*"]) as kernel:
        assert "in use by process" in await store().try_connection("leader")
        failed = (await kernel.trigger("fail", kwargs={"s": "\\ü\0"}, actor="NULL")).execution
        assert (await kernel.wait(failed.id)).status == "failed"
        for name in DRIVERS:
            async with APPLICATIONS[name](addresses.application) as begin:
                await order(begin, name)
        await kernel.pause("greet", actor="ann", reason="\\")
        await expect_lists(kernel, len(DRIVERS))
        assert (await kernel.audit(datetime.now(UTC) - timedelta(hours=1))).is_proved

    async with store() as opened:
        log = await check_store(opened)
        assert (await opened.statistics("fail"))[0].by_status == {"failed": 1}
        assert await opened.differences() == await opened.without_events() == []
        assert await opened.rebuild() == len(log)
        assert await opened.prune_progress(datetime.now(UTC)) == 0
        assert await opened.prune(datetime.now(UTC)) == 1 + 3 * len(DRIVERS)
        assert await opened.differences() == []
        assert {state.job_id for state in await opened.jobs()} == {"greet", "fail"}
    with psycopg.connect(addresses.application) as connection:
        for view in ("executions", "jobs", "actions", "alerts"):
            connection.execute(f"TABLE gnomon.{view}")
    assert "a log at event" in await store().try_connection("leader")


async def order(begin: Begin, name: str) -> None:
    """Order runs in transactions of the application, and expect their outcomes."""
    async with begin() as transaction:
        orders = [RunOrder("greet", {"name": f"{name} \\ü"}), RunOrder("greet")]
        placed = await transaction.call("trigger_many", orders, actor="NULL")
        placed.append(await transaction.call("trigger", "greet", expires_in=timedelta(hours=1), labels={"by": name}))
        refused = await transaction.call("cancel", "nothing")

    async def state(order_id: str) -> str:
        async with begin() as transaction:
            outcome = await transaction.call("order_outcome", order_id)
            assert abs(datetime.now(UTC) - outcome.placed) < timedelta(hours=1)
            assert (outcome.answered is None) == (outcome.state == "pending")
            return str(outcome.state)

    expected = dict.fromkeys([one.id for one in placed], "done") | {refused.id: "refused"}

    async def are_answered() -> bool:
        return "pending" not in [await state(one) for one in expected]

    await eventually(are_answered)
    assert {one: await state(one) for one in expected} == expected


async def expect_lists(kernel: Kernel, applications: int) -> None:
    """Expect the runs of all applications in lists of every kind."""
    runs = 3 * applications
    counts = {
        ExecutionQuery(): runs + 1,
        ExecutionQuery(job_id="greet", status=("success",), is_manual=True): runs,
        ExecutionQuery(text="EXPECTING"): 1,
        ExecutionQuery(labels=("by:asyncpg",)): 1,
        ExecutionQuery(actors=("NULL",)): 2 * applications + 1,
        ExecutionQuery(scope=JobScope(patterns=("g[r-s]*",)), sort=RunSort("duration")): runs,
        ExecutionQuery(since=datetime.now(UTC)): 0,
        ExecutionQuery(per_job=2): 3,
    }
    for query, total in counts.items():
        page = await kernel.executions(query)
        assert (len(page.items), page.total) == (total, total), query
    assert (await kernel.actions(ActionQuery(actor="ann"))).total == 1
