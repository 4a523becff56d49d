"""Events in the log whose views are not in the tables yet: every reader sees them, and a crash loses nothing."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon.domain import events, execution
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import ConflictError
from gnomon.testing import check_store
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    every_type,
    extend,
    failed,
    job_added,
    job_states,
    numbered,
    running,
    scheduled,
    succeeded,
    unknown,
)
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.views import projection_writer
from gnomon_sqlite.views.flush_timer import BURST

NEVER = 10**9


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open(read_only=True)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gnomon.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    store.flush_threshold = NEVER
    async with store:
        yield store


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


async def flush(store: SqliteStore) -> None:
    await store._write(projection_writer.flush, store._pending)


async def test_an_append_writes_its_events_and_no_view(store: SqliteStore, path: Path) -> None:
    await append(store, job_added(), succeeded(), running(at=NOON + SECOND))

    assert [rows(path, table) for table in ("commits", "executions", "live", "jobs")] == [1, 0, 0, 0]
    await flush(store)
    assert [rows(path, table) for table in ("commits", "executions", "live", "jobs")] == [1, 1, 1, 1]
    assert rows(path, "flushed") == 1


async def test_views_are_flushed_at_the_threshold(path: Path) -> None:
    store = SqliteStore(path)
    store.flush_threshold = 6
    async with store:
        await append(store, succeeded())
        assert rows(path, "executions") == 0
        await append(store, succeeded(at=NOON + SECOND))
        await append(store, running(at=NOON + 2 * SECOND))  # it comes after the flush, in the same thread

        assert [rows(path, table) for table in ("executions", "live")] == [2, 0]

    assert [rows(path, table) for table in ("executions", "live")] == [2, 1]


async def test_another_process_reads_unflushed_events_as_they_come(store: SqliteStore, path: Path) -> None:
    history = running()
    async with reading(path) as other:
        await append(store, job_added(), history)
        assert (await other.execution(history[0].stream)) == execution.fold(history)
        assert [state.job_id for state in await other.jobs()] == ["sync"]

        history = extend(history, events.Progress, percent=50.0)
        await append(store, history[-1:])
        assert (await other.execution(history[0].stream)) == execution.fold(history)

        await flush(store)
        history = extend(history, events.Succeeded, execution_time=1.0)
        await append(store, history[-1:])
        page = await other.executions(ExecutionQuery(status=("success",)))
        assert (page.items, page.total) == ([execution.fold(history)], 1)
        assert (await other.executions(ExecutionQuery(status=("running",)))).total == 0
        assert await other.stream(history[0].stream) == await store.stream(history[0].stream)
        assert await other.jobs() == await store.jobs() == job_states(await store.read())


async def test_lists_hold_flushed_and_unflushed_runs_each_once_and_in_order(store: SqliteStore) -> None:
    for n in range(30):
        make = (succeeded, failed, running)[n % 3]
        await append(store, make(f"job_{n % 4}", NOON + n * SECOND, is_manual=n % 5 == 0))
        if n in {7, 19}:
            await flush(store)
    late = [(await store.executions(ExecutionQuery(status=("running",), limit=200))).items[n] for n in (0, -1)]
    for view in late:
        await append(store, extend(await store.stream(view.id), events.Succeeded, execution_time=2.0)[-1:])

    assert len(await check_store(store)) == 82
    whole = (await store.executions(ExecutionQuery(limit=200))).items
    for query in (
        ExecutionQuery(limit=7),
        ExecutionQuery(limit=7, status=("success",)),
        ExecutionQuery(job_id="job_1"),
    ):
        expected = [
            view
            for view in whole
            if query.job_id in {None, view.job_id} and (not query.status or view.status in query.status)
        ]
        found, cursor = [], None
        while True:
            page = await store.executions(
                ExecutionQuery(limit=7, job_id=query.job_id, status=query.status, cursor=cursor)
            )
            assert page.total == len(expected)
            found += page.items
            if (cursor := page.next) is None:
                break
        assert found == expected


def crashed(store: SqliteStore, to: Path) -> Path:
    """Copy the files as a killed process would leave them."""
    shutil.copy(store.path, to)
    shutil.copy(store.path.with_name(f"{store.path.name}-wal"), to.with_name(f"{to.name}-wal"))
    return to


WHOLE = [job_added("late"), *every_type()]


@pytest.mark.parametrize("cut", [0, 3, len(WHOLE)])
async def test_a_crash_before_a_flush_loses_nothing(store: SqliteStore, tmp_path: Path, cut: int) -> None:
    await append(store, *WHOLE[:cut])
    await flush(store)
    await append(store, *WHOLE[cut:])
    views = (await store.executions(ExecutionQuery(limit=200, hidden=True))).items
    copy = crashed(store, tmp_path / "copy.db")

    async with reading(copy) as reader:
        assert (await reader.executions(ExecutionQuery(limit=200, hidden=True))).items == views
    async with SqliteStore(copy) as again:
        assert (await again.executions(ExecutionQuery(limit=200, hidden=True))).items == views
        assert await again.jobs() == await store.jobs()
        for view in views:
            assert await again.stream(view.id) == await store.stream(view.id)
        await check_store(again)
        assert rows(copy, "executions") == sum(view.is_over for view in views)
        assert rows(copy, "live") == sum(not view.is_over for view in views)
        await append(again, scheduled("next", NOON + timedelta(days=1)))


async def test_events_after_the_end_of_a_run_update_its_row(store: SqliteStore) -> None:
    early, late = failed("early"), failed("late")
    await append(store, early)
    await flush(store)
    await append(store, late)
    for history in (early, late):
        await append(store, extend(history, events.Hidden, actor="ann")[-1:])
    seen = [await store.execution(history[0].stream) for history in (early, late)]
    await flush(store)

    assert [view.hidden for view in seen if view is not None] == [True, True]
    assert [await store.execution(history[0].stream) for history in (early, late)] == seen
    assert (await store.executions(ExecutionQuery())).total == 0
    assert (await store.executions(ExecutionQuery(hidden=True))).total == 2


async def test_a_conflict_is_found_whether_the_stream_is_flushed_or_not(store: SqliteStore) -> None:
    for flushed in (False, True):
        await append(store, succeeded(at=NOON + flushed * SECOND))
        if flushed:
            await flush(store)
        twin = numbered(scheduled(at=NOON + flushed * SECOND), after=await store.head())
        with pytest.raises(ConflictError):
            await store.append(twin, [], [])


async def test_a_failed_flush_is_logged_and_tried_again(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store.flush_threshold = 3
    with monkeypatch.context() as patch, capture_logs() as told:
        patch.setattr(projection_writer, "put_jobs", broken)
        await append(store, succeeded())
        await append(store, running(at=NOON + SECOND))
        assert (await store.executions(ExecutionQuery())).total == 2
        assert rows(path, "executions") == 0
    await append(store, scheduled(at=NOON + 2 * SECOND))
    await append(store, scheduled(at=NOON + 3 * SECOND))

    assert [line["event"] for line in told] == ["views could not be flushed"]  # once, not for each append
    assert rows(path, "executions") == 1
    await check_store(store)


@pytest.mark.parametrize("flushed", [0, 1, 2])
async def test_events_of_unknown_types_are_kept_and_do_not_hide_the_rest(
    store: SqliteStore, tmp_path: Path, flushed: int
) -> None:
    await append(store, succeeded())
    first = unknown("other")
    strange = [first, msgspec.structs.replace(first, version=2, raw={**first.raw, "version": 2})]
    for number, event in enumerate(strange):
        if number == flushed:
            await flush(store)
        await store.append(numbered([event], after=await store.head()), [], [])
    if flushed == 2:
        await flush(store)

    async with SqliteStore(crashed(store, tmp_path / "copy.db")) as again:
        assert (await again.executions(ExecutionQuery())).total == 1
        assert [(event.type, event.version) for event in await again.stream(first.stream)] == [
            ("unknown", 1),
            ("unknown", 2),
        ]


async def test_a_store_that_was_closed_in_a_burst_flushes_again_after_it_is_reopened(path: Path) -> None:
    store = SqliteStore(path)
    store.flush_threshold = BURST
    async with store:
        await append(store, *(scheduled(at=NOON + n * SECOND) for n in range(BURST)))
    store.flush_threshold = 3
    async with store:
        before = rows(path, "executions")
        await append(store, succeeded("two"))
        await append(store, running("three"))  # it comes after the flush, in the same thread

        assert rows(path, "executions") == before + 1
