"""The store of a log on a server, apart from its rows: opening and closing it, leading, and writing to it.

    open ──► connect ──► identify ──► the lease ──► prepare ──► the spool is drained ──► complete ──► open for writing
                            │
                            └──► open read-only: the log is watched

A store adds the encoding of batches, what it reads, and the three steps in between.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, NamedTuple

from gnomon.backoff import Backoff
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.kernel_health import Role
from gnomon.domain.records import Checkpoint, ExecutionCounts, LogHolder, StoreHealth
from gnomon.domain.rollback import Loss
from gnomon.errors import NoLogError, RolledBackError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon.ports import OrderChannel, Store
from gnomon_shared_log import lost_events
from gnomon_shared_log.errors import LostEventsError, cannot_start
from gnomon_shared_log.fork_guard import ForkGuard
from gnomon_shared_log.lease import takeover
from gnomon_shared_log.lease.lease import Lease, term_of
from gnomon_shared_log.log_watch import LogWatch
from gnomon_shared_log.orders.order_channel import ServerOrderChannel
from gnomon_shared_log.ports.batch import B
from gnomon_shared_log.ports.lease_row import CutOff
from gnomon_shared_log.ports.log_table import LogEnd
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.store_tasks import start_task
from gnomon_shared_log.writing import kept_ends
from gnomon_shared_log.writing.pace import Pace
from gnomon_shared_log.writing.spool import Spool
from gnomon_shared_log.writing.spool_choice import open_spool
from gnomon_shared_log.writing.spool_limits import SpoolLimits
from gnomon_shared_log.writing.spooling_writer import SpoolingWriter
from gnomon_shared_log.writing.view_filer import FilingPace

log = get_logger("gnomon.shared_log")

RELEASE_LIMIT_S = 5.0
"""For releasing the lease while closing."""


class Settings(NamedTuple):
    """What a deployment may set, whatever the server.

    `patience` is how long opening waits for a server that is down, and `lease` how long a kernel that does not respond
    keeps the right to write, at most. Beyond the `limits` of the spool no new runs are started. `filing` says
    how large groups of views become.
    """

    spool: Path
    limits: SpoolLimits
    patience: timedelta
    lease: timedelta
    cut_off: CutOff
    filing: FilingPace = FilingPace()


class SharedLog(Store, Generic[B]):
    """Uses the connection of the store while it is open, and one of its own otherwise."""

    def __init__(self, server_log: ServerLog[B], settings: Settings) -> None:
        self._log = server_log
        self._settings = settings
        self._lease = Lease(server_log.lease, term_of(settings.lease.total_seconds()), settings.cut_off)
        self._spool_path = settings.spool.resolve()
        self._spool = Spool(self._spool_path, server_log.codec)
        self.directory = self._spool_path.parent
        self._held = AsyncExitStack()
        self._is_open = False
        self._log_id: str | None = None
        self._newest_read: Event | None = None
        self._fork = ForkGuard()
        self._writer: SpoolingWriter[B] | None = None
        self._watch: LogWatch

    # --- what a store adds ---

    @abstractmethod
    async def _identify(self, *, read_only: bool) -> str:
        """Return the id of the log; a new one gets an id, unless it is opened read-only: NoLogError."""

    @abstractmethod
    async def _prepare(self) -> None:
        """Create what is missing on the server for this kernel to write, which leads by now."""

    @abstractmethod
    async def _complete(self) -> LogEnd:
        """Fold what an earlier kernel has not filed; return where the log ends. Nobody writes to it meanwhile."""

    @abstractmethod
    async def try_connection(self, role: Role) -> str:
        """Connect as a kernel of this role would, change nothing, and return a description; StoreError otherwise."""

    @abstractmethod
    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts]:
        """Count the executions of one job, or of each job, by their views."""

    @abstractmethod
    async def differences(self) -> list[str]:
        """Return the executions whose view differs from their events; there should be none."""

    @abstractmethod
    async def without_events(self) -> list[str]:
        """Return the executions of which the log has no event; there should be none."""

    @abstractmethod
    async def rebuild(self) -> int:
        """Rebuild all views from the events, which no kernel may write meanwhile; return the number of events."""

    @abstractmethod
    async def prune_progress(self, before: datetime) -> int:
        """Delete the progress events of executions that ended before that moment; return how many events."""

    # --- lifetime ---

    async def open(self, *, read_only: bool = False) -> None:
        if self._is_open:
            raise StoreError(f"{self._log.name} is already open")
        patience_s = self._settings.patience.total_seconds()
        deadline, waiting = time.monotonic() + patience_s, f"waiting for {self._log.product}"
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
                    raise cannot_start(exc, patience_s, self._spool_path) from exc
                log.warning(waiting, problem=str(exc), next_try_s=pause)
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

    async def _acquire(self, *, read_only: bool) -> None:
        self._held.push_async_callback(self._log.close)  # also if connecting fails half way
        await self._log.connect()
        self.loss = None
        try:
            log_id = await self._expect_same_log(read_only=read_only)
        except NoLogError:
            self.loss = await self._find_loss(self._log, None)
            raise
        if read_only:
            self._watch = LogWatch(self._log.source, self._lease.watch)
            start_task(self._watch.feed.run(), self._held)
            self.loss = await self._find_loss(self._log, log_id)
            return
        try:
            await self._lease.acquire()
        except StoreInUseError:
            await kept_ends.hand_over_left(self._log, self._spool_path)
            raise
        self._held.push_async_callback(self._release_lease)
        start_task(self._lease_kept(), self._held)
        await self._prepare()
        self._spool = await open_spool(self._spool_path, self._log.codec, self._lease.cut_off)
        self._held.push_async_callback(self._spool.close)
        await self._expect_known_log(log_id)
        await self._spool.belongs_to(log_id, self._log.name)
        self._mark_read()
        settings = self._settings
        writer = SpoolingWriter(self._log, self._lease, self._spool, settings.limits, settings.filing)
        if (lost := await lost_events.find_lost(self._log, self._spool.newest)) is not None:
            await self._accept(lost)
        await writer.drain_left()
        writer.begin(await self._complete())
        self._writer = writer
        start_task(self._lease.watch_lapses(writer.note_lapse), self._held)
        start_task(writer.drain(), self._held)
        start_task(writer.file_views(), self._held)
        self._held.push_async_callback(writer.finish)  # the first to be called, while everything is still running

    async def _expect_same_log(self, *, read_only: bool) -> str:
        """Return the id of the log; StoreError where it is not the one that this process has used before."""
        if (known := self._log_id) is not None:
            try:
                found = await self._identify(read_only=True)
            except NoLogError as exc:
                raise StoreError(
                    f"{self._log.name} is gone, which this process has used: it was dropped. Restore a backup; a new "
                    "log is begun only by a process that starts"
                ) from exc
            if found != known:
                raise StoreError(
                    f"{self._log.name} is another log by now than the one that this process has used: it was dropped, "
                    "and created again or restored. Start this process again, if it is to use the new one"
                )
        if known is None or not read_only:
            self._log_id = await self._identify(read_only=read_only)
        return self._log_id or ""

    async def _expect_known_log(self, log_id: str) -> None:
        """Raise RolledBackError where another log has been in the place of an empty one, as after a DROP DATABASE."""
        known = await self._spool.known_log()
        if known is None or known[0] == log_id or known[1] != self._log.name:
            return
        newest = self._spool.newest
        if newest is not None and not await self._log.events.read_head():
            raise RolledBackError(lost_events.replaced(self._log.name, newest, self._spool.path).refusal)

    def _noted(self, events: list[Event]) -> list[Event]:
        """Return events that this process has read beside a leader, and remember the newest one."""
        known = self._newest_read.position if self._newest_read is not None else 0
        if events and events[-1].position > known:
            self._newest_read = events[-1]
        return events

    def _mark_read(self) -> None:
        """Record what this process has read while it followed, as if it had been acknowledged to it."""
        read, self._newest_read = self._newest_read, None
        newest = self._spool.newest
        if read is not None and (newest is None or newest.position < read.position):
            self._spool.note_newest(self._log.codec.identity_of(read))

    async def _find_loss(self, server_log: ServerLog[B], log_id: str | None) -> Loss | None:
        """Return what the database lacks of what this machine knows; None for nothing, and `log_id` without a log."""
        marked = lost_events.read_mark(self._spool_path)
        newest = server_log.codec.decode_identity(marked.identity) if marked is not None else None
        if newest is not None and marked is not None and marked.log_id != log_id:
            if marked.place == server_log.name and (log_id is None or not await server_log.events.read_head()):
                return lost_events.replaced(server_log.name, newest, self._spool_path)
            newest = None
        lost = await lost_events.find_lost(server_log, newest) if log_id is not None else None
        return Loss(lost.rollback, self._refusal(lost, self._spool_path)) if lost is not None else None

    async def _expect_no_loss(self, server_log: ServerLog[B], log_id: str | None) -> None:
        """Raise RolledBackError for a log that a kernel of this machine would refuse to lead; change nothing."""
        if (loss := await self._find_loss(server_log, log_id)) is not None:
            raise RolledBackError(loss.refusal)

    def _refusal(self, lost: LostEventsError, spool: Path) -> str:
        """Return the message with which a start is refused."""
        return f"{lost}, or rename the spool {spool} to start without them; runs may then run again"

    async def _accept(self, lost: LostEventsError) -> None:
        """Go on without events that the database has lost; StoreError, unless a store can do that and is asked to."""
        raise StoreError(self._refusal(lost, self._spool.path)) from lost

    async def _release_all(self) -> None:
        self._writer, held, self._held = None, self._held, AsyncExitStack()
        await held.aclose()

    async def _lease_kept(self) -> None:
        try:
            await self._lease.keep(self._on_renewal)
        except StoreError as exc:
            if self._writer is not None:
                self._writer.depose(exc)

    async def _on_renewal(self) -> None:
        """Do what is done from time to time, after each renewal of the lease."""
        with suppress(StoreError):  # the mark is needed only after a power cut, when the database has lost events, too
            await self._spool.flush_newest()

    async def _release_lease(self) -> None:
        with suppress(StoreError, TimeoutError):  # then it expires
            async with asyncio.timeout(RELEASE_LIMIT_S):
                await self._lease.release()

    # --- beside the kernel that leads: to reach it, to wait for it, and to replace it ---

    def orders(self) -> OrderChannel:
        return ServerOrderChannel(self._log, self._lease, lambda: self._fork.check(self._log.name))

    async def wait_for_events(self, after: int) -> None:
        self._fork.check(self._log.name)
        await self._watch.wait(after)

    async def wait_until_free(self) -> None:
        async with self._log.borrowed() as server_log:
            await kept_ends.hand_over_left(server_log, self._spool_path)
            await self._lease.watch.wait_until_free(server_log.lease)

    def expect_release(self) -> None:
        self._lease.watch.expect_release()

    async def holder(self) -> LogHolder | None:
        async with self._log.borrowed() as server_log:
            return await takeover.find_holder(server_log.lease)

    async def take_over(self, holder: LogHolder) -> None:
        async with self._log.borrowed() as server_log:
            await takeover.end_term(server_log.lease, holder)

    def place_problem(self) -> str | None:
        try:
            self._spool.check_folder()
        except StoreError as exc:
            return str(exc)
        return None

    # --- writing ---

    async def keep_ends(self, events: Sequence[Event]) -> None:
        await self._open_writer().keep_ends(events)

    async def late_ends(self) -> list[Event]:
        self._check_open()
        return await self._log.late_ends.read()

    async def forget_late_ends(self, ends: Sequence[Event]) -> None:
        await self._log.late_ends.delete(ends)

    async def spooled(self) -> tuple[int, int]:
        """Return how many events wait in the spool, and their bytes; StoreInUseError while a kernel uses it."""
        return await Spool(self._spool_path, self._log.codec).look()

    # --- reading ---

    def health(self) -> StoreHealth:
        if self._fork.is_child:
            return StoreHealth("lost", self._fork.problem(self._log.name), accepts_runs=False)
        return self._writer.health() if self._writer is not None else StoreHealth()

    def _check_open(self) -> None:
        self._fork.check(self._log.name)
        if not self._is_open:
            raise StoreError(f"{self._log.name} is not open: use the store inside `async with store:`")

    def _check_complete(self) -> None:
        """Raise StoreUnavailableError if the server does not have everything that was accepted."""
        self._check_open()
        if self._writer is not None and not self._writer.is_healthy:
            raise StoreUnavailableError(f"{self._log.name} is incomplete: {self._writer.waiting}; try again later")

    def _open_writer(self) -> SpoolingWriter[B]:
        self._check_open()
        if self._writer is None:
            raise StoreError(f"{self._log.name} is open read-only and cannot be written")
        return self._writer

    # What the server does not have yet. Without a writer there is nothing.

    def _pace(self, writer: SpoolingWriter[B]) -> Pace:
        """Return how fast old records are deleted: not at all while appends are slow, or go to the spool."""

        def is_allowed() -> bool:
            self._check_open()
            return writer.is_healthy and not writer.is_slow

        return Pace(is_allowed)

    async def _waiting_events(self, after: int, limit: int) -> list[Event]:
        """Return events of the spool, if the one after this position is there."""
        found = await self._spool.after(after, limit) if self._is_spooling else []
        return found if found and found[0].position == after + 1 else []

    async def _waiting_execution(self, execution_id: str) -> Execution | None:
        """Return the view of an execution that waits in the spool, or to be filed."""
        if self._is_spooling and (found := await self._spool.execution(execution_id)) is not None:
            return found
        return self._writer.unfiled_execution(execution_id) if self._writer is not None else None

    async def _waiting_checkpoint(self, name: str) -> Checkpoint | None:
        """Return the newest checkpoint of this name in the spool."""
        return await self._spool.checkpoint(name) if self._is_spooling else None

    @property
    def _is_spooling(self) -> bool:
        return self._writer is not None and not self._writer.is_healthy
