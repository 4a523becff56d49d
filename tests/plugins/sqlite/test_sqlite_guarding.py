"""Damage from outside: the files of a log are deleted, replaced, cut, restored, locked, or their disk is full."""

import asyncio
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.errors import DeposedError, RolledBackError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.testing import make_job, make_kernel
from gnomon.testing.histories import NOON, SECOND, append, failed, running, scheduled, succeeded
from gnomon_sqlite import SqliteStore, log_file
from servers import eventually

DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gnomon.db"


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


async def written(path: Path, n: int = 3) -> None:
    async with SqliteStore(path) as store:
        await append(store, *(succeeded(at=NOON + k * SECOND) for k in range(n)))


# --- the open log is the one at the path


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replace(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def truncate(path: Path) -> None:
    os.truncate(path, 4096)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"a diary" * 100)


def delete_wal(path: Path) -> None:
    beside(path, "-wal").unlink()


def truncate_wal(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 100)


CHANGES = [delete, move, replace, truncate, empty, overwrite, delete_wal, truncate_wal]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_kernel_whose_log_is_changed_by_others_is_deposed_while_it_is_idle(
    path: Path, change: Callable[[Path], None]
) -> None:
    await written(path, 50)
    store = SqliteStore(path)
    with capture_logs() as logged:
        async with make_kernel(make_job(lambda: None, id="job"), store=store, keeps_time=False) as kernel:
            run = await kernel.trigger("job")
            await kernel.wait(run.execution.id)
            change(path)
            await eventually(lambda: kernel.health().state == "deposed")
            with pytest.raises(DeposedError):
                await kernel.trigger("job")
            health = kernel.health()

    assert str(path) in str(health.problem)
    assert not health.accepts_runs
    assert any(one["log_level"] == "critical" and str(path) in one["problem"] for one in logged)


async def test_nothing_is_written_to_a_file_that_has_taken_the_place_of_the_log(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, *(running(at=NOON + n * SECOND) for n in range(5)))
        for suffix in ("", "-wal", "-shm"):
            beside(path, suffix).unlink()
        await written(path.with_name("other.db"))
        shutil.copy(path.with_name("other.db"), path)
        before = content(path)
        await eventually(lambda: store.health().state == "lost")
        with pytest.raises(StoreError, match="was replaced by another file"):
            await append(store, scheduled("late"))

    assert content(path) == before


async def test_ordinary_work_does_not_look_like_a_change_by_others(path: Path) -> None:
    """Appends, checkpoints, pruning and a vacuum change the files all the time; the watch checks after each."""
    async with SqliteStore(path) as store:
        watch = store._watch
        assert watch is not None
        for round_ in range(6):
            await append(store, *(failed(at=NOON + (20 * round_ + n) * SECOND, error="x" * 50_000) for n in range(20)))
            watch.check()
            if round_ % 2:
                await store.prune(NOON + 20 * round_ * SECOND)
                watch.check()
                watch.check()
        assert store.health().state == "healthy", store.health().problem


# --- the high-water mark


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


async def test_a_wal_that_was_deleted_after_a_crash_is_noticed(path: Path) -> None:
    script = """
import asyncio, os, sys
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await append(store, scheduled("lost"))
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    await written(path)
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -signal.SIGKILL
    beside(path, "-wal").unlink()

    with pytest.raises(RolledBackError, match=r"gnomon\.db-wal was deleted"):
        await SqliteStore(path).open()


async def test_a_log_that_was_killed_or_is_another_one_opens(path: Path, tmp_path: Path) -> None:
    await written(path)
    beside(path, ".mark").write_text("cut off")
    await written(tmp_path / "other.db", 1)
    async with SqliteStore(path) as store:
        assert await store.head() == 9
    shutil.copy(tmp_path / "other.db", path)
    with capture_logs() as logged:
        async with SqliteStore(path) as store:
            assert await store.head() == 3

    assert [one["event"] for one in logged] == ["another log is at this path"]


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
    monkeypatch.setattr(log_file, "current_boot", lambda: "after the power cut")
    async with SqliteStore(path, synchronous="NORMAL") as store:
        assert store.rollback is not None


# --- the lock


async def test_a_forked_child_does_not_hold_the_log_after_its_parent_was_killed(path: Path) -> None:
    script = """
import asyncio, multiprocessing, os, signal, sys
def stay():
    print(os.getpid(), flush=True)
    signal.pause()
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await append(store, scheduled())
        multiprocessing.get_context("fork").Process(target=stay).start()
        await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it still runs
        async with SqliteStore(path) as store:
            assert await store.head() == 1
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


async def test_a_hard_link_is_the_same_log(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    async with SqliteStore(path) as store:
        await append(store, scheduled())
        link.hardlink_to(path)
        with pytest.raises(StoreInUseError, match=r"link\.db"):
            await SqliteStore(link).open()
        await append(store, scheduled("still works"))
        script = "import asyncio, sys, gnomon_sqlite as g; asyncio.run(g.SqliteStore(sys.argv[1]).open())"
        done = subprocess.run([sys.executable, "-c", script, str(link)], capture_output=True, text=True, check=False)

    assert "StoreInUseError" in done.stderr
    assert f"is held open by process {os.getpid()} (" in done.stderr


async def test_the_message_names_the_process_that_holds_the_lock_and_not_the_one_in_the_record(path: Path) -> None:
    lock = beside(path, ".lock")
    lock.touch()
    script = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with pytest.raises(StoreInUseError, match=rf"held open by process {holder.pid} \(.*python"):
            await SqliteStore(path).open()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


# --- damage


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


# --- space


async def test_little_free_space_is_degraded_before_the_disk_is_full(path: Path) -> None:
    store = SqliteStore(path, min_free=2**60)
    async with store:
        await eventually(lambda: store.health().state == "degraded")
        assert "MiB are free on the disk of" in str(store.health().problem)
        assert store.health().accepts_runs
        await append(store, scheduled())


async def test_a_store_that_cannot_write_accepts_no_runs(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, succeeded())
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnavailableError):
            await append(store, failed(at=NOON + SECOND, error="x" * 100_000))
        health = store.health()
        store._writer.execute("PRAGMA max_page_count = 1000000")
        await append(store, failed(at=NOON + SECOND, error="x" * 100_000))

        assert (health.state, health.accepts_runs) == ("degraded", False)
        assert "the disk is full" in str(health.problem)
        assert store.health().state == "healthy"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs to mount a small volume")
async def test_a_small_volume_recovers_after_space_was_freed(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(volume)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        ballast = volume / "ballast"
        ballast.write_bytes(b"x" * 2**20)
        async with SqliteStore(volume / "gnomon.db", min_free=0) as store:
            refused = None
            for n in range(200):
                try:
                    await append(store, failed(at=NOON + n * SECOND, error="x" * 50_000))
                except StoreUnavailableError as exc:
                    refused = exc
                    break
            assert refused is not None
            assert not store.health().accepts_runs
            ballast.unlink()
            await append(store, failed(at=NOON + n * SECOND, error="x" * 50_000))
            assert store.health().state == "healthy"
            assert beside(store.path, "-wal").stat().st_size < 2 * 2**20
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)
