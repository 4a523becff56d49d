"""Logs that lost acknowledged events while another process kept the WAL index open, which still counts them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gnomon.errors import RolledBackError
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore

KILLED = """
import asyncio, os, sys
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        for n in range(10):
            await append(store, scheduled(f"job_{n}"))
        print("ready", flush=True)
        sys.stdin.readline()
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""

READER = """
import asyncio, sys
from gnomon_sqlite import SqliteStore
async def main():
    store = SqliteStore(sys.argv[1])
    await store.open(read_only=True)
    while True:
        print(*[f"{event.position}:{event.job_id}" for event in await store.read()], flush=True)
        if not sys.stdin.readline():
            break
    await store.close()
asyncio.run(main())
"""


class Process:
    """A Python process that answers each line with a line."""

    def __init__(self, code: str, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._answer()

    def ask(self) -> str:
        self.tell()
        return self._answer()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def process(code: str, path: Path) -> Iterator[Process]:
    started = Process(code, path)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def empty_wal(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 0)


def cut_wal(path: Path) -> None:
    os.truncate(beside(path, "-wal"), beside(path, "-wal").stat().st_size // 2)


def cut_the_newest_frame(path: Path) -> None:
    os.truncate(beside(path, "-wal"), beside(path, "-wal").stat().st_size - 4_120)


def zero_half_the_wal(path: Path) -> None:
    size = beside(path, "-wal").stat().st_size
    with beside(path, "-wal").open("r+b") as wal:
        wal.seek(size // 2)
        wal.write(bytes(size - size // 2))


def delete_wal(path: Path) -> None:
    beside(path, "-wal").unlink()


LOSSES = [empty_wal, cut_wal, cut_the_newest_frame, zero_half_the_wal, delete_wal]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
async def test_a_reader_elsewhere_does_not_hide_that_the_wal_was_cut(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "gnomon.db"
    with ExitStack() as stack:
        kernel = stack.enter_context(process(KILLED, path))
        reader = stack.enter_context(process(READER, path))
        assert "10:job_9" in reader.first
        lose(path)
        kernel.tell()
        assert kernel.process.wait() == -signal.SIGKILL

        for _ in range(2):
            with pytest.raises(RolledBackError, match=r"had reached event 10: .*--accept-rollback"):
                await SqliteStore(path).open()

        store = SqliteStore(path)
        store.accept_rollback = True
        async with store:
            assert store.rollback is not None
            assert (await append(store, scheduled("next")))[0].position == 11
            if lose is not delete_wal:  # the reader has the deleted file open
                assert reader.ask().endswith("11:next")
        async with SqliteStore(path) as store:
            assert store.rollback is None
            assert [event.job_id for event in await store.read()][-1] == "next"


async def test_a_reader_elsewhere_reads_on_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    with ExitStack() as stack:
        kernel = stack.enter_context(process(KILLED, path))
        reader = stack.enter_context(process(READER, path))
        kernel.tell()
        assert kernel.process.wait() == -signal.SIGKILL
        async with SqliteStore(path) as store:
            assert store.rollback is None
            await append(store, scheduled("next"))
            assert reader.ask().endswith("10:job_9 11:next")
        assert reader.ask().endswith("10:job_9 11:next")
