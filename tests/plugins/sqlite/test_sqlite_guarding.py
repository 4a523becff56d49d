"""Damage from outside: the files of a log are deleted, replaced, cut, restored, locked, or their disk is full."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.domain import execution
from gnomon.errors import DeposedError, RolledBackError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.testing import make_job, make_kernel
from gnomon.testing.histories import NOON, SECOND, append, failed, numbered, running, scheduled, succeeded
from gnomon_sqlite import SqliteStore
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


def delete_shm(path: Path) -> None:
    beside(path, "-shm").unlink()


def replace_wal(path: Path) -> None:
    shutil.copy(beside(path, "-wal"), path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(beside(path, "-wal"))


def truncate_wal(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 100)


CHANGES = [delete, move, replace, truncate, empty, overwrite, delete_wal, delete_shm, replace_wal, truncate_wal]


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


def cut_wal_to_nothing(wal: Path) -> None:
    os.truncate(wal, 0)


def cut_wal_in_half(wal: Path) -> None:
    os.truncate(wal, wal.stat().st_size // 2)


def cut_the_last_frame(wal: Path) -> None:
    os.truncate(wal, wal.stat().st_size - 4120)


def zero_wal(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.write(bytes(wal.stat().st_size))


def zero_a_frame(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.seek(32 + 4120)
        file.write(bytes(4120))


def write_an_older_copy(wal: Path) -> None:
    wal.write_bytes(wal.with_suffix(".older").read_bytes())


CUTS = [cut_wal_to_nothing, cut_wal_in_half, cut_the_last_frame, zero_wal, zero_a_frame, write_an_older_copy]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
async def test_a_wal_that_is_cut_and_grows_again_with_the_next_append_is_noticed(
    path: Path, cut: Callable[[Path], None]
) -> None:
    """The next append makes the file as long as it was, with a hole: only its content shows that it was cut."""
    await written(path)
    store = SqliteStore(path)
    await store.open()
    watch, wal = store._watch, beside(path, "-wal")
    assert watch is not None
    for n in range(20):
        await append(store, running(at=NOON + (10 + n) * SECOND))
        if n == 10:
            watch.check()
            shutil.copy(wal, wal.with_suffix(".older"))
    database = content(path)
    new = numbered(running(at=NOON + 60 * SECOND), after=await store.head())
    watch.stop()  # no look in between
    cut(wal)
    with suppress(StoreError):  # SQLite itself may find the end of the file
        await store.append(new, [execution.fold(new)], [])
    watch.check()

    health = store.health()
    with pytest.raises(StoreError, match="a part of the log"):
        await append(store, scheduled("late"))
    before = content(wal)
    await store.close()

    assert (health.state, health.accepts_runs) == ("lost", False)
    assert (content(path), content(wal)) == (database, before)  # holes are not copied into the database
    with pytest.raises(RolledBackError):
        await SqliteStore(path).open()
    assert (content(path), content(wal)) == (database, before)


async def test_a_database_that_was_cut_is_noticed_before_the_wal_is_copied_into_it(path: Path) -> None:
    await written(path, 200)
    async with SqliteStore(path) as store:
        await append(store, scheduled("warm"))
        assert store._watch is not None
        store._checkpoint_pages = 1
        size = path.stat().st_size - 4096
        store._watch.stop()
        os.truncate(path, size)
        await append(store, scheduled("next"))
        assert store.health().state == "lost"
    assert path.stat().st_size == size


async def test_an_index_that_was_overwritten_is_built_again_by_sqlite(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, *(running(at=NOON + n * SECOND) for n in range(5)))
        with beside(path, "-shm").open("r+b") as file:
            file.write(bytes(32768))
        await append(store, scheduled("next"))
        assert len(await store.read()) == 11
        assert store._watch is not None
        assert store._watch.check_files(), store.health().problem


async def test_a_mark_that_is_deleted_while_the_log_is_open_is_written_again(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, scheduled())
        mark = beside(path, ".mark")
        before = mark.read_text()
        mark.unlink()
        await eventually(lambda: mark.exists() and mark.read_text() == before)
        await append(store, scheduled("next"))
        assert int(mark.read_text().split()[1]) == 2


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
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs", str(volume)], check=False)
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
