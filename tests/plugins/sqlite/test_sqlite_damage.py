"""Bytes that changed on the disk: found when they are read, and at the start; never served, never overwritten."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.domain.records import ExecutionQuery
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.testing.histories import NOON, SECOND, append, scheduled, succeeded
from gnomon_sqlite import SqliteStore
from whole_log import everything, various


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gnomon.db"


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def written(path: Path, n: int = 3) -> None:
    async with SqliteStore(path) as store:
        await append(store, *(succeeded(at=NOON + k * SECOND) for k in range(n)))


def execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(sql)


FLIPPED = (
    "UPDATE commits SET events = CAST(replace(CAST(events AS TEXT), 'worker-1', 'worker-2') AS BLOB) WHERE first = 4"
)
CUT = "UPDATE commits SET events = substr(events, 1, 100) WHERE first = 4"


@pytest.mark.parametrize("damage", [FLIPPED, CUT], ids=["flipped", "cut"])
async def test_a_row_that_changed_on_disk_is_found_when_the_log_is_opened_and_read(path: Path, damage: str) -> None:
    async with SqliteStore(path) as store:
        for n in range(4):
            await append(store, succeeded(at=NOON + n * SECOND))
        streams = [event.stream for event in await store.read() if event.version == 1]
        execute(path, damage)
        reads = [
            store.read(),
            store.read(3),
            store.job_events("sync", NOON, NOON + 9 * SECOND),
            store.stream(streams[1]),
        ]
        for found in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(found, StoreError)
            assert not isinstance(found, StoreUnavailableError)
            assert "events 4 to 6 are not as written" in str(found)
            assert "restore a backup" in str(found)
        assert len(await store.read(6)) == 6
    before = content(path)

    with pytest.raises(StoreError, match="events 4 to 6 are not as written"):
        await SqliteStore(path).open()

    assert content(path) == before


async def test_a_damaged_page_is_found_when_the_log_is_opened(path: Path) -> None:
    await written(path, 2000)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 8192 * 4096
    damaged[middle : middle + 4096] = b"\x5a" * 4096
    path.write_bytes(damaged)

    with pytest.raises(StoreError, match=r"the log is damaged|the database is damaged"):
        await SqliteStore(path).open()

    assert content(path) == hashlib.sha256(damaged).hexdigest()


async def test_pruning_keeps_the_checksums_right(path: Path) -> None:
    async with SqliteStore(path) as store:
        for n in range(6):
            await append(store, succeeded(at=NOON + n * SECOND), scheduled("stays", NOON + n * SECOND))
        await store.prune(NOON + 6 * SECOND)
    async with SqliteStore(path) as store:
        assert {event.job_id for event in await store.read()} == {"stays", "sync"}


# --- what follows from the log


FOLDED_AGAIN = {
    "view": "UPDATE executions SET body = replace(body, 'worker-1', 'worker-2') WHERE rowid = 2",
    "cut view": "UPDATE executions SET body = substr(body, 1, 40) WHERE rowid = 2",
    "text in place of a view": "UPDATE executions SET body = CAST(body AS TEXT) WHERE rowid = 2",
    "unfinished view": "UPDATE live SET body = CAST(replace(body, 'slow', 'slim') AS BLOB)",
    "job": "UPDATE jobs SET body = CAST(replace(body, 'me', 'he') AS BLOB)",
    "fires": "UPDATE fires SET newest_fire = newest_fire + 1000000",
    "fires of a job gone": "DELETE FROM fires",
    "end of a run": "UPDATE executions SET last = last - 1 WHERE rowid = 2",
    "version of a run": "UPDATE executions SET version = version + 1 WHERE rowid = 2",
    "end of a job's stream": "UPDATE streams SET last = last + 1",
    "act": "UPDATE actions SET body = CAST(replace(body, 'me', 'he') AS BLOB)",
}


@pytest.mark.parametrize("damage", FOLDED_AGAIN.values(), ids=FOLDED_AGAIN.keys())
async def test_a_damaged_record_is_folded_again_from_the_log(path: Path, damage: str) -> None:
    async with SqliteStore(path) as store:
        await various(store)
        expected = await everything(store)
    async with SqliteStore(path) as store:
        execute(path, damage)
        assert await everything(store) == expected
    execute(path, damage)
    with capture_logs() as logged:
        async with SqliteStore(path) as store:
            assert await everything(store) == expected
    async with SqliteStore(path) as store:
        assert await everything(store) == expected

    if "actions" not in damage:  # an act is read from its event
        assert any("again from the log" in one["event"] for one in logged)


async def test_a_reader_beside_a_kernel_names_a_damaged_record(path: Path) -> None:
    async with SqliteStore(path) as store:
        await various(store)
    execute(path, FOLDED_AGAIN["view"])
    reader = SqliteStore(path)
    await reader.open(read_only=True)
    try:
        with pytest.raises(StoreError, match=r"the execution '.*' is not as written"):
            await reader.executions(ExecutionQuery(limit=100))
    finally:
        await reader.close()


async def test_a_damaged_line_says_so_and_the_others_are_shown(path: Path) -> None:
    async with SqliteStore(path) as store:
        await various(store)
        stream = (await store.read())[2].stream
        execute(path, "UPDATE log_lines SET body = substr(body, 1, 20) WHERE number = 2")
        lines = await store.log(stream)

    assert [line.number for line in lines] == [1, 2, 3]
    assert [line.text for line in lines] == [
        "line 1",
        "this line is damaged in the log (its checksum differs)",
        "line 3",
    ]


async def test_a_damaged_checkpoint_is_named_and_not_used(path: Path) -> None:
    async with SqliteStore(path) as store:
        await various(store)
        execute(path, "UPDATE checkpoints SET position = 3")
        with pytest.raises(StoreError, match="the checkpoint 'stats' is not as written"):
            await store.checkpoint("stats")


async def test_a_view_whose_events_are_damaged_is_not_folded_from_them(path: Path) -> None:
    async with SqliteStore(path) as store:
        await various(store)
    async with SqliteStore(path) as store:
        execute(path, "UPDATE commits SET events = substr(events, 1, 100) WHERE first = 3")
        execute(path, FOLDED_AGAIN["view"])
        with pytest.raises(StoreError, match=r"events 3 to .* are not as written"):
            await store.executions(ExecutionQuery(limit=100))


DERIVED = {
    "count": "UPDATE counts SET n = n + 1 WHERE job_id = 'sync'",
    "missing count": "DELETE FROM counts",
    "index": """
        PRAGMA writable_schema = ON;
        CREATE TABLE away (name TEXT, sql TEXT);
        INSERT INTO away SELECT name, sql FROM sqlite_master WHERE name = 'executions_by_status';
        UPDATE sqlite_master SET sql = replace(sql, '(status, is_manual', '(status, 1 - is_manual')
        WHERE name = 'executions_by_status';
        PRAGMA writable_schema = RESET;
        REINDEX executions_by_status;
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = (SELECT sql FROM away) WHERE name = 'executions_by_status';
        DROP TABLE away;
        PRAGMA writable_schema = RESET;""",
}


@pytest.mark.parametrize("damage", DERIVED.values(), ids=DERIVED.keys())
async def test_wrong_indexes_and_counts_are_built_again_at_the_start(path: Path, damage: str) -> None:
    async with SqliteStore(path) as store:
        await various(store)
        store._flush()
        expected = await everything(store)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(damage)

    with capture_logs() as logged:
        async with SqliteStore(path) as store:
            assert await everything(store) == expected

    assert "damaged views, indexes or counts were built again from the log" in {one["event"] for one in logged}
