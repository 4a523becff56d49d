"""Full disks and locked files: the store reports that it is unavailable, and loses nothing."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.domain import execution
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.testing.histories import NOON, SECOND, append, failed, numbered, scheduled, succeeded
from gnomon_sqlite import SqliteStore, connection

FILLER = """
import asyncio, resource, sys
from gnomon.domain import execution
from gnomon.errors import StoreUnavailableError
from gnomon import ExecutionQuery
from gnomon.testing.histories import NOON, SECOND, append, failed
from gnomon_sqlite import SqliteStore

async def fill(store, written):
    for n in range(10_000):
        history = failed("sync", NOON + n * SECOND, "x" * 2000)
        try:
            written += await append(store, history)
        except StoreUnavailableError as exc:
            return history, exc
    raise SystemExit("the limit was never reached")

async def main():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    async with SqliteStore(sys.argv[1]) as store:
        written = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        refused, exc = await fill(store, written)
        assert await store.read(limit=100_000) == written
        assert await store.execution(refused[0].stream) is None
        for _ in range(3):  # it stays so, for as long as the disk is full
            try:
                await append(store, refused)
            except StoreUnavailableError:
                continue
            raise SystemExit("written to a full disk")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        written += await append(store, refused)
    async with SqliteStore(sys.argv[1]) as store:
        assert await store.read(limit=100_000) == written
        assert (await store.executions(ExecutionQuery())).total == len(written) // 3
        assert await store.execution(refused[0].stream) == execution.fold(written[-3:])
    print(len(written), exc)

asyncio.run(main())
"""


def test_a_full_disk_makes_the_store_unavailable_until_there_is_space_again(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"

    done = subprocess.run([sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "cannot be used now" in done.stdout
    with sqlite3.connect(path) as log:
        assert log.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    log.close()


async def test_a_full_database_writes_nothing_of_a_batch_and_names_the_remedy(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        batch = await append(store, succeeded())
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        more = [failed("sync", NOON + n * SECOND, "x" * 1000) for n in range(1, 50)]

        with pytest.raises(StoreUnavailableError, match="free some space"):
            await append(store, *more)

        assert await store.read() == batch
        assert await store.head() == 3
        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert (await append(store, *more))[-1].position == 3 + 3 * 49


async def test_a_locked_file_is_unavailable_for_writing_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOCK_PATIENCE_S", 0.05)
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await append(store, scheduled())
        shell = sqlite3.connect(store.path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailableError, match="another program has locked the file"):
            await append(store, scheduled("other"))

        assert await store.head() == 1
        shell.close()
        assert (await append(store, scheduled("other")))[0].position == 2


async def test_a_damaged_file_is_an_error_that_is_not_retried(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    async with SqliteStore(path) as store:
        await append(store, *(failed("sync", NOON + n * SECOND, "x" * 3000) for n in range(100)))
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 3 :] = b"\x5a" * (len(damaged) - 4096 * 3)
    path.write_bytes(damaged)

    with pytest.raises(StoreError, match="damaged") as caught:
        async with SqliteStore(path) as store:
            await store.read(limit=1000)

    assert not isinstance(caught.value, StoreUnavailableError)


async def test_an_event_that_cannot_be_encoded_leaves_no_trace(tmp_path: Path) -> None:
    history = numbered(scheduled("sync", kwargs={"name": object()}))

    async with SqliteStore(tmp_path / "gnomon.db") as store:
        with pytest.raises(TypeError):
            await store.append(history, [execution.begin(history[0])], [])

        assert await store.read() == []
        await append(store, scheduled())
