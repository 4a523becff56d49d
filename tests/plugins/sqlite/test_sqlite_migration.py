"""Logs that older versions of the store wrote: each is migrated once, and loses nothing."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gnomon.domain import events, execution
from gnomon.domain.records import ActionQuery, Bounds, Checkpoint, ExecutionQuery
from gnomon.domain.run_sorting import SORT_KEYS, RunSort
from gnomon.errors import StoreError
from gnomon.testing import check_store
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    extend,
    job_added,
    job_states,
    missed,
    running,
    scheduled,
    succeeded,
)
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.log.checksums import seal
from gnomon_sqlite.schema import SCHEMA_VERSION

HERE = Path(__file__).parent


@pytest.fixture(params=[1, 2, 3, 4, 5])
def schema(request: pytest.FixtureRequest) -> int:
    """An older schema; `schema_N.sql` is a dump of one and the same log, as the version with that schema wrote it."""
    number: int = request.param
    return number


@pytest.fixture
def old(tmp_path: Path, schema: int) -> Path:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((HERE / f"schema_{schema}.sql").read_text(encoding="utf-8"))
    return path


def schema_of(path: Path) -> Iterator[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as database:
        for *what, sql in database.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY type, name"
        ):
            yield *what, "".join((sql or "").split())
        yield database.execute("PRAGMA user_version").fetchone()


async def test_an_older_log_has_the_schema_of_a_new_one_afterwards(old: Path, tmp_path: Path) -> None:
    async with SqliteStore(old), SqliteStore(tmp_path / "new.db"):
        pass

    assert list(schema_of(old)) == list(schema_of(tmp_path / "new.db"))


async def test_an_older_log_keeps_events_views_counts_lines_and_checkpoints(old: Path) -> None:
    async with SqliteStore(old) as store:
        log = await store.read(limit=10_000)
        await check_store(store)
        page = await store.executions(ExecutionQuery(limit=200))

        streams = dict.fromkeys(event.stream for event in log if isinstance(event, events.ExecutionEvent))
        views = [execution.fold([event for event in log if event.stream == stream]) for stream in streams]
        assert sorted(page.items, key=lambda view: view.id) == sorted(views, key=lambda view: view.id)
        assert page.total == len(views) == 8
        assert (await store.executions(ExecutionQuery(job_id="marked", status=("failed",)))).total == 1
        assert await store.jobs() == job_states(log)
        assert [line.text for line in await store.log("a" * 24)] == ["kept"]
        assert await store.checkpoint("stats") == Checkpoint(7, b"view")
        assert await store.head() == 35
        assert (await append(store, scheduled("next")))[0].position == 36


async def test_the_acts_of_operators_are_read_from_an_older_log(old: Path) -> None:
    async with SqliteStore(old) as store:
        page = await store.actions(ActionQuery())

    assert [(one.job_id, one.action, one.actor) for one in page.items] == [
        ("marked", "mark_failed", "bob"),
        ("marked", "trigger", "ann"),
        ("paused", "resume", "bob"),
        ("paused", "pause", "ann"),
        ("job", "remove", "bob"),
        ("job", "resume", "ann"),
        ("job", "pause", "ann"),
        ("cancelled", "cancel", "ann"),
        ("success", "trigger", "ann"),
    ]
    assert page.total == 9


async def test_runs_in_an_older_log_can_be_hidden(old: Path) -> None:
    async with SqliteStore(old) as store:
        (view,) = (await store.executions(ExecutionQuery(job_id="marked"))).items
        await append(store, extend(await store.stream(view.id), events.Hidden, actor="ann")[-1:])

        assert (await store.executions(ExecutionQuery(job_id="marked"))).total == 0
        assert (await store.executions(ExecutionQuery(job_id="marked", hidden=True))).total == 1
        assert await store.prune(NOON.replace(year=2027)) == 8


async def test_opening_an_older_log_read_only_is_refused_and_changes_nothing(old: Path, schema: int) -> None:
    before = old.read_bytes()

    with pytest.raises(
        StoreError, match=rf"its schema is {schema}, this version reads {SCHEMA_VERSION}; start a kernel there"
    ):
        await SqliteStore(old).open(read_only=True)

    assert old.read_bytes() == before


async def test_a_migration_that_fails_leaves_the_log_as_it_was(old: Path, schema: int, tmp_path: Path) -> None:
    breaking = {
        3: "UPDATE live SET body = CAST('not a view' AS BLOB)",
        4: "UPDATE jobs SET body = CAST('not a view' AS BLOB)",
        5: "CREATE VIEW identity AS SELECT 1 AS log_id WHERE 0",
    }.get(schema, "UPDATE events SET body = CAST('not an event, \"actor\":' AS BLOB) WHERE position = 30")
    broken = tmp_path / "broken.db"
    shutil.copy(old, broken)
    with closing(sqlite3.connect(broken)) as database, database:
        database.execute(breaking)
    before = list(schema_of(broken))

    with pytest.raises(StoreError, match=r"JSON|cannot be read|cannot modify identity"):
        await SqliteStore(broken).open()

    assert list(schema_of(broken)) == before


async def test_a_log_of_schema_8_learns_when_its_jobs_were_removed(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    there = extend(job_added("there"), events.JobRemoved, actor="ann")
    async with SqliteStore(path) as store:
        await append(
            store,
            extend(job_added("gone"), events.JobRemoved, actor="ann"),
            extend(there, events.JobAdded, definition={"id": "there", "func": "app:run"}),
        )
        states, removed_at = await store.jobs(), NOON + SECOND
        await store.prune(NOON)  # which flushes them
    with closing(sqlite3.connect(path)) as database:
        database.executescript("DROP INDEX jobs_by_removal; ALTER TABLE jobs DROP COLUMN removed_at")
        for (body,) in database.execute("SELECT body FROM jobs WHERE id = 'gone'").fetchall():
            old = re.sub(rb',"removed_at":"[^"]+"', b"", body)
            assert old != body
            database.execute("UPDATE jobs SET body = ?, checksum = ? WHERE id = 'gone'", (old, seal("gone", old)))
        database.execute("PRAGMA user_version = 8")
        database.commit()

    async with SqliteStore(path) as store:
        assert await store.jobs() == states
        assert [(one.job_id, one.removed_at) for one in states] == [("gone", removed_at), ("there", None)]
        assert [one.job_id for one in await store.jobs(removed=False)] == ["there"]
        await store.prune(removed_at)
        assert len(await store.jobs()) == 2
        await store.prune(removed_at + SECOND)
        assert [one.job_id for one in await store.jobs()] == ["there"]


async def test_a_log_of_schema_9_gets_what_lists_are_sorted_by(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    half = extend(running("half", actor="ann"), events.Progress, percent=50.0)
    async with SqliteStore(path) as store:
        await append(store, succeeded("done", is_manual=True, actor="bob"), half, missed("gone"))
        await store.prune(NOON - SECOND)  # which flushes them
        pages = [await store.executions(ExecutionQuery(sort=RunSort(key))) for key in SORT_KEYS]
    with closing(sqlite3.connect(path)) as database:
        database.executescript("DROP INDEX executions_by_status; DROP INDEX executions_by_actor")
        for table in ("live", "executions"):
            for column in ("late", "duration", "actor", "progress"):
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.executescript("""
            CREATE INDEX executions_by_status ON executions (status, is_manual, hidden, timestamp, id);
            PRAGMA user_version = 9""")

    async with SqliteStore(path) as store, SqliteStore(tmp_path / "new.db"):
        assert [await store.executions(ExecutionQuery(sort=RunSort(key))) for key in SORT_KEYS] == pages
        assert (await store.executions(ExecutionQuery(late=Bounds(least=1), actors=("ann", "bob")))).total == 2
        await check_store(store)
    assert list(schema_of(path)) == list(schema_of(tmp_path / "new.db"))
