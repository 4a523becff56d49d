"""Notices wake processes that follow: of appends, renewals, terms that end, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon.domain import execution
from gnomon.errors import StoreError
from gnomon.testing.histories import numbered, succeeded
from gnomon_postgres.log.change_source import PostgresChangeSource
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.log.notices import change_of, renewed
from gnomon_postgres.schema.order_tables import CHANNEL
from gnomon_postgres.server import Server
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.ports.changes import Appended, Placed, Renewed, Replaced
from gnomon_shared_log.ports.lease_row import LeaseRow
from servers import eventually

LONG_S = 60.0


@pytest.fixture
async def store(dsn: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    limit = timedelta(seconds=LONG_S)
    # No renewal of its own comes between those of a test.
    async with PostgresStore(dsn, spool=tmp_path / "spool.db", timeout=limit / 2, lease=60 * limit) as store:
        yield store


@pytest.fixture
async def server(store: PostgresStore, dsn: str) -> AsyncIterator[Server]:
    server = Server(dsn, "gnomon", LONG_S / 2)
    await server.connect()
    yield server
    await server.close()


async def test_appends_and_changes_of_the_lease_are_reported(store: PostgresStore, server: Server) -> None:
    batch = numbered(succeeded())
    lease = PostgresLeaseTable(server)
    async with PostgresChangeSource(server).changes("log", LONG_S) as next_change:
        async with server.writing() as connection:  # those of other logs, programs and topics are left out
            for payload in ("appended:7 another", "appended:many gnomon", "placed gnomon", "nonsense", ""):
                await connection.fetch("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
        await store.append(batch, [execution.fold(batch)], [])
        assert await next_change() == Appended(3)

        row = await lease.read()
        assert row is not None
        change = await _renew(lease, row)
        assert await next_change() == change
        await lease.end(row)
        assert await next_change() == Replaced()


async def _renew(lease: PostgresLeaseTable, row: LeaseRow) -> Renewed:
    newer = LeaseRow(owner=row.owner, epoch=row.epoch, renewals=row.renewals + 1, seconds=9.0, renewed_here=1.25)
    assert await lease.change(row.term, newer)
    return Renewed({"epoch": row.epoch, "renewals": row.renewals + 1, "renewed_here": 1.25})


async def test_an_append_of_a_kernel_that_reports_nothing_is_found(store: PostgresStore, server: Server) -> None:
    async with PostgresChangeSource(server).changes("log", 0.05) as next_change:
        assert await next_change() is None
        store._tables.events.notices.note = lambda position: None  # type: ignore[method-assign]  # it is killed first
        await store.append(batch := numbered(succeeded()), [execution.fold(batch)], [])

        while (change := await next_change()) is None:
            pass

        assert change == Appended(3)
        assert await next_change() is None


async def test_a_follower_waits_without_looking_while_notices_arrive(
    store: PostgresStore, dsn: str, tmp_path: Path
) -> None:
    reader = PostgresStore(dsn, spool=tmp_path / "other.db", timeout=timedelta(seconds=30))
    await reader.open(read_only=True)
    waiting = asyncio.create_task(reader.wait_for_events(0))
    await eventually(lambda: reader._watch.feed.stream)
    looks = 0

    async def look(after: int) -> None:
        nonlocal looks
        looks += 1

    await eventually(lambda: reader._watch._followed == reader._watch.feed.stream)  # it looks, for what came before
    reader._log.source.look = look  # type: ignore[method-assign, assignment]
    await store.append(batch := numbered(succeeded()), [execution.fold(batch)], [])
    await waiting

    assert looks == 0
    await reader.close()


async def test_a_pooler_that_delivers_no_notices_is_found_out(store: PostgresStore, pooled_dsn: str) -> None:
    server = Server(pooled_dsn, "gnomon", LONG_S / 2)
    await server.connect()

    with pytest.raises(StoreError, match="delivers no notices"):
        async with PostgresChangeSource(server).changes("log", LONG_S):
            pass

    await server.close()


def test_a_schema_may_have_any_name() -> None:
    schema = "a schema: with 'odd' \"name\""
    row = LeaseRow(owner="one", epoch=2, renewals=3)

    assert change_of(renewed(row, schema), schema) == Renewed({"epoch": 2, "renewals": 3, "renewed_here": None})
    assert change_of(f"placed {schema}", schema) == Placed()
    assert change_of(f"placed {schema}", "a") is None
