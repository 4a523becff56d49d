"""Partitions are dropped as a whole, and nothing else than what deleting run by run would delete is gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.records import ActionQuery, ExecutionQuery, LogLine
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    extend,
    failed,
    job_added,
    kernel_history,
    missed,
    numbered,
    running,
    scheduled,
    succeeded,
)
from gnomon.testing.list_contract import ListContract
from gnomon_postgres.lists import list_counts, list_parts, queries
from gnomon_postgres.lists.list_counts import Extent
from gnomon_postgres.retention import partition_drop
from gnomon_postgres.schema import migrations, partitions
from gnomon_postgres.schema.partitions import Partitions, read_partitions
from gnomon_postgres.server import Connection, Server
from gnomon_postgres.store import PostgresStore
from servers import eventually

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def store(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """Provide a store whose partitions have 64 positions."""
    monkeypatch.setattr(partitions, "SMALLEST", 64)
    monkeypatch.setattr(partitions, "LARGEST", 64)
    patience = timedelta(seconds=30)
    opened = PostgresStore(dsn, spool=tmp_path / "spool.db", timeout=patience, lease=2 * patience)
    async with opened as store:
        yield store


def log_of(chance: random.Random, runs: int) -> list[Event]:
    """Return the events of runs that overlap, some of which are changed long after their end, in the order of time."""
    histories: list[list[Event]] = [kernel_history(NOON + n * 5 * MINUTE, f"{n:024x}") for n in range(4)]
    for number in range(runs):
        job_id, at = f"job-{number % 7}", NOON + number * 6 * SECOND
        pick: Any = chance.choice([succeeded, succeeded, succeeded, failed, missed, running])
        history = pick(job_id, at, is_manual=number % 5 == 0, actor="ann" if number % 5 == 0 else None)
        if pick is not missed and chance.random() < 0.3:  # it takes minutes
            delay = chance.randrange(60, 900) * SECOND
            history = [*history[:-1], _later(history[-1], delay)]
        if pick is failed and chance.random() < 0.4:
            history = extend(history, events.LateResult, after=chance.randrange(1, 20) * MINUTE, outcome="succeeded")
        if pick is not running and chance.random() < 0.1:
            history = extend(history, events.Hidden, after=chance.randrange(1, 30) * MINUTE, actor="bob")
        if number % 40 == 7:
            job = job_added(f"{job_id}-{number}", at)
            histories.append(extend(extend(job, events.JobPaused, actor="ann"), events.JobRemoved, actor="ann"))
        histories.append(history)
    return sorted((event for history in histories for event in history), key=lambda event: event.at)


def _later(event: Event, delay: timedelta) -> Event:
    changed: dict[str, Any] = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**changed | {"at": event.at + delay})


async def seen(store: Store, streams: set[str]) -> dict[str, Any]:
    """Return everything that a log answers."""
    filters: list[dict[str, Any]] = [{}, {"job_id": "job-3"}, {"status": ("failed",)}, {"since": NOON + 9 * MINUTE}]
    pages = [await store.executions(ExecutionQuery(limit=500, hidden=True, **one)) for one in filters]
    return {
        "read": await store.read(0, 100_000),
        "pages": [(page.items, page.total) for page in pages],
        "shown": (await store.executions(ExecutionQuery(limit=1))).total,
        "per_job": (await store.executions(ExecutionQuery(per_job=3))).items,
        "actions": await store.actions(ActionQuery(limit=500)),
        "jobs": await store.jobs(),
        "streams": {stream: await store.stream(stream) for stream in sorted(streams)},
        "lines": {stream: await store.log(stream) for stream in sorted(streams)},
        "head": await store.head(),
    }


async def test_dropping_partitions_deletes_what_deleting_each_run_would(store: PostgresStore, dsn: str) -> None:
    chance = random.Random(5)
    log = log_of(chance, 200)
    streams = {event.stream for event in log}
    async with MemoryStore() as memory:
        place = 0
        while place < len(log):
            size = chance.choice([1, 2, 5, 40])
            for one in (store, memory):
                await append(one, *([event] for event in log[place : place + size]))
            place += size
        for stream in sorted(streams)[::5]:
            for one in (store, memory):
                await one.append_log(stream, [LogLine(number, NOON, "info", "a line") for number in (1, 2)])
        assert await seen(store, streams) == await seen(memory, streams)

        # At 11, a late result lies in a partition that is dropped before that of its run.
        for minutes in (4, 11, 17, 26):
            before = NOON + minutes * MINUTE
            assert await store.prune(before) == await memory.prune(before)
            assert await seen(store, streams) == await seen(memory, streams), minutes
        kept = await seen(store, streams)

        assert await store.rebuild() > 0
        assert await seen(store, streams) == kept

    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT first, is_bare FROM gnomon.partitions ORDER BY first").fetchall()
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'ended\\_%'").fetchone()
    assert detached(dsn) == []
    assert [is_bare for _, is_bare in found][:2] == [True, False], "those that were dropped became one"
    assert tables == (len(found) - 1,)
    assert len(found) < 12


def detached(dsn: str) -> list[str]:
    """Return the names of tables that were detached and not dropped yet."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ 'commits|ended' AND NOT relispartition"
        ).fetchall()
    return [name for (name,) in rows]


