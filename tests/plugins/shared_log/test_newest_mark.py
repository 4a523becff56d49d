"""The mark beside a spool: it names the newest event that was acknowledged to kernels with this spool, on this log."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.testing.histories import numbered, succeeded
from gnomon_postgres.write_batch import BatchCodec, WriteBatch, identity_of
from gnomon_shared_log.writing.spool import Spool

EVENTS = numbered(succeeded())
FIRST, NEWEST = identity_of(EVENTS[0]), identity_of(EVENTS[-1])


@asynccontextmanager
async def opened(path: Path, log_id: str = "log-1") -> AsyncIterator[Spool[WriteBatch]]:
    spool = Spool(path, BatchCodec())
    await spool.open()
    await spool.belongs_to(log_id, "a place")
    yield spool
    await spool.close()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Provide the path of a spool whose mark names the newest event."""
    async with opened(tmp_path / "spool.db") as spool:
        spool.note_newest(FIRST)
        spool.note_newest(NEWEST)
    return tmp_path / "spool.db"


async def newest(path: Path, log_id: str = "log-1") -> object:
    async with opened(path, log_id) as spool:
        return spool.newest


async def test_the_newest_event_is_known_at_the_next_start_whoever_opened_the_spool_in_between(path: Path) -> None:
    await Spool(path, BatchCodec()).look()

    assert await newest(path) == await newest(path) == NEWEST


async def test_the_mark_of_another_log_counts_no_more(path: Path) -> None:
    assert await newest(path, "log-2") is None
    assert await newest(path) is None


async def test_a_new_spool_ignores_the_mark_of_one_that_was_moved_away(path: Path) -> None:
    path.rename(path.with_name("old.db"))

    assert await newest(path) is None


async def test_a_mark_that_is_deleted_while_the_kernel_runs_is_written_again(path: Path) -> None:
    async with opened(path) as spool:
        path.with_name("spool.db.mark").unlink()
        spool.note_newest(NEWEST)
        await spool.flush_newest()

    assert await newest(path) == NEWEST


async def test_a_damaged_mark_is_reported_and_does_not_stop_a_start(path: Path) -> None:
    mark = path.with_name("spool.db.mark")
    mark.write_bytes(mark.read_bytes().replace(b" ", b"!", 1))

    with capture_logs() as logs:
        assert await newest(path) is None

    assert [line["event"] for line in logs] == [
        "the mark beside the spool is damaged: a lost part of the log goes unnoticed"
    ]


async def test_what_a_version_without_marks_has_recorded_counts(path: Path) -> None:
    path.with_name("spool.db.mark").unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE newest (body BLOB NOT NULL)")
        connection.execute("INSERT INTO newest (body) VALUES (?)", (FIRST.body,))

    assert await newest(path) == await newest(path) == FIRST
