"""Appends: within a term, once, and behind the row that must precede them; each fact is that of the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon.domain.events import Event
from gnomon.errors import ConflictError, DeposedError, StoreError, StoreUnavailableError
from gnomon.stores.microseconds import EPOCH
from gnomon.testing.histories import NOON, SECOND, numbered, scheduled, succeeded
from gnomon_postgres import PostgresStore
from gnomon_postgres.log import event_reads
from gnomon_postgres.log.event_append import MOST_BYTES, MOST_EVENTS, EventAppend
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.schema import migrations
from gnomon_postgres.schema.partitions import SMALLEST
from gnomon_postgres.server import Server
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.lease_row import LeaseRow, Term

TERM = Term("one", 1)
LATER = Term("another", 2)


def row_of(term: Term, renewals: int = 1) -> LeaseRow:
    return LeaseRow(owner=term.owner, epoch=term.epoch, renewals=renewals, seconds=15.0)


def runs(number: int, after: int = 0) -> list[Event]:
    """Return the events of some runs, three each, of which none is like another."""
    return numbered(*(succeeded("sync", NOON + (after + n) * SECOND) for n in range(number)), after=after)


@pytest.fixture
async def server(dsn: str) -> AsyncIterator[Server]:
    server = Server(dsn, 'a schema; with "odd" name, 100 %s', timeout=30.0)
    await server.connect()
    await migrations.prepare(server)
    yield server
    await server.close()


@pytest.fixture
async def lease(server: Server) -> PostgresLeaseTable:
    lease = PostgresLeaseTable(server)
    assert (await lease.put(row_of(TERM), None)).term == TERM  # type: ignore[union-attr]
    return lease


@pytest.fixture
def append(server: Server, lease: PostgresLeaseTable) -> EventAppend:
    return EventAppend(server, lease)


async def prepared(server: Server) -> list[str]:
    """Return the statements that the server has prepared for the session of appends, if that is ours alone."""
    async with server.writing() as connection:
        return [text for (text,) in await connection.fetch("SELECT statement FROM pg_prepared_statements")]


async def read(server: Server) -> Sequence[Event]:
    async with server.reading() as connection:
        return await event_reads.read(connection, 0, 100_000)


_WAITING = """SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND datname = current_database()"""


async def wait_for_lock(server: Server) -> None:
    """Wait until a session waits for a lock of another one."""
    async with server.reading() as connection:
        while await connection.fetch_one(_WAITING) is None:
            await connection.fetch("SELECT pg_sleep(0.005)")


_SIZES = "SELECT count(DISTINCT xmin::text), max(octet_length(events)), max(last) FROM {schema}.commits"


async def test_what_waited_in_a_long_outage_is_appended_in_parts(server: Server, append: EventAppend) -> None:
    large = [scheduled("sync", NOON + n * SECOND, kwargs={"text": str(n) * 100_000}) for n in range(100)]
    events = numbered(*large, *(succeeded("sync", NOON + n * SECOND) for n in range(100, 1600)))

    await append.append(events, TERM)

    async with server.reading() as connection:
        parts, longest, last = (await connection.fetch(_SIZES))[0]
    assert await read(server) == events
    assert last == len(events) > MOST_EVENTS
    assert longest <= MOST_BYTES
    assert parts > 4


async def test_a_repeated_append_writes_nothing_twice(
    server: Server, append: EventAppend, lease: PostgresLeaseTable
) -> None:
    first, more = runs(2), runs(3, after=6)
    await append.append(first, TERM)

    await append.append(first, TERM)
    await EventAppend(server, lease).append([*first, *more], TERM)  # a process that has another part of it

    assert await read(server) == [*first, *more]
    with pytest.raises(ConflictError):
        await append.append(runs(1, after=3), TERM)
    assert await read(server) == [*first, *more]


async def test_a_repeated_first_append_of_a_log_may_have_grown(server: Server, lease: PostgresLeaseTable) -> None:
    lost, repeated = EventAppend(server, lease), EventAppend(server, lease)
    async with server.reading() as connection:
        await repeated.load(connection)  # the log is empty as yet
    await lost.append(runs(1), TERM)

    await repeated.append(batch := runs(3), TERM)

    assert await read(server) == batch


async def test_a_repeated_end_of_a_restored_log_is_the_same(server: Server, lease: PostgresLeaseTable) -> None:
    lost, repeated = EventAppend(server, lease), EventAppend(server, lease)
    async with server.reading() as connection:
        await repeated.load(connection)
    await lost.end_at(7, TERM)

    await repeated.end_at(7, TERM)
    await repeated.append(batch := runs(1, after=7), TERM)

    assert await read(server) == batch


async def test_an_attempt_that_still_runs_on_the_server_is_waited_for(
    server: Server, append: EventAppend, lease: PostgresLeaseTable
) -> None:
    await append.append(runs(1), TERM)
    await append.append(batch := runs(1, after=3), TERM)
    async with server.writing() as connection:
        async with connection.transaction():  # undone, and done again by what is an attempt in flight
            rows = await connection.fetch("DELETE FROM {schema}.commits WHERE first = 4 RETURNING *")
        again = EventAppend(server, lease)
        async with connection.transaction():
            places = ", ".join(["%s"] * len(rows[0]))
            await connection.execute(f"INSERT INTO {{schema}}.commits VALUES ({places})", rows[0])  # noqa: S608
            repeated = asyncio.create_task(again.append([*batch, *runs(1, after=6)], TERM))
            await wait_for_lock(server)
    await repeated

    assert [event.position for event in await read(server)] == list(range(1, 10))


async def test_a_take_over_waits_for_appends_in_flight_and_ends_later_ones(
    server: Server, append: EventAppend, lease: PostgresLeaseTable
) -> None:
    await append.append(runs(1), TERM)
    async with server.writing() as connection, connection.transaction():
        held = "SELECT FROM {schema}.lease WHERE owner = %s AND epoch = %s FOR KEY SHARE"
        await connection.fetch(held, (TERM.owner, TERM.epoch))  # what an append in flight holds
        assert await lease.change(TERM, row_of(TERM, renewals=2))  # a renewal does not wait for it
        taking = asyncio.create_task(lease.put(row_of(LATER), row_of(TERM, renewals=2)))
        await wait_for_lock(server)
        assert not taking.done()
    assert (await taking).term == LATER  # type: ignore[union-attr]

    with pytest.raises(DeposedError):
        await append.append(runs(1, after=3), TERM)

    assert len(await read(server)) == 3
    assert not await lease.change(TERM, row_of(TERM, renewals=3))
    await EventAppend(server, lease).append(runs(1, after=3), LATER)
    assert len(await read(server)) == 6


async def test_a_kernel_that_has_won_again_repeats_its_append(
    server: Server, append: EventAppend, lease: PostgresLeaseTable
) -> None:
    following = Term(TERM.owner, TERM.epoch + 1)
    assert await lease.change(TERM, row_of(following, renewals=2))

    with pytest.raises(StoreUnavailableError):
        await append.append(runs(1), TERM)
    await append.append(runs(1), following)

    assert len(await read(server)) == 3


async def test_a_released_term_and_an_ended_one_append_nothing_more(
    server: Server, append: EventAppend, lease: PostgresLeaseTable
) -> None:
    await lease.delete(TERM)
    assert await lease.read() is None
    with pytest.raises(DeposedError):
        await append.append(runs(1), TERM)

    second = Term("two", await lease.newest_epoch() + 1)
    assert await lease.put(row_of(second), None) is not None
    await lease.end(row_of(second))
    with pytest.raises(DeposedError):
        await append.append(runs(1), second)

    assert await lease.newest_epoch() == second.epoch + 1
    assert await lease.put(row_of(second), None) is None  # an old epoch never comes back
    assert await read(server) == []


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM {schema}.commits WHERE first = 4",
        "UPDATE {schema}.commits SET identity = identity + 1 WHERE first = 4",
    ],
)
async def test_nothing_is_written_on_top_of_events_that_the_database_has_lost(
    server: Server, append: EventAppend, loss: str
) -> None:
    await append.append(runs(1), TERM)
    await append.append(runs(1, after=3), TERM)
    async with server.writing() as connection:
        await connection.execute(loss)
    left = await read(server)

    with pytest.raises(LostEventsError):
        await append.append(runs(1, after=6), TERM)

    assert await read(server) == left


async def test_events_that_were_deleted_meanwhile_are_not_taken_for_lost_ones(
    server: Server, append: EventAppend
) -> None:
    await append.append(runs(1), TERM)
    async with server.writing() as connection:  # what retention does to the newest row
        await connection.execute("UPDATE {schema}.commits SET events = '[null,null,null]', checksum = 0")

    await append.append(runs(1, after=3), TERM)

    async with server.reading() as connection:
        assert await event_reads.head(connection) == 6


async def test_a_stream_that_is_filed_cannot_begin_again(server: Server, append: EventAppend) -> None:
    async with server.writing() as connection:
        await connection.execute("INSERT INTO {schema}.streams VALUES (%s, 1, 1)", (scheduled("sync")[0].stream,))

    with pytest.raises(ConflictError):
        await append.append(numbered(scheduled("sync")), TERM)

    assert await read(server) == []


async def test_an_append_makes_the_partition_that_is_missing(server: Server, append: EventAppend) -> None:
    await append.end_at(3 * SMALLEST, TERM)

    await append.append(batch := runs(200, after=3 * SMALLEST), TERM)

    assert await read(server) == batch


async def test_damage_is_found_when_a_row_is_read(server: Server, append: EventAppend) -> None:
    await append.append(runs(1), TERM)
    async with server.writing() as connection:
        await connection.execute("UPDATE {schema}.commits SET events = set_byte(events, 20, 88)")

    with pytest.raises(StoreError, match="events 1 to 3 are not as written"):
        await read(server)


async def test_positions_and_times_at_the_limits_of_smaller_numbers_are_found(dsn: str, tmp_path: Path) -> None:
    async with PostgresStore(dsn, spool=tmp_path / "spool.db") as store:
        await store.restore(numbered(succeeded(), after=2**15 - 2), [], [], 2**15 + 1)

        assert [event.position for event in await store.read(2**15 - 2)] == [2**15 - 1, 2**15, 2**15 + 1]
        assert await store.read(2**31 - 2) == []
        for moment in (EPOCH, EPOCH + timedelta(microseconds=2**15 - 1), EPOCH + timedelta(microseconds=2**31 - 1)):
            assert await store.job_events("sync", EPOCH, moment) == []


async def test_an_append_is_planned_once_for_a_connection_whatever_its_positions(
    server: Server, append: EventAppend
) -> None:
    for after in (0, 3, 32_766):  # below and above the largest number of two bytes
        await append.end_at(after, TERM)
        await append.append(runs(1, after), TERM)

    first, later = await prepared(server)
    assert "NOT EXISTS" in first
    assert "NOT EXISTS" not in later


async def test_nothing_is_prepared_in_a_session_that_a_pooler_lends(pooled_dsn: str, lease: PostgresLeaseTable) -> None:
    server = Server(pooled_dsn, 'a schema; with "odd" name, 100 %s', timeout=30.0)
    await server.connect()
    append = EventAppend(server, lease)
    for after in (0, 3):
        await append.append(runs(1, after), TERM)

    assert await prepared(server) == []
    await server.close()
