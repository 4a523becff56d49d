"""The file of a log shrinks after executions have been deleted, and appends go on meanwhile."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon.domain.execution import execution_id
from gnomon.testing.histories import NOON, append, failed, succeeded
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.file import vacuum

LATER = NOON + timedelta(days=1)


def pragma(path: Path, name: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def old_runs(count: int) -> Iterator[Any]:
    """Yield runs that failed with long messages, 10 kB each."""
    for number in range(count):
        yield failed(f"old{number}", NOON, error="x" * 10_000)


async def fill(store: SqliteStore, count: int) -> None:
    await append(store, *old_runs(count))


async def test_the_file_shrinks_after_a_prune(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    async with SqliteStore(path) as store:
        await append(store, succeeded("kept", LATER))
        await fill(store, 300)
    before = path.stat().st_size

    async with SqliteStore(path) as store:
        assert await store.prune(NOON + timedelta(hours=1)) == 300
    after = path.stat().st_size

    assert before > 3_000_000
    assert after < before / 10
    assert pragma(path, "freelist_count") == 0
    assert pragma(path, "integrity_check") == "ok"
    async with SqliteStore(path) as store:
        assert await store.execution(execution_id("kept", LATER)) is not None


async def test_appends_are_committed_while_the_file_shrinks(tmp_path: Path, monkeypatch: Any) -> None:
    steps: list[bool] = []
    shrink = vacuum.shrink

    def counted(connection: sqlite3.Connection) -> bool:
        steps.append(True)
        return shrink(connection)

    monkeypatch.setattr(vacuum, "shrink", counted)
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await fill(store, 300)
        shrinking = asyncio.ensure_future(store.prune(NOON + timedelta(hours=1)))
        while not steps:  # noqa: ASYNC110 - the steps are taken in the writer thread
            await asyncio.sleep(0.001)
        seen = []
        while not shrinking.done():
            seen.append(len(steps))
            await append(store, succeeded(f"new{len(seen)}", LATER))
        await shrinking

        assert len(steps) > 10
        assert len(seen) >= len(steps) // 2, "appends had to wait for more than a step"
        assert await store.execution(execution_id(f"new{len(seen)}", LATER)) is not None


async def test_a_log_that_cannot_shrink_is_compacted_when_it_is_opened(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "gnomon.db"
    monkeypatch.setattr(vacuum, "prepare", lambda _: None)  # as the version before created it
    async with SqliteStore(path) as store:
        await append(store, succeeded("kept", LATER))
        await fill(store, 300)
        await store.prune(NOON + timedelta(hours=1))
    before = path.stat().st_size
    assert pragma(path, "auto_vacuum") == 0
    assert pragma(path, "freelist_count") > 300

    async with SqliteStore(path) as store:
        kept = await store.execution(execution_id("kept", LATER))

    assert kept is not None
    assert path.stat().st_size < before / 10
    assert pragma(path, "auto_vacuum") == vacuum.INCREMENTAL


async def test_a_log_that_cannot_be_compacted_is_opened_anyway(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "gnomon.db"
    monkeypatch.setattr(vacuum, "prepare", lambda _: None)
    async with SqliteStore(path) as store:
        await fill(store, 100)
        await store.prune(NOON + timedelta(hours=1))
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM commits").fetchall()
        reader.execute("PRAGMA busy_timeout = 0")
        # A reader of another program does not keep the log from being opened.
        async with SqliteStore(path) as store:
            await append(store, succeeded("new", LATER))
            assert await store.execution(execution_id("new", LATER)) is not None
