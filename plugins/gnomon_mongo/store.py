"""The MongoDB store: the port, put together from the server, the lease, the spool and the writer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any

import structlog
from pymongo.errors import DuplicateKeyError

from gnomon.backoff import Backoff
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import (
    ActionPage,
    ActionQuery,
    Checkpoint,
    ExecutionQuery,
    JobStatistics,
    LogLine,
    Page,
    StoreHealth,
)
from gnomon.errors import NoLogError, StoreError, StoreUnavailableError
from gnomon.ports import Store
from gnomon_mongo import connection_check, operations, projection, queries, schema
from gnomon_mongo.documents import (
    action_documents,
    checkpoint_document,
    checkpoint_of,
    event_document,
    event_of,
    execution_document,
    execution_of,
    job_document,
    line_document,
)
from gnomon_mongo.drivers import Document, Driver
from gnomon_mongo.lease import Lease
from gnomon_mongo.server import Server
from gnomon_mongo.spool import Spool
from gnomon_mongo.spooling_writer import SpoolingWriter, SpoolLimits
from gnomon_mongo.statistics import statistics
from gnomon_mongo.write_batch import WriteBatch

log = structlog.stdlib.get_logger("gnomon.mongo")

LOG_LAYOUT = 1
"""Version of the collections and their documents."""
CANCEL_AGAIN = 0.5
"""Seconds after which a task of the store that does not end is cancelled once more."""
LET_GO = 5.0
"""Seconds that closing waits for the server to take the lease back."""


class MongoStore(Store):
    """Keeps the log in MongoDB, and in a spool on this machine while MongoDB is away.

    `uri` is any that MongoDB knows, with authentication, TLS, replica sets; `database` is by default the one that it
    names, else `gnomon`. `timeout` limits each write, `patience` how long opening waits for a server that is away,
    and `lease` how long the writer's place is kept for a kernel that is not heard of. Beyond the `limits` of the spool
    no more runs are started.

    While events wait in the spool, a list would lack them: it raises StoreUnavailableError. A single execution, the
    head and the events of the spool itself can be read all the same.
    """

    name = "mongo"

    def __init__(
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
    ) -> None:
        self._server = Server(uri, database, driver or Driver(), timeout.total_seconds())
        self._lease = Lease(self._server, lease.total_seconds())
        self._spool = Spool(Path(spool).resolve())
        self._limits = limits or SpoolLimits()
        self._patience = patience.total_seconds()
        self._held = AsyncExitStack()
        self._is_open = False
        self._writer: SpoolingWriter | None = None

    # --- lifetime ---

    async def open(self, *, read_only: bool = False) -> None:
        if self._is_open:
            raise StoreError(f"MongoDB log {self._server.address} is open already")
        deadline = time.monotonic() + self._patience
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                await self._take_hold(read_only=read_only)
            except StoreUnavailableError as exc:
                await self._let_go()
                if read_only:
                    raise
                pause = backoff.next()
                if time.monotonic() + pause > deadline:
                    raise StoreUnavailableError(self._cannot_start(exc)) from exc
                log.warning("waiting for MongoDB", problem=str(exc), next_try_s=pause)
                await asyncio.sleep(pause)
            except BaseException:
                await self._let_go()
                raise
            else:
                self._is_open = True
                return

    async def close(self) -> None:
        self._is_open = False
        await self._let_go()

    async def try_connection(self) -> str:
        """Reach the server as opening would, without changing anything, and tell what is there; StoreError if not."""
        self._spool.check_folder()
        try:
            await self._server.connect()
            return await connection_check.check_connection(self._server)
        finally:
            await self._server.close()

    async def _take_hold(self, *, read_only: bool) -> None:
        self._held.push_async_callback(self._server.close)  # also where only half of it could be made
        await self._server.connect()
        log_id = await self._identify(read_only=read_only)
        if read_only:
            return
        await self._lease.acquire()
        self._held.push_async_callback(self._give_back)
        self._start(self._lease_kept())
        await self._server.make_indexes()
        await self._spool.open()
        self._held.push_async_callback(self._spool.close)
        await self._spool.belongs_to(log_id)
        writer = SpoolingWriter(self._server, self._lease, self._spool, self._limits)
        if drained := await writer.drain_all():
            log.info("what waited in the spool is written", events=drained, log=self._server.address)
        await projection.repair(self._server)
        writer.head = await operations.read_head(self._server)
        self._writer = writer
        self._start(writer.drain())

    async def _let_go(self) -> None:
        self._writer = None
        held, self._held = self._held, AsyncExitStack()
        await held.aclose()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # No TaskGroup: open and close may be called in different tasks.
        task = asyncio.create_task(work)

        async def stop() -> None:
            while not task.done():  # pymongo sometimes loses a cancellation while it looks for a server
                task.cancel()
                await asyncio.wait((task,), timeout=CANCEL_AGAIN)

        self._held.push_async_callback(stop)

    async def _lease_kept(self) -> None:
        try:
            await self._lease.keep()
        except StoreError as exc:
            if self._writer is not None:
                self._writer.depose(exc)

    async def _give_back(self) -> None:
        with suppress(StoreError, TimeoutError):  # then it ends by itself
            async with asyncio.timeout(LET_GO):
                await self._lease.release()

    async def _identify(self, *, read_only: bool) -> str:
        """Return the name of this log, which nothing else has; it gets one where it is new."""
        async with self._server.reading() as server:
            found = await server[schema.KERNEL].find_one({"_id": "log"})
        if found is None and read_only:
            raise NoLogError(f"there is no log in MongoDB at {self._server.address}: start a kernel there first")
        if found is None:
            found = await self._begin_log()
        if found["layout"] > LOG_LAYOUT:
            raise StoreError(
                f"MongoDB log {self._server.address} was written by a newer Gnomon: its layout is {found['layout']}, "
                f"this one knows {LOG_LAYOUT}; upgrade Gnomon, or use another database"
            )
        return str(found["id"])

    async def _begin_log(self) -> Document:
        new = {"id": secrets.token_hex(12), "layout": LOG_LAYOUT, "made": datetime.now(UTC)}
        async with self._server.writing() as server:
            with suppress(DuplicateKeyError):  # two kernels that begin at once agree on one name
                await server[schema.KERNEL].insert_one({"_id": "log", **new})
            return await server[schema.KERNEL].find_one({"_id": "log"}) or new

    def _cannot_start(self, exc: StoreError) -> str:
        kept = "; what waits in the spool stays there" if self._spool.path.exists() else ""
        return (
            f"{exc}; waited {self._patience:g} s for it. A kernel cannot start without its log: which jobs are paused, "
            f"and what an earlier kernel left running, is written there{kept}"
        )

    # --- writing ---

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        writer = self._writing()
        if not events:
            return
        first, last = events[0].position, events[-1].position
        # Documents are made before anything is awaited: the views live on meanwhile.
        batch = WriteBatch(
            events=[event_document(event, first) for event in events],
            executions=[execution_document(view) for view in executions],
            jobs=[job_document(state, last) for state in jobs],
            actions=action_documents(events),
        )
        await writer.append(batch)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._writing().keep(WriteBatch(checkpoints=[checkpoint_document(name, checkpoint)]))

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        documents = [line_document(execution_id, line) for line in lines if line.number >= oldest]
        await self._writing().keep(
            WriteBatch(lines=documents, oldest_lines={execution_id: oldest} if oldest > 1 else {})
        )

    async def prune(self, before: datetime) -> int:
        self._check_complete(self._writing())
        return await operations.prune(self._server, before)

    async def prune_progress(self, before: datetime) -> int:
        """Forget the progress events of executions that ended before that moment; returns how many events."""
        self._check_complete(self._writing())
        return await operations.prune_progress(self._server, before)

    async def rebuild(self) -> int:
        """Fold all views of executions and jobs anew from the events, and return how many. For a stopped kernel."""
        self._check_complete(self._writing())
        return await projection.rebuild(self._server)

    # --- reading ---

    def health(self) -> StoreHealth:
        return self._writer.health() if self._writer is not None else StoreHealth()

    async def head(self) -> int:
        self._check_open()
        return self._writer.head if self._writer is not None else await operations.read_head(self._server)

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        if self._waits() and (waiting := await self._spool.after(after, limit)) and waiting[0]["_id"] == after + 1:
            return [event_of(document) for document in waiting]
        events = await queries.read(self._complete(), after, limit)
        if self._writer is None:
            return events
        head = self._writer.head  # what is being written just now is not durable yet
        return [event for event in events if event.position <= head]

    async def stream(self, stream: str) -> list[Event]:
        return await queries.stream(self._complete(), stream)

    async def execution(self, execution_id: str) -> Execution | None:
        self._check_open()
        if self._waits() and (waiting := await self._spool.execution(execution_id)) is not None:
            return execution_of(waiting)
        return await queries.execution(self._server, execution_id)

    async def executions(self, query: ExecutionQuery) -> Page:
        below = queries.parse_cursor(query)
        return await queries.executions(self._complete(), query, below)

    async def jobs(self) -> list[JobState]:
        return await queries.jobs(self._complete())

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        return await queries.job_events(self._complete(), job_id, since, until)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await queries.actions(self._complete(), query)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        self._check_open()
        if self._waits() and (waiting := await self._spool.checkpoint(name)) is not None:
            return checkpoint_of(waiting)
        return await queries.checkpoint(self._server, name)

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await queries.log(self._complete(), execution_id, after, limit)

    async def statistics(self, job_id: str | None = None) -> list[JobStatistics]:
        return await statistics(self._complete(), job_id)

    async def differences(self) -> list[str]:
        """List the executions whose view is not what their events say; there should be none."""
        server = self._complete()
        found = [execution_id async for execution_id in projection.differences(server)]
        # What a kernel was writing just then is as it should be by now.
        return [execution_id for execution_id in found if not await projection.is_as_told(server, execution_id)]

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(
                f"MongoDB log {self._server.address} is not open: use the store inside of `async with store:`"
            )

    def _writing(self) -> SpoolingWriter:
        self._check_open()
        if self._writer is None:
            raise StoreError(f"MongoDB log {self._server.address} was opened read-only, so it cannot be written")
        return self._writer

    def _waits(self) -> bool:
        return self._writer is not None and not self._writer.is_healthy

    def _complete(self) -> Server:
        """Return the server, where it has all that was accepted."""
        self._check_open()
        if self._writer is not None:
            self._check_complete(self._writer)
        return self._server

    def _check_complete(self, writer: SpoolingWriter) -> None:
        if not writer.is_healthy:
            raise StoreUnavailableError(
                f"MongoDB log {self._server.address} does not have everything yet: {writer.waiting}; try again later"
            )
