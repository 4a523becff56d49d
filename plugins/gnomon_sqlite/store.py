"""The SQLite store: one thread that writes, a few that read, and the kernel's loop waits for none of them."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.errors import StoreError
from gnomon.ports import Store
from gnomon_sqlite import commits, database, filing, reading, tail, writing
from gnomon_sqlite.database import micros
from gnomon_sqlite.errors import translate
from gnomon_sqlite.filing import FILED_AT_ONCE, Unfiled
from gnomon_sqlite.lock import WriterLock
from gnomon_sqlite.tail import Reader

log = structlog.stdlib.get_logger("gnomon.sqlite")

P = ParamSpec("P")
T = TypeVar("T")
Reading = Callable[Concatenate[Reader, P], T]
Writing = Callable[Concatenate[sqlite3.Connection, P], T]

READERS = 3
BURST = 200
"""Events of one append that tell of a burst: they have queued up while the append before was written."""
PAUSE = 0.25
"""Seconds without a large append after which a burst is over: the loop may be busy for a tenth of one between two."""
LONGEST_BURST = 12
"""How many times as many views as else may wait for the end of a burst, before they are filed in the midst of it."""
HASTE = 0.0005
"""Seconds after which threads hand on the GIL while a log is open for writing, in place of 5 ms: the writer needs
it a few times for each append, which beside a busy loop took 10 to 50 ms for 2 of work."""
PRUNED_AT_ONCE = 100
"""Executions that are forgotten in one transaction: some 5 ms, the longest that pruning holds up an append."""


class SqliteStore(Store):
    """Keeps the log in one SQLite file, in WAL mode: an append is one commit of its events.

    Views are filed by thousands, and until then each reader folds them from the log: answers are always up to date.

    With `synchronous="FULL"` an append survives a power cut; with "NORMAL" it survives the end of the process, and a
    power cut may take the last moments. The folder must be on a local disk: WAL does not work over a network.
    """

    name = "sqlite"
    filed_at_once = FILED_AT_ONCE

    def __init__(self, path: str | PathLike[str], *, synchronous: database.Synchronous = "FULL") -> None:
        self.path = Path(path).resolve()
        self.synchronous = synchronous
        self._writer: sqlite3.Connection
        self._readers: queue.LifoQueue[Reader]
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._held = ExitStack()
        self._unfiled = Unfiled()
        self._later: asyncio.TimerHandle | None = None
        self._problem = ""
        self._has_filed = False

    async def open(self, *, read_only: bool = False) -> None:
        if self._reading is not None:
            raise StoreError(f"SQLite log {self.path} is open already")
        self._reading = ThreadPoolExecutor(READERS, "gnomon-sqlite-reader")
        self._writing = None if read_only else ThreadPoolExecutor(1, "gnomon-sqlite-writer")
        try:
            await self._in(self._reading, lambda: self._take_hold(read_only=read_only))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        threads = [pool for pool in (self._reading, self._writing) if pool is not None]
        self._reading = self._writing = None  # from here on nothing new comes in
        if threads:
            await asyncio.to_thread(self._let_go, threads)

    async def head(self) -> int:
        return await self._read(commits.head)

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        await self._write(writing.append, self._unfiled, events, executions, jobs)
        has_waited, self._has_filed = self._has_filed, False
        if self._unfiled.events >= self.filed_at_once:
            # What queues up behind a filing is no burst. Taken for one, it put off the next filing and made it larger:
            # at 5,000 runs a second 1 of 100 started over 100 ms late, and not 50.
            self._file_soon(is_burst=len(events) >= BURST and not has_waited)

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return await self._read(commits.read, after, limit)

    async def stream(self, stream: str) -> list[Event]:
        return await self._read(commits.stream, stream)

    async def execution(self, execution_id: str) -> Execution | None:
        return await self._read(reading.execution, execution_id)

    async def executions(self, query: ExecutionQuery) -> Page:
        return await self._read(reading.executions, query, reading.parse_cursor(query))

    async def jobs(self) -> list[JobState]:
        return await self._read(reading.jobs)

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        return await self._read(commits.read_job, job_id, micros(since), micros(until))

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await self._read(reading.actions, query)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        return await self._read(reading.checkpoint, name)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._write(writing.save_checkpoint, name, checkpoint)

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        await self._write(writing.append_log, execution_id, list(lines), oldest)

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await self._read(reading.log, execution_id, after, limit)

    async def prune(self, before: datetime) -> int:
        pruned = 0
        while some := await self._write(writing.prune, self._unfiled, before, PRUNED_AT_ONCE):
            pruned += some
        return pruned

    async def _read(self, work: Reading[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._reading is None:
            raise StoreError(f"SQLite log {self.path} is not open: use the store inside of `async with store:`")
        return await self._in(self._reading, lambda: self._with_reader(lambda reader: work(reader, *args, **kwargs)))

    async def _write(self, work: Writing[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._writing is None:
            state = "is not open" if self._reading is None else "was opened read-only"
            raise StoreError(f"SQLite log {self.path} {state}, so it cannot be written")
        return await self._in(self._writing, lambda: work(self._writer, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._translated, work)

    def _translated(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as exc:
            raise translate(exc, self.path) from exc

    def _with_reader(self, work: Callable[[Reader], T]) -> T:
        reader = self._readers.get_nowait()  # there are as many as threads
        try:
            return work(reader)
        finally:
            self._readers.put(reader)

    def _take_hold(self, *, read_only: bool) -> None:
        database.check_file(self.path, must_exist=read_only)
        if not read_only:
            lock = WriterLock(self.path.with_name(f"{self.path.name}.lock"))
            lock.acquire()
            self._held.callback(lock.release)
            self._held.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(min(sys.getswitchinterval(), HASTE))
            self._writer = self._held.enter_context(closing(database.open_writer(self.path, self.synchronous)))
            self._unfiled = tail.unfiled(self._writer)
            self._held.callback(self._file)
            self._file()
        self._readers = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(self._held.enter_context(closing(tail.open_reader(self.path))))

    def _file_soon(self, *, is_burst: bool) -> None:
        """Let the writer file; in a burst only after it, for the next append would wait for it."""
        if self._unfiled.events >= self.filed_at_once * LONGEST_BURST:
            self._file_now()
        elif is_burst:
            if self._later is not None:
                self._later.cancel()
            self._later = asyncio.get_running_loop().call_later(PAUSE, self._file_now)
        elif self._later is None:
            self._file_now()

    def _file_now(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._writing is not None:
            self._writing.submit(self._file)

    def _file(self) -> None:
        try:
            filing.file(self._writer, self._unfiled)
        except Exception as exc:  # the log has it all, and the next append tries again
            if str(exc) != self._problem:
                log.exception("views could not be filed", path=str(self.path), waiting=self._unfiled.events)
            self._problem = str(exc)
        else:
            self._problem = ""
        self._has_filed = True

    def _let_go(self, threads: Sequence[ThreadPoolExecutor]) -> None:
        for pool in threads:
            pool.shutdown()
        self._held.close()  # the readers first, so that the writer, as the last one, empties the WAL
