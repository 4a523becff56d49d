"""The PostgreSQL store: implements the port with the server, the lease, the spool and the writer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
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
)
from gnomon.errors import RolledBackError
from gnomon.logs import get_logger
from gnomon.ports import OrderChannel
from gnomon.stores.kernel_streams import find_deletable
from gnomon.stores.microseconds import to_micros
from gnomon_postgres import connection_check
from gnomon_postgres.lists import queries
from gnomon_postgres.lists.statistics import statistics
from gnomon_postgres.log import event_reads, kept_records
from gnomon_postgres.order_channel import PostgresOrderChannel
from gnomon_postgres.orders.pending_orders import PendingOrders
from gnomon_postgres.retention import retention
from gnomon_postgres.retention.partition_drop import freeing
from gnomon_postgres.retention.progress_retention import prune_progress
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, Server
from gnomon_postgres.server_log import PostgresLog
from gnomon_postgres.views import projection, view_proof
from gnomon_postgres.views.filed_views import FiledViews
from gnomon_postgres.write_batch import WriteBatch
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.lease_row import CutOff
from gnomon_shared_log.ports.log_table import LogEnd
from gnomon_shared_log.shared_log import Settings, SharedLog
from gnomon_shared_log.store_tasks import start_task
from gnomon_shared_log.writing.spool import Spool
from gnomon_shared_log.writing.spool_limits import SpoolLimits
from gnomon_shared_log.writing.view_filer import FilingPace

log = get_logger("gnomon.postgres")

FILING = FilingPace(rest_s=0.05, most_waiting=10_000)
"""A group is a transaction of about 2 ms, and in a large one many runs begin and end, whose rows are written once."""


class PostgresStore(SharedLog[WriteBatch]):
    """Keeps the log in a schema of a PostgreSQL database, and in a local spool while the server is down.

    `dsn` is any connection string of libpq. `timeout` limits each write, `patience` how long opening waits for a server
    that is down, and `lease` how long a kernel that does not respond keeps the right to write, at most. Beyond the
    `limits` of the spool no new runs are started. `partition` is the time that a partition of the log covers, about.

    While events wait in the spool, lists would be incomplete and raise StoreUnavailableError. A single execution, the
    head and the events in the spool can still be read.
    """

    name = "postgres"

    def __init__(  # noqa: PLR0913 - what a deployment may set, all by name
        self,
        dsn: str = "postgresql://127.0.0.1/gnomon",
        schema: str = "gnomon",
        *,
        spool: str | PathLike[str] = "gnomon-spool.db",
        limits: SpoolLimits | None = None,
        timeout: timedelta = timedelta(seconds=2),
        patience: timedelta = timedelta(seconds=30),
        lease: timedelta = timedelta(seconds=15),
        cut_off: CutOff = "hold",
        partition: timedelta = timedelta(days=1),
    ) -> None:
        self._server = Server(dsn, schema, timeout.total_seconds())
        self._tables = PostgresLog(self._server, partition)
        settings = Settings(Path(spool), limits or SpoolLimits(), patience, lease, cut_off, FILING)
        super().__init__(self._tables, settings)
        self._views = FiledViews()

    # --- lifetime ---

    async def _identify(self, *, read_only: bool) -> str:
        if read_only:
            return await migrations.identify(self._server)
        return await migrations.prepare(self._server, accepts_loss=self.accept_rollback)

    async def _prepare(self) -> None:
        self.rollback = None
        await projection.end_earlier_writers(self._server)
        hold = partial(self._tables.lease.hold, term=self._lease.term())
        await migrations.complete(self._server, hold, accepts_loss=self.accept_rollback)
        start_task(self._tables.events.notices.run(), self._held)

    def _refusal(self, lost: LostEventsError, spool: Path) -> str:  # noqa: ARG002 - it is not to be renamed here
        return f"{lost}, or accept the loss, after which runs may run again: gnomon run --accept-rollback"

    async def _accept(self, lost: LostEventsError) -> None:
        if not self.accept_rollback:
            raise RolledBackError(self._refusal(lost, self._spool.path)) from lost
        self.rollback = lost.rollback
        await self._tables.events.end_at(lost.expected, self._lease.term())  # nothing takes later events for lost ones
        log.warning("the loss of acknowledged events was accepted", last_event=lost.found, lost_until=lost.expected)

    async def _complete(self) -> LogEnd:
        await projection.repair(self._server, self._tables.events.partitions)
        return await self._tables.events.read_end()

    def orders(self) -> OrderChannel:
        return PostgresOrderChannel(self._tables, self._lease, lambda: self._fork.check(self._log.name))

    async def waiting_orders(self) -> int:
        self._check_open()
        return await PendingOrders(self._server).count()

    async def try_connection(self, role: Role) -> str:
        Spool(self._spool_path, self._log.codec).check_folder()
        async with self._tables.borrowed() as tables:
            found = await connection_check.check_connection(tables.server, role)
            if role != "follower":
                await self._expect_no_loss(tables, await migrations.find_id(tables.server))
            return found

    # --- writing ---

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        writer = self._open_writer()
        if events:
            await writer.append(WriteBatch.of_append(events, executions, jobs), events)

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        writer = self._open_writer()
        if events:
            await writer.restore(WriteBatch.of_restore(events, executions), events)
        await self._tables.events.end_at(head, self._lease.term())
        writer.head = max(writer.head, head)
        await writer.flush()
        await writer.keep(WriteBatch.of_jobs(jobs))

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._open_writer().keep(WriteBatch(checkpoints={name: checkpoint}))

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        await self._open_writer().keep(WriteBatch.of_lines(execution_id, lines, oldest))

    async def prune(self, before: datetime, *, spare: timedelta = timedelta(0)) -> int:
        """Delete what ended before that moment; partitions that are over less than `spare` later go as a whole then."""
        writer = self._open_writer()
        await self._filed_server()
        where, forget = (self._server, self._tables.events.partitions), self._tables.events.forget
        pace = self._pace(writer)
        async with freeing(self._server) as free:
            pruned = await retention.prune(*where, before, pace, forget, free, spare)
            await retention.prune_kernels(*where, await find_deletable(self, before), pace, forget)
            await retention.prune_jobs(*where, before, pace, forget)
        return pruned

    async def prune_progress(self, before: datetime) -> int:
        writer = self._open_writer()
        server = await self._filed_server()
        return await prune_progress(server, self._tables.events.partitions, before, self._pace(writer))

    async def rebuild(self) -> int:
        self._open_writer()
        return await projection.rebuild(await self._filed_server(), self._tables.events.partitions)

    # --- reading ---

    async def head(self) -> int:
        self._check_open()
        return self._writer.head if self._writer is not None else await self._tables.events.read_head()

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        self._check_open()
        if waiting := await self._waiting_events(after, limit):
            return waiting
        self._check_complete()
        async with self._server.reading() as connection:
            events = await event_reads.read(connection, after, limit)
        if self._writer is None:
            return self._noted(events)
        head = self._writer.head  # an append whose answer is lost is there, and not acknowledged
        return [event for event in events if event.position <= head]

    async def stream(self, stream: str) -> list[Event]:
        self._check_complete()
        async with self._server.reading() as connection, connection.transaction(SNAPSHOT):
            return await event_reads.stream(connection, stream)

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        self._check_complete()
        async with self._server.reading(LIST_LIMIT_S) as connection:
            return await event_reads.of_job(connection, job_id, to_micros(since), to_micros(until))

    async def execution(self, execution_id: str) -> Execution | None:
        self._check_open()
        if (waiting := await self._waiting_execution(execution_id)) is not None:
            return waiting
        read = queries.execution if self._writer is not None else projection.execution_after
        return await read(self._server, execution_id)

    async def executions_by_id(self, ids: Collection[str]) -> dict[str, Execution]:
        if self._writer is None or self._is_spooling:
            return await super().executions_by_id(ids)
        async with self._server.reading() as connection:
            found = {view.id: view for view in await queries.executions_by_id(connection, ids)}
        newer = {one: view for one in ids if (view := await self._waiting_execution(one)) is not None}
        return found | newer

    async def executions(self, query: ExecutionQuery) -> Page:
        start = queries.parse_cursor(query)
        return await queries.executions(await self._filed_server(), query, start)

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        if self._writer is None:
            self._check_open()
            return await projection.jobs_after(self._server, job_ids, removed=removed)
        return await queries.jobs(await self._filed_server(), job_ids, removed=removed)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await queries.actions(await self._filed_server(), query)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        self._check_open()
        if (waiting := await self._waiting_checkpoint(name)) is not None:
            return waiting
        async with self._server.reading() as connection:
            return await kept_records.checkpoint(connection, name)

    async def checkpoint_names(self) -> list[str]:
        self._check_complete()
        async with self._server.reading() as connection:
            return await kept_records.checkpoint_names(connection)

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        self._check_complete()
        async with self._server.reading() as connection:
            return await kept_records.lines(connection, execution_id, after, limit)

    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts]:
        return await statistics(await self._filed_server(), job_id)

    async def differences(self) -> list[str]:
        return await view_proof.differences(await self._filed_server())

    async def without_events(self) -> list[str]:
        return await view_proof.without_events(await self._filed_server())

    async def _filed_server(self) -> Server:
        """Return the server, once it also has the views of everything that was accepted."""
        self._check_complete()
        await (self._views.wait(self._server) if self._writer is None else self._writer.flush())
        self._check_complete()
        return self._server
