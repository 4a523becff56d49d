"""The SQLite store: one thread that writes, a few that read, and the kernel's loop waits for none of them."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gnomon.errors import StoreError
from gnomon.events import Event
from gnomon.execution import Execution
from gnomon.job_state import JobState
from gnomon.ports import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page, Store
from gnomon_sqlite import commits, database, reading, writing
from gnomon_sqlite.database import micros
from gnomon_sqlite.errors import translate
from gnomon_sqlite.lock import WriterLock

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[sqlite3.Connection, P], T]

READERS = 3
PRUNED_AT_ONCE = 100
"""Executions that are forgotten in one transaction: some 5 ms, the longest that pruning holds up an append."""


class SqliteStore(Store):
    """Keeps the log in one SQLite file, in WAL mode; one transaction for each batch of events and its views.

    With `synchronous="FULL"` an append survives a power cut; with "NORMAL" it survives the end of the process, and a
    power cut may take the last moments. The folder must be on a local disk: WAL does not work over a network.
    """

    name = "sqlite"

    def __init__(self, path: str | PathLike[str], *, synchronous: database.Synchronous = "FULL") -> None:
        self.path = Path(path).resolve()
        self.synchronous = synchronous
        self._writer: sqlite3.Connection
        self._readers: queue.LifoQueue[sqlite3.Connection]
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._held = ExitStack()
        self._unfiled = 0

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
        threads = [pool for pool in (self._reading, self._writing) if pool is not None]
        self._reading = self._writing = None  # from here on nothing new comes in
        if threads:
            await asyncio.to_thread(self._let_go, threads)

    async def head(self) -> int:
        return await self._read(commits.head)

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        self._unfiled = await self._write(writing.append, events, executions, jobs, self._unfiled)

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
        while some := await self._write(writing.prune, before, PRUNED_AT_ONCE):
            pruned += some
        return pruned

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._reading is None:
            raise StoreError(f"SQLite log {self.path} is not open: use the store inside of `async with store:`")
        return await self._in(self._reading, lambda: self._with_reader(lambda reader: work(reader, *args, **kwargs)))

    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
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

    def _with_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._readers.get_nowait()  # there are as many as threads
        try:
            return work(connection)
        finally:
            self._readers.put(connection)

    def _take_hold(self, *, read_only: bool) -> None:
        database.check_file(self.path, must_exist=read_only)
        if not read_only:
            lock = WriterLock(self.path.with_name(f"{self.path.name}.lock"))
            lock.acquire()
            self._held.callback(lock.release)
            self._writer = self._held.enter_context(closing(database.open_writer(self.path, self.synchronous)))
            self._unfiled = writing.unfiled(self._writer)
        self._readers = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(self._held.enter_context(closing(database.open_reader(self.path))))

    def _let_go(self, threads: Sequence[ThreadPoolExecutor]) -> None:
        for pool in threads:
            pool.shutdown()
        self._held.close()  # the readers first, so that the writer, as the last one, empties the WAL
