"""Logs that lost acknowledged events while no kernel had them open: refused until the loss is accepted."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.domain.rollback import Rollback
from gnomon.errors import NoLogError, RolledBackError, StoreError
from gnomon.testing import check_store
from gnomon.testing.histories import NOON, SECOND, append, scheduled, succeeded
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.connection_check import check_connection
from gnomon_sqlite.file import rollback


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gnomon.db"


def content(path: Path) -> str:
    """Return a digest, the same for an empty file and for none: SQLite creates an empty WAL when it reads."""
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


async def written(path: Path, n: int = 3) -> None:
    async with SqliteStore(path) as store:
        await append(store, *(succeeded(at=NOON + k * SECOND) for k in range(n)))


KILLED = """
import asyncio, os, sys
from gnomon.testing import check_store
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        for n in range(10):
            await append(store, scheduled(f"job_{n}"))
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def killed_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Return logs with ten events in the WAL, by whether a kernel was killed at the first start or at a later one."""
    logs = {}
    for is_first in (True, False):
        logs[is_first] = path = tmp_path_factory.mktemp("killed") / "gnomon.db"
        if not is_first:
            asyncio.run(written(path))
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -signal.SIGKILL
    return logs


def copy_log(source: Path, path: Path) -> None:
    for suffix in ("", "-wal", ".mark"):
        shutil.copy(beside(source, suffix), beside(path, suffix))


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def delete_wal(path: Path) -> None:
    beside(path, "-wal").unlink()


def zero_wal(path: Path) -> None:
    wal = beside(path, "-wal")
    wal.write_bytes(bytes(wal.stat().st_size))


def cut_wal(path: Path) -> None:
    wal = beside(path, "-wal")
    os.truncate(wal, wal.stat().st_size // 2)


def flip_a_byte_of_the_wal(path: Path) -> None:
    wal = bytearray(beside(path, "-wal").read_bytes())
    wal[len(wal) // 2] ^= 1
    beside(path, "-wal").write_bytes(wal)


def delete_both(path: Path) -> None:
    path.unlink()
    beside(path, "-wal").unlink()


LOSSES = [delete, empty, delete_wal, zero_wal, cut_wal, flip_a_byte_of_the_wal, delete_both]


@pytest.mark.parametrize("is_first", [True, False], ids=["first-start", "later"])
@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
async def test_a_log_behind_its_mark_is_refused_and_left_as_it_is(
    path: Path, killed_logs: dict[bool, Path], lose: Callable[[Path], None], is_first: bool
) -> None:
    expected = 10 if is_first else 19
    copy_log(killed_logs[is_first], path)
    lose(path)
    before = [content(beside(path, suffix)) for suffix in ("", "-wal", ".mark")]

    for _ in range(2):
        with pytest.raises(RolledBackError, match=rf"had reached event {expected}: .*--accept-rollback") as checked:
            check_connection(path, "auto")
        with pytest.raises(RolledBackError) as refused:
            await SqliteStore(path).open()
        assert str(checked.value) == str(refused.value)
        assert [content(beside(path, suffix)) for suffix in ("", "-wal", ".mark")] == before

    store = SqliteStore(path)
    store.accept_rollback = True
    async with store:
        assert "is at event" in check_connection(path, "leader")
        assert isinstance(store.rollback, Rollback)
        assert store.rollback.expected == expected
        assert (await append(store, scheduled("next")))[0].position == expected + 1
    async with SqliteStore(path) as store:
        assert store.rollback is None


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
async def test_a_reader_is_told_what_a_kernel_would_refuse(
    path: Path, killed_logs: dict[bool, Path], lose: Callable[[Path], None]
) -> None:
    copy_log(killed_logs[False], path)
    whole, reader = SqliteStore(path), SqliteStore(path)
    await whole.open(read_only=True)
    await whole.close()
    assert whole.loss is None
    lose(path)
    with pytest.raises(RolledBackError) as refused:
        await SqliteStore(path).open()

    with capture_logs() as logged, contextlib.suppress(NoLogError):
        await reader.open(read_only=True)
        await reader.close()

    assert reader.loss is not None
    assert reader.loss.refusal == str(refused.value)
    assert reader.loss.rollback.expected == 19
    assert not logged


@pytest.mark.parametrize("is_first", [True, False], ids=["first-start", "later"])
async def test_a_kernel_that_was_killed_is_not_refused(
    path: Path, killed_logs: dict[bool, Path], is_first: bool
) -> None:
    copy_log(killed_logs[is_first], path)

    async with SqliteStore(path) as store:
        assert await store.head() == (10 if is_first else 19)


async def test_an_overwritten_header_is_written_again_from_the_wal(path: Path, killed_logs: dict[bool, Path]) -> None:
    copy_log(killed_logs[True], path)
    with path.open("r+b") as file:
        file.write(bytes(100))

    with capture_logs() as logged:
        async with SqliteStore(path) as store:
            await append(store, scheduled("next"))
            assert store._watch is not None
            assert store._watch.check_files()

    assert [one["event"][:38] for one in logged] == ["the header of the log was overwritten:"]
    assert path.read_bytes().startswith(b"SQLite format 3\0")
    async with SqliteStore(path) as store:
        assert await store.head() == 11
        await check_store(store)


async def test_reading_an_empty_database_does_not_delete_the_wal_beside_it(
    path: Path, killed_logs: dict[bool, Path]
) -> None:
    """SQLite does, when it opens an empty file."""
    copy_log(killed_logs[False], path)
    os.truncate(path, 0)
    before = content(beside(path, "-wal"))

    with pytest.raises(NoLogError, match="is an empty file"):
        await SqliteStore(path).open(read_only=True)
    beside(path, ".mark").unlink()
    with pytest.raises(RolledBackError, match="SQLite would delete"):
        await SqliteStore(path).open()

    assert content(beside(path, "-wal")) == before


async def test_another_log_at_the_path_is_refused_until_that_is_accepted(path: Path, tmp_path: Path) -> None:
    await written(path)
    await written(tmp_path / "other.db", 1)
    shutil.copy(tmp_path / "other.db", path)

    with pytest.raises(RolledBackError, match="is of another log, which had reached event 9"):
        await SqliteStore(path).open()
    store = SqliteStore(path)
    store.accept_rollback = True
    async with store:
        assert store.rollback == Rollback(3, 9)
        assert (await append(store, scheduled("next")))[0].position == 10


async def test_a_copy_of_an_older_version_is_refused(path: Path) -> None:
    await written(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.executescript((Path(__file__).parent / "schema_5.sql").read_text(encoding="utf-8"))

    with pytest.raises(RolledBackError, match="is a log of an older version"):
        await SqliteStore(path).open()


@pytest.mark.parametrize("mark", ["", "cut off", "\0" * 80, "{id} 90000000000000000000 {boot} 12345678"])
async def test_a_damaged_mark_is_reported_and_refuses_nothing_but_an_empty_log(path: Path, mark: str) -> None:
    await written(path)
    log_id, _, boot, _ = beside(path, ".mark").read_text().split()
    damaged = mark.format(id=log_id, boot=boot)
    beside(path, ".mark").write_text(damaged)
    with capture_logs() as logged:
        async with SqliteStore(path) as store:
            assert await store.head() == 9
    beside(path, ".mark").write_text(damaged)
    os.truncate(path, 0)

    assert [one["event"] for one in logged if one["log_level"] == "warning"] == [
        "the high-water mark is damaged: a lost part of the log would go unnoticed"
    ]
    with pytest.raises(RolledBackError, match="is damaged"):
        await SqliteStore(path).open()


async def test_a_log_without_its_mark_is_reported(path: Path) -> None:
    await written(path)
    beside(path, ".mark").unlink()
    with capture_logs() as logged:
        async with SqliteStore(path):
            pass

    assert "the log has no high-water mark" in logged[0]["event"]
    assert beside(path, ".mark").exists()


async def test_a_standby_creates_no_new_log_where_its_log_was_moved_away(path: Path, tmp_path: Path) -> None:
    leader, standby, away = SqliteStore(path), SqliteStore(path), tmp_path / "away"
    away.mkdir()
    await leader.open()
    await append(leader, *(succeeded(at=NOON + k * SECOND) for k in range(3)))
    await standby.open(read_only=True)
    await standby.close()

    for file in path.parent.glob("gnomon.db*"):
        file.rename(away / file.name)
    with pytest.raises(RolledBackError, match=r"does not exist, but this process has followed it to event \d+"):
        await standby.open()

    await leader.close()
    for file in path.parent.glob("gnomon.db*"):
        file.unlink()
    for file in away.iterdir():
        file.rename(path.parent / file.name)
    async with standby:
        assert await standby.head() > 0


async def test_a_mark_of_the_version_before_counts(path: Path) -> None:
    await written(path)
    mark = beside(path, ".mark")
    mark.write_text(" ".join(mark.read_text().split()[:3]))
    async with SqliteStore(path) as store:
        assert await store.head() == 9
    mark.write_text(" ".join(mark.read_text().split()[:3]).replace("0009", "0010"))
    with pytest.raises(RolledBackError):
        await SqliteStore(path).open()


async def test_a_mark_that_is_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "important").write_text("something else")
    beside(path, ".mark").symlink_to(tmp_path / "important")

    with pytest.raises(StoreError, match="is a symbolic link"):
        await SqliteStore(path).open()

    assert (tmp_path / "important").read_text() == "something else"


async def test_a_restored_copy_is_refused_until_the_loss_is_accepted(path: Path) -> None:
    await written(path)
    copy = shutil.copy(path, path.with_name("backup"))
    async with SqliteStore(path) as store:
        await append(store, scheduled("late"), scheduled("later"))
    shutil.copy(copy, path)

    with pytest.raises(RolledBackError, match=r"ends at event 9, .* had reached event 11.*--accept-rollback"):
        await SqliteStore(path).open()
    before = content(path)
    with pytest.raises(RolledBackError):
        await SqliteStore(path).open()
    assert content(path) == before

    store = SqliteStore(path)
    store.accept_rollback = True
    async with store:
        assert store.rollback is not None
        assert (store.rollback.last, store.rollback.expected) == (9, 11)
        assert (await append(store, scheduled("next")))[0].position == 12  # the lost positions are never assigned again
        assert [event.position for event in await store.read()] == [*range(1, 10), 12]
    async with SqliteStore(path) as store:
        assert store.rollback is None


async def test_a_power_cut_may_shorten_a_log_that_is_not_synchronous(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(path)
    copy = shutil.copy(path, path.with_name("backup"))
    async with SqliteStore(path) as store:
        await append(store, scheduled("late"))
    shutil.copy(copy, path)

    with pytest.raises(RolledBackError):
        await SqliteStore(path, synchronous="NORMAL").open()
    monkeypatch.setattr(rollback, "current_boot", lambda: "after the power cut")
    async with SqliteStore(path, synchronous="NORMAL") as store:
        assert store.rollback is not None
