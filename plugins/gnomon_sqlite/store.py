"""The SQLite store: one thread that writes and a few that read, so that the kernel's loop never waits for the disk."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import sys
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page, StoreHealth
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.fork_gate import passing
from gnomon.forks import abandoned_in_children, forked_error
from gnomon.logs import get_logger
from gnomon.stores.microseconds import to_micros
from gnomon.threads import in_thread
from gnomon_sqlite import pruning, transactions
from gnomon_sqlite.connection import expect_not_inherited
from gnomon_sqlite.connection_check import place_problem
from gnomon_sqlite.errors import translate
from gnomon_sqlite.file import log_file, rollback, wal_index
from gnomon_sqlite.file.file_watch import FileWatch
from gnomon_sqlite.file.high_water import HighWaterMark
from gnomon_sqlite.file.lock import WriterLock
from gnomon_sqlite.file.lock_watch import LockedLog
from gnomon_sqlite.file.mark_watch import MarkWatch
from gnomon_sqlite.lists import queries
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import DamagedRowError
from gnomon_sqlite.views import projection_writer, repair, unflushed_reader
from gnomon_sqlite.views.flush_timer import FlushTimer
from gnomon_sqlite.views.projection_writer import FLUSH_BYTES, FLUSH_THRESHOLD, PendingViews
from gnomon_sqlite.views.unflushed_reader import Reader

log = get_logger("gnomon.sqlite")

P = ParamSpec("P")
T = TypeVar("T")
Query = Callable[Concatenate[Reader, P], T]
Transaction = Callable[Concatenate[sqlite3.Connection, P], T]

READERS = 2
"""Threads for short reads: one record, the events behind a position, a checkpoint. Health is one of them."""
LISTERS = 3
"""Threads for lists, which may scan the whole log: however many are waiting, no short read waits for them."""
SWITCH_INTERVAL_S = 0.0005
"""Interval at which threads offer the GIL while a log is open for writing, instead of 5 ms. The writer needs it a few
times for each append, which took 10 to 50 ms beside a busy loop for 2 ms of work."""
MIN_FREE_BYTES = 64 * 2**20
"""Free space on the disk below which the store is degraded, before it is full."""
MAX_REPAIRS = 100
"""Damaged rows that one read repairs, one after the other, before it gives up."""

_HEALTHY = StoreHealth()  # shared: it is asked for before each start of a run


class SqliteStore(LockedLog):
    """Keeps the log in one SQLite file, in WAL mode: an append is one commit of its events.

    Views are flushed by the thousand, and until then each reader folds them from the log: answers are always current.

    With `synchronous="FULL"` an append survives a power cut; with "NORMAL" it survives the end of the process, and a
    power cut may lose the last moments. The folder must be on a local disk: WAL does not work on network file systems.
    """

    name = "sqlite"
    flush_threshold = FLUSH_THRESHOLD

    def __init__(
        self, path: str | PathLike[str], *, synchronous: log_file.Synchronous = "FULL", min_free: int = MIN_FREE_BYTES
    ) -> None:
        self.path = Path(path).resolve()
        self.directory = self.path.parent
        self.synchronous = synchronous
        self.min_free = min_free
        self._mark = HighWaterMark(self.path)
        self._mark_watch = MarkWatch(self._mark.path)
        self._watch: FileWatch | None = None
        self._write_problem = ""
        self._writer: sqlite3.Connection
        self._readers: queue.LifoQueue[Reader]
        self._write_pool: ThreadPoolExecutor | None = None
        self._read_pool: ThreadPoolExecutor | None = None
        self._list_pool: ThreadPoolExecutor | None = None
        self._resources = ExitStack()
        self._pending = PendingViews()
        self._flush_timer = FlushTimer(self._submit_flush)
        self._flush_problem = ""
        self._has_flushed = False
        self._checkpoint_pages = 0
        self._to_repair: list[str] = []
        self._parent: int | None = None

    async def open(self, *, read_only: bool = False) -> None:
        if self._read_pool is not None:
            raise StoreError(f"SQLite log {self.path} is already open")
        expect_not_inherited(self.path)
        self._resources.enter_context(abandoned_in_children(self))
        self._read_pool = ThreadPoolExecutor(READERS, "gnomon-sqlite-reader")
        self._list_pool = ThreadPoolExecutor(LISTERS, "gnomon-sqlite-lister")
        self._write_pool = None if read_only else ThreadPoolExecutor(1, "gnomon-sqlite-writer")
        self.rollback = self.loss = None
        self._write_problem = self._flush_problem = ""
        try:
            await self._run(self._read_pool, lambda: self._acquire(read_only=read_only))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._flush_timer.cancel()
        pools = [pool for pool in (self._list_pool, self._read_pool, self._write_pool) if pool is not None]
        self._list_pool = self._read_pool = self._write_pool = None  # from here on every call is refused
        if pools:
            try:
                await in_thread(lambda: self._release(pools), "gnomon-sqlite-close")
            except RuntimeError:  # the machine has no thread left
                self._release(pools)

    def abandon(self, parent: int) -> None:
        """Refuse every call in a forked child, and close nothing: the connections are those of the parent."""
        self._parent = parent
        self._list_pool = self._read_pool = self._write_pool = None
        self._flush_timer.abandon()

    def place_problem(self) -> str | None:
        return place_problem(self.path)

    def health(self) -> StoreHealth:
        if self._watch is None:
            return _HEALTHY
        if self._watch.lost:
            return StoreHealth("lost", self._watch.lost, accepts_runs=False)
        if self._write_problem:
            return StoreHealth("degraded", self._write_problem, accepts_runs=False)
        if problem := self._watch.low_space or self._flush_problem:
            return StoreHealth("degraded", problem)
        return _HEALTHY

    async def head(self) -> int:
        return await self._read(event_rows.head)

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        try:
            await self._write(self._append, events, executions, jobs)
        except StoreUnavailableError as exc:
            self._write_problem = str(exc)
            raise
        self._write_problem = ""
        has_waited, self._has_flushed = self._has_flushed, False
        self._flush_timer.note_append(
            len(events), unflushed=self._pending.events, threshold=self.flush_threshold, has_waited=has_waited
        )

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        await self._write(transactions.restore, self._pending, events, executions, jobs, head)
        self._mark.note(head)

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return await self._read(event_rows.read, after, limit)

    async def stream(self, stream: str) -> list[Event]:
        return await self._read(event_rows.stream, stream)

    async def execution(self, execution_id: str) -> Execution | None:
        return await self._read(queries.execution, execution_id)

    async def executions(self, query: ExecutionQuery) -> Page:
        return await self._list(queries.executions, query, queries.parse_cursor(query))

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        wanted = frozenset(job_ids) if job_ids is not None else None
        return await self._read(partial(queries.jobs, job_ids=wanted, removed=removed))

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        return await self._list(event_rows.read_job, job_id, to_micros(since), to_micros(until))

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await self._list(queries.actions, query)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        return await self._read(queries.checkpoint, name)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._write(transactions.save_checkpoint, name, checkpoint)

    async def checkpoint_names(self) -> list[str]:
        return await self._read(queries.checkpoint_names)

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        await self._write(transactions.append_log, execution_id, list(lines), oldest)

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await self._read(queries.log, execution_id, after, limit)

    async def prune(self, before: datetime) -> int:
        return await pruning.prune(self, self._write, self._pending, before)

    # --- threads ---

    async def _read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read_in(self._read_pool, query, *args, **kwargs)

    async def _list(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read_in(self._list_pool, query, *args, **kwargs)

    async def _read_in(
        self, pool: ThreadPoolExecutor | None, query: Query[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        for _ in range(MAX_REPAIRS):
            try:
                return await self._read_once(pool, query, *args, **kwargs)
            except DamagedRowError as exc:
                if self._write_pool is None:
                    raise
                await self._write(repair.repair_row, exc)
        return await self._read_once(pool, query, *args, **kwargs)

    async def _read_once(
        self, pool: ThreadPoolExecutor | None, query: Query[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if pool is None:
            self._expect_own_process()
            raise StoreError(f"SQLite log {self.path} is not open: use the store inside `async with store:`")
        return await self._run(pool, lambda: self._with_reader(lambda reader: query(reader, *args, **kwargs)))

    async def _write(self, transaction: Transaction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._write_pool is None:
            self._expect_own_process()
            state = "is not open" if self._read_pool is None else "was opened read-only"
            raise StoreError(f"SQLite log {self.path} {state}, so it cannot be written")
        if self._watch is not None and self._watch.lost:
            raise StoreError(self._watch.lost)
        return await self._run(self._write_pool, lambda: self._with_writer(transaction, *args, **kwargs))

    def _expect_own_process(self) -> None:
        if self._parent is not None:
            raise forked_error(f"the kernel of the SQLite log {self.path}", self._parent)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, self._translated, work)

    @passing()
    def _translated(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
            if self._watch is not None and not self._watch.check_files():  # what was done to them explains any error
                raise StoreError(self._watch.lost) from exc
            raise translate(exc, self.path) from exc

    def _with_writer(self, transaction: Transaction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        result = transaction(self._writer, *args, **kwargs)
        self._checkpoint()
        return result

    def _checkpoint(self) -> None:
        """Copy a long WAL into the database, if both are whole: zeros from a hole in one would get into the other."""
        if self._watch is None or self._watch.wal_pages < self._checkpoint_pages or not self._watch.check_files():
            return
        with suppress(sqlite3.Error):  # nothing is lost, and the next transaction tries again
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _with_reader(self, work: Callable[[Reader], T]) -> T:
        reader = self._readers.get_nowait()  # there are as many readers as threads
        try:
            return work(reader)
        finally:
            self._readers.put(reader)

    # --- opening and closing, in a thread of the read pool ---

    def _acquire(self, *, read_only: bool) -> None:
        if read_only:
            self.loss = rollback.refused_loss(self.path, self._mark, self.synchronous)
            log_file.check_file(self.path, must_exist=True)
        else:
            lock = WriterLock(self.path)
            log_file.check_path(self.path)
            log_file.check_folder(self.path)
            lock.acquire(self._check)
            self._resources.callback(lock.release)
            self._resources.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
            self._resources.callback(self._close_watch)
            self._writer = self._resources.enter_context(closing(log_file.open_writer(self.path, self.synchronous)))
            log_file.restore_header(self._writer, lock.database_file, self.path)
            rollback.start_mark(self._writer, self._mark, self.rollback)
            self._resources.callback(self._mark.close)
            if self._to_repair:
                repair.repair_derived(self._writer, self._to_repair)
            self._pending = self._pending_views()
            self._resources.callback(self._flush)
            self._flush()
            self._watch_files(lock.database_file)
        self._readers = queue.LifoQueue()
        for _ in range(READERS + LISTERS):
            self._readers.put(self._resources.enter_context(closing(unflushed_reader.open_reader(self.path))))

    def _check(self) -> None:
        """Check an existing log before anything is written."""
        if (index := wal_index.discard_index(self.path)) is not None:
            self._resources.callback(os.close, index)
        self._to_repair = log_file.check_file(self.path, must_exist=False)
        self.rollback = rollback.find_loss(self.path, self._mark, self.synchronous, accept=self.accept_rollback)

    def _pending_views(self) -> PendingViews:
        for _ in range(MAX_REPAIRS):
            try:
                return unflushed_reader.pending_views(self._writer)
            except DamagedRowError as exc:
                repair.repair_row(self._writer, exc)
        return unflushed_reader.pending_views(self._writer)

    def _watch_files(self, database: int) -> None:
        self._watch = FileWatch(self.path, database, self.min_free, self._mark.restore)
        self._checkpoint_pages = log_file.wal_bytes(self.path) // log_file.PAGE_BYTES
        self._resources.callback(self._watch.stop)

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _append(
        self,
        connection: sqlite3.Connection,
        events: Sequence[Event],
        executions: Sequence[Execution],
        jobs: Sequence[JobState],
    ) -> None:
        transactions.append(connection, self._pending, events, executions, jobs)
        if events:
            self._mark.note(events[-1].position)
        if self._pending.bytes >= FLUSH_BYTES:
            self._flush()  # now, before anyone reads these events: each reader would build their views

    def _release(self, pools: Sequence[ThreadPoolExecutor]) -> None:
        for pool in pools:
            pool.shutdown()
        if self._watch is not None and not self._watch.check_files():
            self._writer.close()  # before the readers: the last connection copies the WAL into the file and deletes it
        with passing():
            self._resources.close()  # the readers first, so that the writer closes last and empties the WAL

    # --- flushing views ---

    def _submit_flush(self) -> None:
        if self._write_pool is not None:
            self._write_pool.submit(self._flush)

    @passing()
    def _flush(self) -> None:
        if self._watch is not None and self._watch.lost:
            return  # another file may be at the path
        try:
            projection_writer.flush(self._writer, self._pending)
        except Exception as exc:  # the log has all of it, and the next append tries again
            if str(exc) != self._flush_problem:
                log.exception("views could not be flushed", path=str(self.path), waiting=self._pending.events)
            self._flush_problem = str(exc)
        else:
            self._flush_problem = ""
            self._checkpoint()
        self._has_flushed = True
