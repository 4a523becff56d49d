"""Files that are not a log, or not one of ours, and the errors that they cause."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gnomon.errors import StoreError, StoreInUseError
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.file.lock import Holder


async def refusal(path: Path, *, read_only: bool = False) -> str:
    with pytest.raises(StoreError) as caught:
        await SqliteStore(path).open(read_only=read_only)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"this is my diary\n" * 100, b"\x00" * 5000])
async def test_a_file_that_is_not_a_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes(content)

    assert "not a SQLite database" in await refusal(path)

    assert path.read_bytes() == content


async def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    before = path.read_bytes()

    message = await refusal(path)

    assert "another program" in message
    assert "customers" in message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


async def test_a_log_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    async with SqliteStore(path):
        pass
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()

    message = await refusal(path)

    assert "its schema is 99" in message
    assert "upgrade Gnomon" in message
    assert message == await refusal(path, read_only=True)


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory" in await refusal(tmp_path)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"no folder {tmp_path / 'data'}" in await refusal(tmp_path / "data" / "gnomon.db")

    assert list(tmp_path.iterdir()) == []


async def test_opening_a_missing_log_for_reading_creates_nothing(tmp_path: Path) -> None:
    assert "there is no log" in await refusal(tmp_path / "gnomon.db", read_only=True)

    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_becomes_a_log_but_cannot_be_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    path.touch()

    assert "empty file" in await refusal(path, read_only=True)

    async with SqliteStore(path) as store:
        assert await store.head() == 0


def test_a_missing_permission_is_reported_as_such(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    path.touch(mode=0o000)
    script = """
import asyncio, os, sys
import gnomon_sqlite
if os.geteuid() == 0:
    os.setuid(65534)
async def main():
    async with gnomon_sqlite.SqliteStore(sys.argv[1]): pass
asyncio.run(main())
"""

    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)

    assert "gnomon.errors.StoreError" in done.stderr
    assert "no permission for" in done.stderr


async def test_a_store_that_failed_to_open_releases_everything(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    path.write_bytes(b"not yet a database" * 100)
    store = SqliteStore(path)
    with pytest.raises(StoreError):
        await store.open()
    path.unlink()

    async with store:
        await append(store, scheduled())
        with pytest.raises(StoreError, match="already open"):
            await store.open()
        assert await store.head() == 1


async def test_a_lock_whose_new_holder_has_not_recorded_itself_names_nobody(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = tmp_path / "gnomon.db.lock"
    lock.write_bytes(msgspec.json.encode(Holder(ended.pid, os.uname().nodename, datetime.now(UTC))))

    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreInUseError, match="has not recorded its process id yet"):
            await SqliteStore(tmp_path / "gnomon.db").open()


async def test_the_holder_is_named_whatever_the_lock_file_held_before(tmp_path: Path) -> None:
    (tmp_path / "gnomon.db.lock").write_bytes(b"x" * 1000)

    async with SqliteStore(tmp_path / "gnomon.db"):
        with pytest.raises(StoreInUseError, match=f"process {os.getpid()} on {os.uname().nodename} since ") as refused:
            await SqliteStore(tmp_path / "gnomon.db").open()
    assert 'that is this process: use its kernel, make this one with role="follower"' in str(refused.value)


@pytest.mark.parametrize(("synchronous", "expected"), [("FULL", 2), ("NORMAL", 1)])
async def test_synchronous_is_as_configured(tmp_path: Path, synchronous: str, expected: int) -> None:
    async with SqliteStore(tmp_path / "gnomon.db", synchronous=synchronous) as store:  # type: ignore[arg-type]
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (expected,)
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_paths_with_special_characters_work(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#%20 b:ü.db"

    async with SqliteStore(path) as store:
        await append(store, scheduled())

    assert path.stat().st_size > 0
