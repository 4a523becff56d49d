"""The MongoDB store: implements the port with the server, the lease, the spool and the writer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from os import PathLike
from pathlib import Path

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.kernel_health import Role
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
from gnomon.errors import StoreError
from gnomon.stores.kernel_streams import find_deletable
from gnomon.tasks import at_once
from gnomon_mongo import connection_check, log_identity, retention, schema
from gnomon_mongo.documents.conversion import checkpoint_document, line_document
from gnomon_mongo.documents.foreign_documents import count_foreign, find_foreign, make_way
from gnomon_mongo.documents.rejected_documents import Rejected, RejectedDocuments
from gnomon_mongo.documents.write_batch import WriteBatch
from gnomon_mongo.drivers import Driver
from gnomon_mongo.history_import.history_import import HistoryImport, ImportReport
from gnomon_mongo.lists import queries
from gnomon_mongo.lists.statistics import statistics
from gnomon_mongo.log import operations
from gnomon_mongo.log.append_batch import batch_of, restore
from gnomon_mongo.server import Server
from gnomon_mongo.server_log import MongoLog
from gnomon_mongo.views import projection
from gnomon_mongo.views.filed_views import FiledViews
from gnomon_shared_log.ports.lease_row import CutOff
from gnomon_shared_log.ports.log_table import LogEnd
from gnomon_shared_log.shared_log import Settings, SharedLog
from gnomon_shared_log.writing.spool_limits import SpoolLimits


class MongoStore(SharedLog[WriteBatch]):
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
        path = Path(spool)
        self._server = Server(uri, database, driver or Driver(), timeout.total_seconds())
        self._rejected = RejectedDocuments(path.resolve().with_name(f"{path.name}.rejected"))
        settings = Settings(path, limits or SpoolLimits(), patience, lease, cut_off)
        super().__init__(MongoLog(self._server, self._rejected), settings)
        self._filed = FiledViews()

    # --- lifetime ---

    async def try_connection(self, role: Role) -> str:
        self._spool.check_folder()
        try:
            await self._server.connect()
            found = await connection_check.check_connection(self._server, role)
            if role != "follower":
                await self._expect_no_loss(self._log, await log_identity.find_id(self._server))
            return found
        finally:
            await self._server.close()

    async def _identify(self, *, read_only: bool) -> str:
        identifying = log_identity.identify(self._server, read_only=read_only)
        log_id: str
        log_id, _ = await at_once(identifying, find_foreign(self._server))
        return log_id

    async def _prepare(self) -> None:
        await self._server.make_indexes()
        await self._rejected.load()

    async def _complete(self) -> LogEnd:
        end = await operations.read_end(self._server)
        await log_identity.migrate(self._server, end.log.get("layout", log_identity.LAYOUT))
        if schema.METADATA in self._server.foreign:
            await make_way(self._server)
        await projection.repair(self._server, end)
        return end.identified()

    async def _on_renewal(self) -> None:
        with suppress(StoreError):
            await self._rejected.load()  # some may have been written again by a command
        await super()._on_renewal()

    # --- writing ---

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        writer = self._open_writer()
        if not events:
            return
        # Documents are encoded before the first await, because the views change in the meantime.
        await writer.append(batch_of(events, executions, jobs, events[-1].position), events)

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        await restore(self._server, self._open_writer(), batch_of(events, executions, jobs, head), events, head)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._open_writer().keep(WriteBatch(checkpoints=[checkpoint_document(name, checkpoint)]))

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        documents = [line_document(execution_id, line) for line in lines if line.number >= oldest]
        await self._open_writer().keep(
            WriteBatch(lines=documents, oldest_lines={execution_id: oldest} if oldest > 1 else {})
        )

    async def prune(self, before: datetime) -> int:
        writer = self._open_writer()
        await self._view_server()
        pace = self._pace(writer)
        pruned = await retention.prune(self._server, before, pace, writer.before_prune)
        await retention.prune_kernels(self._server, await find_deletable(self, before), pace, writer.before_prune)
        await retention.prune_jobs(self._server, before, pace, writer.before_prune)
        return pruned

    async def prune_progress(self, before: datetime) -> int:
        writer = self._open_writer()
        await self._view_server()
        return await retention.prune_progress(self._server, before, self._pace(writer))

    async def rebuild(self) -> int:
        self._open_writer()
        return await projection.rebuild(await self._view_server())

    async def import_history(self, zone: tzinfo, *, is_trial: bool = False) -> ImportReport:
        """Import the documents of another scheduler as history; times without an offset are of `zone`."""
        writer = self._open_writer()
        await self._view_server()
        return await HistoryImport(self._server, self.append, writer.head, zone, is_trial=is_trial).run()

    # --- what waits ---

    async def rejected(self) -> list[Rejected]:
        """Return the documents that the server has rejected and that are kept aside."""
        return await self._rejected.load()

    async def retry_rejected(self) -> list[Rejected]:
        """Write the rejected documents again; return those that are rejected again. Works beside a running kernel."""
        return await operations.retry(self._complete_server(), self._rejected)

    # --- reading ---

    def health(self) -> StoreHealth:
        found = super().health()
        return self._rejected.health() if self._writer is not None and found == StoreHealth() else found

    async def head(self) -> int:
        self._check_open()
        if self._writer is not None:
            return self._writer.head
        return await operations.read_head(self._server, self._lease.watch)

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        if waiting := await self._waiting_events(after, limit):
            return waiting
        events = await queries.read(self._complete_server(), after, limit)
        if self._writer is None:
            return self._noted(events)
        head = self._writer.head  # what is being written is not durable yet
        return [event for event in events if event.position <= head]

    async def stream(self, stream: str) -> list[Event]:
        return await queries.stream(self._complete_server(), stream)

    async def execution(self, execution_id: str) -> Execution | None:
        self._check_open()
        if (waiting := await self._waiting_execution(execution_id)) is not None:
            return waiting
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
        if (waiting := await self._waiting_checkpoint(name)) is not None:
            return waiting
        return await queries.checkpoint(self._server, name)

    async def checkpoint_names(self) -> list[str]:
        return await queries.checkpoint_names(self._complete_server())

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await queries.log(self._complete_server(), execution_id, after, limit)

    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts]:
        return await statistics(await self._view_server(), job_id)

    async def without_events(self) -> list[str]:
        return [execution_id async for execution_id in projection.without_events(await self._view_server())]

    async def foreign_documents(self) -> dict[str, int]:
        """Count the documents of other programs, by collection."""
        return await count_foreign(await self._view_server())

    async def differences(self) -> list[str]:
        return await projection.confirmed_differences(await self._view_server())

    def _complete_server(self) -> Server:
        """Return the server, if it has everything that was accepted."""
        self._check_complete()
        return self._server

    async def _view_server(self) -> Server:
        """Return the server, once it also has the views of everything that was accepted."""
        await (self._filed.wait(self._complete_server()) if self._writer is None else self._writer.flush())
        return self._complete_server()