async def test_tables_that_an_ended_kernel_has_detached_are_dropped_by_the_next_one(
    store: PostgresStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(5):
        await append(store, *(succeeded("sync", NOON + minute * MINUTE + n * SECOND) for n in range(60)))

    async def fail(_server: Server, _name: str) -> None:
        raise StoreUnavailableError("the connection is lost")

    with monkeypatch.context() as cut:
        cut.setattr(partition_drop, "_free", fail)
        for minutes in (1, 2, 3):
            with pytest.raises(StoreUnavailableError, match="is lost"):
                await store.prune(NOON + minutes * MINUTE)
    assert len([name for name in detached(dsn) if "commits_1_" in name]) > 1, "the first place was taken several times"
    total = (await store.executions(ExecutionQuery())).total

    assert await store.prune(NOON) == 0
    assert detached(dsn) == []
    assert (await store.executions(ExecutionQuery())).total == total


async def test_a_view_of_a_user_keeps_the_files_of_its_partition_and_no_others(store: PostgresStore, dsn: str) -> None:
    for number in range(100):
        await append(store, succeeded("sync", NOON + number * SECOND))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT id FROM gnomon.ended_1")

        for _ in range(2):
            with pytest.raises(
                StoreError, match=r"drop that.*view public\.mine depends on table gnomon\.detached_ended_1_"
            ):
                await store.prune(NOON + MINUTE)
            assert [name.rpartition("_")[0] for name in detached(dsn)] == ["detached_ended_1"]
            assert (await store.executions(ExecutionQuery())).total < 50

        connection.execute("DROP VIEW public.mine")
    await store.prune(NOON + MINUTE)
    assert detached(dsn) == []


async def test_runs_of_a_partition_that_is_nearly_over_are_left_to_be_dropped_with_it(store: PostgresStore) -> None:
    await append(store, *(succeeded("sync", NOON + n * MINUTE) for n in range(60)))

    assert await store.prune(NOON + 10 * MINUTE, spare=timedelta(hours=2)) == 0
    assert await store.prune(NOON + 10 * MINUTE) == 10


async def test_a_partition_that_is_being_read_is_dropped_later(
    store: PostgresStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(100)))
    monkeypatch.setattr(partition_drop, "LOCK_PAUSE_S", 0.01)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM gnomon.ended")
        detach = partition_drop.detach(store._server, store._tables.events.partitions, 1, NOON + MINUTE)
        detaching = asyncio.ensure_future(detach)
        for number in range(1, 9):  # appends are not held up for long
            await append(store, succeeded("beside", NOON + number * MINUTE))
        assert not detaching.done()

    gone = await detaching
    assert gone is not None
    assert gone.runs > 15


async def test_views_are_filed_while_a_partition_waits_to_be_dropped(
    store: PostgresStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(100)))
    monkeypatch.setattr(partition_drop, "LOCK_PAUSE_S", 0.01)

    async def refuse(_views: object) -> None:
        raise StoreUnavailableError("the server is too slow for a group of views")

    monkeypatch.setattr(store._writer._filer, "_write", refuse)  # type: ignore[union-attr]
    await append(store, *(succeeded("beside", NOON + n * SECOND) for n in range(100)))
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as observer:
        reader.execute("SELECT count(*) FROM gnomon.ended")
        detach = partition_drop.detach(store._server, store._tables.events.partitions, 1, NOON + MINUTE)
        detaching = asyncio.ensure_future(detach)
        await eventually(lambda: observer.execute("SELECT filed FROM gnomon.log").fetchone() == (600,))
        assert not detaching.done()

    assert await detaching is not None


