"""The MongoDB store: implements the port with the server, the lease, the spool and the writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta, tzinfo
from os import PathLike
from pathlib import Path

from gnomon.backoff import Backoff
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import (
    ActionPage,
    ActionQuery,
    Checkpoint,
    ExecutionCounts,
    ExecutionQuery,
    LogLine,
    Page,
    StoreHealth,
)
from gnomon.errors import StoreError, StoreInUseError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon.stores.kernel_streams import find_deletable
from gnomon.tasks import at_once
from gnomon_mongo import connection_check, kept_ends, log_identity, operations, projection, queries, retention, schema
from gnomon_mongo.append_batch import batch_of, restore
from gnomon_mongo.documents import checkpoint_document, checkpoint_of, event_of, execution_of, line_document
from gnomon_mongo.drivers import Driver
from gnomon_mongo.errors import cannot_start
from gnomon_mongo.filed_views import FiledViews
from gnomon_mongo.foreign_documents import count_foreign, find_foreign, make_way
from gnomon_mongo.history_import import HistoryImport, ImportReport
from gnomon_mongo.lease_table import MongoLeaseTable
from gnomon_mongo.rejected_documents import Rejected, RejectedDocuments
from gnomon_mongo.server import Server
from gnomon_mongo.shared_log import SharedLog
from gnomon_mongo.spool import Spool
from gnomon_mongo.spool_choice import open_spool
from gnomon_mongo.spool_limits import SpoolLimits
from gnomon_mongo.spooling_writer import SpoolingWriter
from gnomon_mongo.statistics import statistics
from gnomon_mongo.write_batch import WriteBatch
from gnomon_shared_log.fork_guard import ForkGuard
from gnomon_shared_log.lease import Lease, term_of
from gnomon_shared_log.lease_row import CutOff
from gnomon_shared_log.store_tasks import start_task

log = get_logger("gnomon.mongo")

RELEASE_LIMIT_S = 5.0
"""For releasing the lease while closing."""


class MongoStore(SharedLog):
    """Keeps the log in MongoDB, and in a local spool while MongoDB is down.

    `uri` is any MongoDB connection string, with authentication, TLS, replica sets; `database` defaults to the one in
    it, else `gnomon`. `timeout` limits each write, `patience` how long opening waits for a server that is down, and
    `lease` how long a kernel that does not respond keeps the right to write, at most. Beyond the `limits` of the spool
    no new runs are started.

    While events wait in the spool, lists would be incomplete and raise StoreUnavailableError. A single execution, the
    head and the events in the spool can still be read.
    """

    name = "mongo"

    def __init__(  # noqa: PLR0913 - what a deployment may set, all by name
        self,
        uri: str = "mongodb://127.0.0.1:27017",
        database: str | None = None,
        *,
        driver: Driver | None = None,
        spool: str | PathLike[str] = "gnomon-spool.db",
        limits: SpoolLimits | None = None,
        timeout: timedelta = timedelta(seconds=2),
        patience: timedelta = timedelta(seconds=30),
        lease: timedelta = timedelta(seconds=15),
        cut_off: CutOff = "hold",
    ) -> None:
        self._server = Server(uri, database, driver or Driver(), timeout.total_seconds())
        self._lease = Lease(MongoLeaseTable(self._server), term_of(lease.total_seconds()), cut_off)
        self._spool_path = Path(spool).resolve()
        self._spool = Spool(self._spool_path)
        self.directory = self._spool_path.parent
        self._rejected = RejectedDocuments(self._spool_path.with_name(f"{self._spool_path.name}.rejected"))
        self._limits = limits or SpoolLimits()
        self._patience = patience.total_seconds()
        self._held = AsyncExitStack()
        self._is_open = False
        self._fork = ForkGuard()
        self._writer: SpoolingWriter | None = None
        self._filed = FiledViews()

    # --- lifetime ---

    async def open(self, *, read_only: bool = False) -> None:
        if self._is_open:
            raise StoreError(f"MongoDB log {self._server.address} is already open")
        deadline = time.monotonic() + self._patience
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                await self._acquire(read_only=read_only)
            except StoreUnavailableError as exc:
                await self._release_all()
                if read_only:
                    raise
                pause = backoff.next()
                if time.monotonic() + pause > deadline:
                    raise cannot_start(exc, self._patience, self._spool_path) from exc
                log.warning("waiting for MongoDB", problem=str(exc), next_try_s=pause)
                await asyncio.sleep(pause)
            except BaseException:
                await self._release_all()
                raise
            else:
                self._is_open = True
                self._fork.enter()
                return

    async def close(self) -> None:
        if self._fork.is_child:
            return
        self._is_open = False
        self._fork.leave()
        await self._release_all()

    async def try_connection(self) -> str:
        """Connect as opening would, without changing anything; return a description, or raise StoreError."""
        Spool(self._spool_path).check_folder()
        try:
            await self._server.connect()
            return await connection_check.check_connection(self._server)
        finally:
            await self._server.close()

    async def _acquire(self, *, read_only: bool) -> None:
        self._held.push_async_callback(self._server.close)  # also if connecting fails half way
        await self._server.connect()
        identifying = log_identity.identify(self._server, read_only=read_only)
        log_id, _ = await at_once(identifying, find_foreign(self._server))
        if read_only:
            self._start_watch(self._held)
            return
        try:
            await self._lease.acquire()
        except StoreInUseError:
            await kept_ends.hand_over_left(self._server, self._spool_path)
            raise
        self._held.push_async_callback(self._release_lease)
        start_task(self._lease_kept(), self._held)
        await self._server.make_indexes()
        self._spool = await open_spool(self._spool_path, self._lease.cut_off)
        self._held.push_async_callback(self._spool.close)
        await self._spool.belongs_to(log_id)
        writer = SpoolingWriter(self._server, self._lease, self._spool, self._limits, self._rejected)
        end = await writer.start()
        await log_identity.migrate(self._server, end.log.get("layout", log_identity.LAYOUT))
        if schema.METADATA in self._server.foreign:
            await make_way(self._server)
        await projection.repair(self._server, end)
        self._writer = writer
        self._held.push_async_callback(_record_newest, writer)
        start_task(self._lease.watch_lapses(writer.note_lapse), self._held)
        start_task(writer.drain(), self._held)
        start_task(writer.file_views(), self._held)
        self._held.push_async_callback(writer.finish)  # the first to be called, while everything is still running

    async def _release_all(self) -> None:
        self._writer, held, self._held = None, self._held, AsyncExitStack()
        await held.aclose()

    async def _lease_kept(self) -> None:
        try:
            await self._lease.keep(lambda: _record_newest(self._writer))
        except StoreError as exc:
            if self._writer is not None:
                self._writer.depose(exc)

    async def _release_lease(self) -> None:
        with suppress(StoreError, TimeoutError):  # then it expires
            async with asyncio.timeout(RELEASE_LIMIT_S):
                await self._lease.release()

    # --- writing ---

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        writer = self._open_writer()
        if not events:
            return
        # Documents are encoded before the first await, because the views change in the meantime.
        await writer.append(batch_of(events, executions, jobs, events[-1].position))

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        await restore(self._server, self._open_writer(), batch_of(events, executions, jobs, head), head)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._open_writer().keep(WriteBatch(checkpoints=[checkpoint_document(name, checkpoint)]))

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        documents = [line_document(execution_id, line) for line in lines if line.number >= oldest]
        await self._open_writer().keep(
            WriteBatch(lines=documents, oldest_lines={execution_id: oldest} if oldest > 1 else {})
        )

    async def keep_ends(self, events: Sequence[Event]) -> None:
        await self._open_writer().keep_ends(events)

    async def late_ends(self) -> list[Event]:
        self._check_open()
        return await kept_ends.read(self._server)

    async def forget_late_ends(self, ends: Sequence[Event]) -> None:
        await kept_ends.forget(self._server, ends)

    async def prune(self, before: datetime) -> int:
        writer = self._open_writer()
        await self._view_server()
        pace = self._pace(writer)
        pruned = await retention.prune(self._server, before, pace, writer.before_prune)
        await retention.prune_kernels(self._server, await find_deletable(self, before), pace, writer.before_prune)
        await retention.prune_jobs(self._server, before, pace, writer.before_prune)
        return pruned

    async def prune_progress(self, before: datetime) -> int:
        """Delete the progress events of executions that ended before that moment; return how many events."""
        writer = self._open_writer()
        await self._view_server()
        return await retention.prune_progress(self._server, before, self._pace(writer))

    def _pace(self, writer: SpoolingWriter) -> retention.Pace:
        def is_allowed() -> bool:
            self._check_open()
            return writer.is_healthy and not writer.is_slow

        return retention.Pace(is_allowed)

    async def rebuild(self) -> int:
        """Rebuild all views from the events, which no kernel may write meanwhile; return the number of events."""
        self._open_writer()
        return await projection.rebuild(await self._view_server())

    async def import_history(self, zone: tzinfo, *, is_trial: bool = False) -> ImportReport:
        """Import the documents of another scheduler as history; times without an offset are of `zone`."""
        writer = self._open_writer()
        await self._view_server()
        return await HistoryImport(self._server, self.append, writer.head, zone, is_trial=is_trial).run()

    # --- what waits ---

    async def spooled(self) -> tuple[int, int]:
        """Return how many events wait in the spool, and their bytes; StoreInUseError while a kernel uses it."""
        return await Spool(self._spool_path).look()

    async def rejected(self) -> list[Rejected]:
        """Return the documents that the server has rejected and that are kept aside."""
        return await self._rejected.load()

    async def retry_rejected(self) -> list[Rejected]:
        """Write the rejected documents again; return those that are rejected again. Works beside a running kernel."""
        return await operations.retry(self._complete_server(), self._rejected)

    # --- reading ---

    def health(self) -> StoreHealth:
        if self._fork.is_child:
            return StoreHealth("lost", self._fork.problem(self._server.log_name), accepts_runs=False)
        return self._writer.health() if self._writer is not None else StoreHealth()

    async def head(self) -> int:
        self._check_open()
        if self._writer is not None:
            return self._writer.head
        return await operations.read_head(self._server, self._lease.watch)

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        if (
            self._is_spooling()
            and (waiting := await self._spool.after(after, limit))
            and waiting[0]["_id"] == after + 1
        ):
            return [event_of(document) for document in waiting]
        events = await queries.read(self._complete_server(), after, limit)
        if self._writer is None:
            return events
        head = self._writer.head  # what is being written is not durable yet
        return [event for event in events if event.position <= head]

    async def stream(self, stream: str) -> list[Event]:
        return await queries.stream(self._complete_server(), stream)

    async def execution(self, execution_id: str) -> Execution | None:
        self._check_open()
        if self._is_spooling() and (waiting := await self._spool.execution(execution_id)) is not None:
            return execution_of(waiting)
        if self._writer is not None and (waiting := self._writer.unfiled_execution(execution_id)) is not None:
            return execution_of(waiting)
        read = self._filed.execution if self._writer is None else queries.execution
        return await read(self._server, execution_id)

    async def executions(self, query: ExecutionQuery) -> Page:
        below = queries.parse_cursor(query)
        return await queries.executions(await self._view_server(), query, below)

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        if self._writer is None:
            return await self._filed.jobs(self._complete_server(), job_ids, removed=removed)
        return await queries.jobs(await self._view_server(), job_ids, removed=removed)

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        return await queries.job_events(self._complete_server(), job_id, since, until)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await queries.actions(await self._view_server(), query)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        self._check_open()
        if self._is_spooling() and (waiting := await self._spool.checkpoint(name)) is not None:
            return checkpoint_of(waiting)
        return await queries.checkpoint(self._server, name)

    async def checkpoint_names(self) -> list[str]:
        return await queries.checkpoint_names(self._complete_server())

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await queries.log(self._complete_server(), execution_id, after, limit)

    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts]:
        return await statistics(await self._view_server(), job_id)

    async def without_events(self) -> list[str]:
        """Return the executions of which the log has no event; there should be none."""
        return [execution_id async for execution_id in projection.without_events(await self._view_server())]

    async def foreign_documents(self) -> dict[str, int]:
        """Count the documents of other programs, by collection."""
        return await count_foreign(await self._view_server())

    async def differences(self) -> list[str]:
        """Return the executions whose view differs from their events; there should be none."""
        return await projection.confirmed_differences(await self._view_server())

    def _check_open(self) -> None:
        self._fork.check(self._server.log_name)
        if not self._is_open:
            raise StoreError(
                f"MongoDB log {self._server.address} is not open: use the store inside `async with store:`"
            )

    def _open_writer(self) -> SpoolingWriter:
        self._check_open()
        if self._writer is None:
            raise StoreError(f"MongoDB log {self._server.address} is open read-only and cannot be written")
        return self._writer

    def _is_spooling(self) -> bool:
        return self._writer is not None and not self._writer.is_healthy

    def _complete_server(self) -> Server:
        """Return the server, if it has everything that was accepted."""
        self._check_open()
        if self._writer is not None and not self._writer.is_healthy:
            problem = f"{self._writer.waiting}; try again later"
            raise StoreUnavailableError(f"MongoDB log {self._server.address} is incomplete: {problem}")
        return self._server

    async def _view_server(self) -> Server:
        """Return the server, once it also has the views of everything that was accepted."""
        await (self._filed.wait(self._complete_server()) if self._writer is None else self._writer.flush())
        return self._complete_server()


async def _record_newest(writer: SpoolingWriter | None) -> None:
    if writer is not None:
        with suppress(StoreError):  # on a full disk; the record is needed only after the database has lost events
            await writer.record_newest()
