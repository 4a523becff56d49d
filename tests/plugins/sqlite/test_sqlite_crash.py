"""SIGKILL of real processes while they append."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import StoreInUseError
from gnomon.testing.histories import NOON, append, scheduled
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.views.projection_writer import FLUSH_THRESHOLD

WRITER = """
import asyncio, sys
from datetime import timedelta
from gnomon.domain.events import Progress, Succeeded
from gnomon.testing.histories import NOON, append, failed, running, extend
from gnomon_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    store.flush_threshold = int(sys.argv[2])
    async with store:
        first = await store.head()
        for n in range(100_000):
            history = running(f"job_{n % 7}", NOON + timedelta(seconds=first + n), is_manual=n % 5 == 0)
            history = extend(extend(history, Progress, percent=float(n % 100)), Succeeded, execution_time=1.0)
            for part in (history[:2], history[2:3], history[3:] + failed(f"bad_{n % 3}", history[0].at)):
                batch = await append(store, part)
                print(batch[-1].position, flush=True)

asyncio.run(main())
"""


def start_writer(path: Path, flush_threshold: int = 50) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(flush_threshold)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_after(writer: subprocess.Popen[str], acknowledged: int) -> int:
    """Kill the writer after that many acknowledged appends; return the highest position that it printed."""
    assert writer.stdout is not None
    for _ in range(acknowledged):
        assert writer.stdout.readline(), "the writer ended on its own"
    writer.kill()
    rest = writer.stdout.read().splitlines()
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    return int(rest[-1]) if rest else 0


def streams_of(events: list[Event]) -> dict[str, list[Event]]:
    streams: dict[str, list[Event]] = {}
    for event in events:
        streams.setdefault(event.stream, []).append(event)
    return streams


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "gnomon.db", 0

    for round_, flush_threshold in enumerate((FLUSH_THRESHOLD, 50, 7)):
        acknowledged = max(acknowledged, kill_after(start_writer(path, flush_threshold), 60 + 17 * round_))

        async with SqliteStore(path) as store:
            events = await store.read(limit=1_000_000)
            assert [event.position for event in events] == list(range(1, await store.head() + 1))
            assert len(events) >= acknowledged
            for stream, history in streams_of(events).items():
                assert [event.version for event in history] == list(range(1, len(history) + 1))
                assert await store.execution(stream) == execution.fold(history)
        assert_consistent(path)


def assert_consistent(path: Path) -> None:
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    counted = database.execute(
        "SELECT job_id, status, is_manual, count(*) FROM executions GROUP BY 1, 2, 3 "
        "UNION SELECT '', status, is_manual, count(*) FROM executions GROUP BY 2, 3"
    ).fetchall()
    kept = database.execute("SELECT job_id, status, is_manual, n FROM counts WHERE n > 0").fetchall()
    assert sorted(kept) == sorted(counted)
    database.close()


async def test_a_second_writer_is_refused_with_the_process_id_of_the_first(tmp_path: Path) -> None:
    writer = start_writer(tmp_path / "gnomon.db")
    assert writer.stdout is not None
    writer.stdout.readline()

    try:
        with pytest.raises(StoreInUseError, match=f"process {writer.pid} on ") as caught:
            await SqliteStore(tmp_path / "gnomon.db").open()
    finally:
        kill_after(writer, 0)

    assert "gnomon.db is written by" in str(caught.value)


async def test_the_lock_of_a_killed_writer_is_free_and_its_record_is_replaced(tmp_path: Path) -> None:
    writer = start_writer(tmp_path / "gnomon.db")
    kill_after(writer, 1)

    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await append(store, scheduled("next", NOON))
        with pytest.raises(StoreInUseError) as caught:
            await SqliteStore(tmp_path / "gnomon.db").open()

    assert f"process {writer.pid} " not in str(caught.value)


async def test_reading_works_beside_a_writing_process(tmp_path: Path) -> None:
    writer = start_writer(tmp_path / "gnomon.db")
    assert writer.stdout is not None
    writer.stdout.readline()
    reader = SqliteStore(tmp_path / "gnomon.db")
    await reader.open(read_only=True)

    try:
        for _ in range(30):
            acknowledged = int(writer.stdout.readline())
            page = await reader.executions(ExecutionQuery(limit=200))
            assert await reader.head() >= acknowledged
            assert len(page.items) == min(page.total, 200)
    finally:
        await reader.close()
        kill_after(writer, 0)