async def test_a_list_whose_partition_is_dropped_meanwhile_is_read_again(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(100)))
    measured: list[int] = []

    async def measure(connection: Connection, query: ExecutionQuery) -> Extent:
        extent = await list_counts.measure(connection, query)
        measured.append(extent.total)
        if len(measured) == 1:
            await partition_drop.detach(store._server, store._tables.events.partitions, 1, NOON + MINUTE)
        return extent

    monkeypatch.setattr(queries, "measure", measure)
    page = await store.executions(ExecutionQuery(limit=200))

    assert measured == [100, len(page.items)]
    assert page.total == len(page.items) < 80


class TestListsOfManyPartitions(ListContract):
    @pytest.fixture
    async def store(self, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
        monkeypatch.setattr(partitions, "SMALLEST", 16)
        monkeypatch.setattr(partitions, "LARGEST", 16)
        monkeypatch.setattr(list_parts, "MOST_AT_ONCE", 2)
        patience = timedelta(seconds=30)
        opened = PostgresStore(dsn, spool=tmp_path / "spool.db", timeout=patience, lease=2 * patience)
        async with opened as store:
            yield store


async def test_a_lock_of_another_session_delays_the_next_partition_and_nothing_more(
    store: PostgresStore, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as analyst:
        await analyst.execute("ANALYZE gnomon.commits")  # which holds its lock until the transaction ends
        await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(12)))
        assert (await store.executions(ExecutionQuery())).total == 12
        await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(12, 20)))
        assert (await store.executions(ExecutionQuery())).total == 20

    await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(20, 40)))
    assert (await store.executions(ExecutionQuery())).total == 40


async def test_a_partition_of_a_transaction_that_is_rolled_back_is_not_known(dsn: str) -> None:
    server, known = Server(dsn, "gnomon", 30.0), Partitions(MINUTE)
    await server.connect()
    await migrations.prepare(server)
    await known.keep_ahead(server)

    async with server.writing() as connection:
        await connection.execute("BEGIN")
        made = await known.part_of(connection, 10**6)
        await connection.execute("ROLLBACK")
        async with connection.transaction():
            again = await known.part_of(connection, made.first)
            there = await read_partitions(connection)
    await server.close()

    assert again in there
    assert again.first <= made.first < again.next


async def test_positions_that_were_left_out_take_no_partitions_of_their_own(store: PostgresStore, dsn: str) -> None:
    parts = [numbered(succeeded(f"at-{after}"), after=after) for after in (0, 10**8, 2**53)]

    for part in parts:
        await store.restore(part, [execution.fold(part)], [], part[-1].position + 10**6)
    (following,) = await append(store, scheduled("next"))

    assert await store.read() == [*(event for part in parts for event in part), following]
    assert following.position == parts[-1][-1].position + 10**6 + 1
    assert (await store.executions(ExecutionQuery())).total == 4
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) < 20 FROM gnomon.partitions").fetchone() == (True,)


async def test_progress_is_deleted_and_the_runs_stay(store: PostgresStore) -> None:
    old = extend(extend(running("old"), events.Progress, percent=10.0), events.Progress, percent=20.0)
    old = extend(old, events.Succeeded, execution_time=3.0)
    new = extend(running("new", NOON + MINUTE), events.Progress, percent=10.0)
    new = extend(new, events.Succeeded, execution_time=3.0)
    plain = succeeded("plain")
    batch = await append(store, old, new, plain, succeeded("last", NOON + 2 * MINUTE))
    views = (await store.executions(ExecutionQuery())).items

    assert await store.prune_progress(NOON + MINUTE) == 2

    gone = [event for event in batch if event.job_id == "old" and isinstance(event, events.Progress)]
    assert await store.read() == [event for event in batch if event not in gone]
    assert [event.version for event in await store.stream(old[0].stream)] == [1, 2, 5]
    assert len(await store.stream(new[0].stream)) == 4
    assert (await store.executions(ExecutionQuery())).items == views
    assert await store.prune_progress(NOON + MINUTE) == 0
    assert await store.prune(NOON + MINUTE) == 2
    assert await store.read() == [event for event in batch if event.job_id in {"new", "last"}]
