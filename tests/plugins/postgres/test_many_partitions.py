"""A log of many partitions: each run and its events are found, and no question locks the tables of all partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.domain import events
from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import execution_id, manual_execution_id
from gnomon.domain.records import ExecutionQuery, Page
from gnomon.domain.run_sorting import RunSort
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore
from gnomon.stores.microseconds import to_micros
from gnomon.testing.histories import NOON, SECOND, append, extend, job_added, running, scheduled, succeeded
from gnomon_postgres.lists import list_parts, queries
from gnomon_postgres.log import event_chains, event_reads
from gnomon_postgres.schema import migrations, partitions
from gnomon_postgres.schema.partitions import Partitions, read_partitions
from gnomon_postgres.schema.run_places import find_runs
from gnomon_postgres.server import Connection, Server
from gnomon_postgres.store import PostgresStore

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PATIENCE = timedelta(seconds=30)
RUNS = 250
ORDINARY = execution_id("sync", NOON + 90 * SECOND)
UNKNOWN = [execution_id("sync", NOON + 31 * SECOND), manual_execution_id("sync", NOON, "none", "ann"), "", "x" * 24]


def opened(dsn: str, folder: Path) -> PostgresStore:
    return PostgresStore(dsn, spool=folder / "spool.db", timeout=PATIENCE, lease=2 * PATIENCE)


@pytest.fixture
async def store(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """Provide a store whose partitions have 32 positions, and which follows streams in short stretches."""
    monkeypatch.setattr(partitions, "SMALLEST", 32)
    monkeypatch.setattr(partitions, "LARGEST", 32)
    monkeypatch.setattr(event_chains, "STRETCH", 64)
    monkeypatch.setattr(event_reads, "STRETCH", 64)
    monkeypatch.setattr(list_parts, "MOST_AT_ONCE", 4)
    async with opened(dsn, tmp_path) as store:
        yield store


def special_runs() -> dict[str, list[Event]]:
    """Return runs whose ids or events do not say in which partition they are, by what is special about them."""
    keyed = manual_execution_id("sync", NOON, "order-7", "ann")
    waited = extend(scheduled("slow"), events.Started, runner="async", worker="w", delay=3600.0, after=HOUR)
    long = running("long", NOON)
    for number in range(1, 9):
        long = extend(long, events.Progress, after=10 * MINUTE, percent=10.0 * number)
    return {
        "keyed": succeeded("sync", NOON + 7 * SECOND, scheduled_time=NOON + 7 * SECOND, stream=keyed),
        "named": succeeded("sync", NOON + 8 * SECOND, scheduled_time=NOON + 8 * SECOND, stream="not a time at all"),
        "repeated": succeeded(
            "sync", NOON + 2 * HOUR, scheduled_time=NOON + 2 * HOUR, stream=execution_id("sync", NOON, 2)
        ),
        "waited": extend(waited, events.Succeeded, execution_time=1.0),
        "long": extend(long, events.Succeeded, execution_time=4800.0),
        "late": extend(succeeded("late", NOON + 5 * SECOND), events.LateResult, outcome="succeeded", after=HOUR),
        "hidden": extend(succeeded("gone", NOON + 6 * SECOND), events.Hidden, actor="ann", after=2 * HOUR),
        "unfinished": running("unfinished", NOON + 3 * SECOND),
    }


def log_of(special: dict[str, list[Event]]) -> list[Event]:
    """Return the events of these runs among those of ordinary ones, in the order of time."""
    job = extend(job_added("sync", NOON), events.JobPaused, actor="ann", after=HOUR)
    job = extend(job, events.JobResumed, actor="ann", after=HOUR)
    ordinary = [succeeded("sync", NOON + number * 30 * SECOND) for number in range(RUNS)]
    return sorted((event for history in (job, *special.values(), *ordinary) for event in history), key=lambda e: e.at)


async def fill(*stores: Store) -> list[Event]:
    log = log_of(special_runs())
    for place in range(0, len(log), 20):
        for store in stores:
            await append(store, *([event] for event in log[place : place + 20]))
    return log


async def test_each_run_and_its_events_are_found(store: PostgresStore, dsn: str, tmp_path: Path) -> None:
    follower = PostgresStore(dsn, spool=tmp_path / "follower.db", timeout=PATIENCE)
    async with MemoryStore() as memory:
        streams = {event.stream for event in await fill(store, memory)}
        ids = streams - {job_stream("sync")}
        expected = {one: await memory.execution(one) for one in ids}
        await store.jobs()  # once all views are filed
        await follower.open(read_only=True)

        assert {one: await store.execution(one) for one in ids} == expected
        assert {one: await follower.execution(one) for one in ids} == expected
        assert await store.executions_by_id([*ids, *UNKNOWN]) == expected
        assert {one: await store.stream(one) for one in streams} == {one: await memory.stream(one) for one in streams}
        assert await store.read(0, 10_000) == await memory.read(0, 10_000)
        await follower.close()
    for one in UNKNOWN:
        assert await store.execution(one) is None
        assert await store.stream(one) == []


async def page(connection: Connection, **filters: Any) -> Page:
    return await queries.read_page(connection, ExecutionQuery(limit=3, **filters), None)


QUESTIONS: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "run": lambda connection: find_runs(connection, ("id", "body"), [ORDINARY]),
    "events of a run": lambda connection: event_reads.stream(connection, ORDINARY),
    "events": lambda connection: event_reads.read(connection, 300, 40),
    "head": event_reads.head,
    "newest": page,
    "newest of a job": lambda connection: page(connection, job_id="sync"),
    "longest": lambda connection: page(connection, sort=RunSort("duration", descending=True)),
    "of an actor": lambda connection: page(connection, actors=("otto",)),
    "newest of each job": lambda connection: page(connection, per_job=1),
}


async def test_no_question_locks_the_tables_of_all_partitions(store: PostgresStore) -> None:
    await fill(store)
    await store.jobs()
    for name, question in QUESTIONS.items():
        async with store._server.reading() as connection, connection.transaction():
            assert await question(connection) is not None
            ((locked, tables),) = await connection.fetch(LOCKED)
        assert locked < tables / 2 > 20, name


LOCKED = """SELECT count(*) FILTER (WHERE is_locked), count(*) FROM (
    SELECT c.oid IN (SELECT relation FROM pg_locks WHERE pid = pg_backend_pid()) AS is_locked
    FROM pg_class c WHERE relnamespace = 'gnomon'::regnamespace AND relname ~ '^(commits|ended)_[0-9]+$') AS part"""


async def test_partitions_of_a_log_that_goes_back_far_become_wider(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "SMALLEST", 64)
    server = Server(dsn, "gnomon", 30.0)
    await server.connect()
    await migrations.prepare(server)
    async with server.writing() as connection:
        await partitions.make(connection, 65, 129)
        row = "INSERT INTO {schema}.commits VALUES (%s, %s, %s, %s, 0, '', '', 0, 0)"
        for position, days in ((1, 640), (65, 5), (119, 0)):
            at = NOON - timedelta(days=days)
            micros = to_micros(at)
            await connection.execute(row, (position, position, micros, micros))
            note = "UPDATE {schema}.partitions SET begun_at = coalesce(begun_at, %s) WHERE first <= %s AND next > %s"
            await connection.execute(note, (at, position, position))
    await Partitions(timedelta(days=1)).keep_ahead(server)
    async with server.reading() as connection:
        *_, newest = await read_partitions(connection)
    await server.close()

    assert (newest.first, newest.next - newest.first) == (129, 54 * 10 // 5)  # for 10 days, a 64th of 640
