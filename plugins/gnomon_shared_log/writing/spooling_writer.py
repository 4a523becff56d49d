"""Writes to the server, or to the spool while the server is down, and drains the spool when it is back.

What a kernel does that is cut off from the server is the user's choice, `cut_off`:

* "hold": only the server acknowledges events. An append that does not reach it is refused, so no body begins that the
  next leader would not know of, and nothing that was acknowledged can be replaced. The ends of running bodies are kept
  in the spool (kept_ends.py), and so are log lines and checkpoints, which are not events.
* "run": the spool acknowledges events, too, and the jobs go on. No other kernel takes over by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, Literal

from gnomon.backoff import Backoff
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import StoreHealth
from gnomon.errors import ConflictError, DeposedError, StoreError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_shared_log.errors import LostEventsError, Refusal
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.ports.batch import B, EventIdentity, check_places
from gnomon_shared_log.ports.log_table import LogEnd
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.writing.kept_ends import KeptEnds
from gnomon_shared_log.writing.spool import Spool
from gnomon_shared_log.writing.spool_limits import SpoolLimits
from gnomon_shared_log.writing.view_filer import FilingPace, ViewFiler

log = get_logger("gnomon.shared_log")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""The pauses between attempts to drain."""
RESERVE = 1.25
"""How far the spool may grow beyond its limit for the ends of running runs, when no new ones are started."""
ALARM = 0.8
"""The share of the limit at which a warning is logged."""
SLOW_APPEND_S, SLOW_MEMORY_S = 0.5, 10.0
"""An append that takes longer than the first is slow, for as long as the second."""
BACKGROUND_LIMIT_S = 10.0
"""For one write of what waits in the spool, of views, or of another log. A busy server may need longer for hundreds of
them than for an append, and they would never be written within a limit that is too short for them."""
FINISH_LIMIT_S = 5.0
"""For the last views before the store closes."""
UNORDERED_WRITES = 2
"""Concurrent writes of checkpoints and log lines: connections are few, and events must not wait for lines."""


class SpoolingWriter(Generic[B]):
    """Keeps the order of the log and its `head`.

    While the spool is empty, appends go to the server, one at a time under `_turn`. Once something is in the spool,
    everything goes there, and only `drain` writes to the server. Emptiness is decided under the same lock, so no event
    can overtake another one.
    """

    def __init__(
        self, server: ServerLog[B], lease: Lease, spool: Spool[B], limits: SpoolLimits, filing: FilingPace
    ) -> None:
        self.head = 0
        self._server = server
        self._lease = lease
        self._spool = spool
        self._limits = limits
        self._turn = asyncio.Lock()
        self._unordered = asyncio.Semaphore(UNORDERED_WRITES)
        self._away = asyncio.Event()
        self._since: float | None = None
        self._problem: str | None = None
        self._deposed: StoreError | None = None
        self._has_warned = False
        self._append_s = self._appended_at = 0.0
        self._newest: EventIdentity | None = None  # the event before the next one
        self._ends = KeptEnds(server.late_ends, spool)
        self._filer = ViewFiler[B](self._write_views, filing)

    async def drain_left(self) -> None:
        """Write what an earlier kernel left in the spool."""
        if drained := await self._drain_all():
            log.info("the spool is drained", events=drained, log=self._server.name)

    def begin(self, end: LogEnd) -> None:
        """Append behind this end of the log from now on."""
        self.head = end.head
        self._newest = end.newest
        if end.newest is not None:
            self._spool.note_newest(end.newest)

    async def flush(self) -> None:
        """Wait until all views are filed; StoreUnavailableError if the server does not take them."""
        await self._filer.flush()

    async def finish(self) -> None:
        """File the views that are left, before the store closes; the next start folds what it could not."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(FINISH_LIMIT_S):
                await self._filer.flush()

    async def file_views(self) -> None:
        """File views behind the events, until cancelled. Runs as a task of the store."""
        await self._filer.run()

    def unfiled_execution(self, execution_id: str) -> Execution | None:
        """Return the newest view of an execution that is not filed yet."""
        return self._filer.execution(execution_id)

    async def before_prune(self, execution_ids: set[str]) -> None:
        """Expect no longer that the newest event is there, if it is about to be deleted."""
        async with self._turn:
            await self._filer.flush()  # a view that is filed after the deletion would come back
            if self._newest is not None and self._newest.stream in execution_ids:
                self._newest = None

    def health(self) -> StoreHealth:
        """Return the health of writing: degraded while anything waits in the spool."""
        if self._deposed is not None:
            is_ours = isinstance(self._deposed, LostEventsError)
            state: Literal["degraded", "lost"] = "degraded" if is_ours else "lost"
            return StoreHealth(
                state, str(self._deposed), self._spool.events, accepts_runs=False, has_other_leader=not is_ours
            )
        if self._holds and (self._since is not None or not self._lease.is_trusted):
            return StoreHealth("degraded", self._reason_to_hold(), self._spool.events, accepts_runs=False)
        if self._spool.is_empty and self._filer.problem is not None:
            problem = f"{self._filer.problem}; the views of {self._filer.waiting} events are not written yet"
            return StoreHealth("degraded", problem, self._filer.waiting)
        if self._spool.is_empty:
            return StoreHealth()
        full = self._limits.reached_by(self._spool)
        problem = f"{self._problem or 'the spool is being drained'}; {self.waiting}{f'; {full}' if full else ''}"
        return StoreHealth("degraded", problem, self._spool.events, accepts_runs=full is None)

    @property
    def _holds(self) -> bool:
        return self._lease.cut_off == "hold"

    def _reason_to_hold(self) -> str:
        cause = self._problem or f"the lease of {self._server.name} was not renewed in time"
        if self._lease.is_trusted:
            why = "a run that the server does not know of could run again under the next kernel that leads"
        else:
            why = "the lease has run out, and another kernel may lead by now"
        product = self._server.product
        return f'no runs are started while events do not reach {product}, as `cut_off = "hold"` says: {why}; {cause}'

    @property
    def waiting(self) -> str:
        """What waits, as a phrase for messages."""
        events, entries = self._spool.events, self._spool.entries
        what = (
            f"{events} events wait" if events or not entries else f"{entries} writes of log lines or checkpoints wait"
        )
        return f"{what} in the spool {self._spool.path}"

    @property
    def is_healthy(self) -> bool:
        """Whether the server has everything that was accepted."""
        return self._spool.is_empty

    @property
    def is_slow(self) -> bool:
        """Whether an append took long a short while ago."""
        return self._append_s > SLOW_APPEND_S and time.monotonic() < self._appended_at + SLOW_MEMORY_S

    def note_lapse(self) -> None:
        """Log that the lease has run out. Health and appends do not depend on this: they read the clock."""
        if self._deposed is None and self._holds:
            log.warning("the lease has run out: no runs are started until it is renewed", log=self._server.name)

    def depose(self, exc: StoreError) -> None:
        """Stop writing: another kernel owns the log, or the database has lost a part of it."""
        if self._deposed is not None:
            return
        self._deposed = exc
        self._filer.stop()
        self._away.set()
        log.critical("events can no longer be appended to the log", problem=str(exc))

    async def append(self, batch: B, events: Sequence[Event]) -> None:
        """Write a batch of these events, which follow the head; durable, on the server or in the spool, afterwards."""
        async with self._turn:
            await self._take(batch, events)
            began = time.monotonic()
            await self._write_or_spool(batch, events)
            self._appended_at = time.monotonic()
            self._append_s = self._appended_at - began
            self._go_on(batch)

    async def restore(self, batch: B, events: Sequence[Event]) -> None:
        """Write a part of another log, whose events may have gaps; this machine keeps nothing that the server refuses.

        StoreUnavailableError where the server does not take it: it is imported again then.
        """
        async with self._turn:
            await self._take(batch, events, has_gaps=True)
            await self._write_now(batch, (), BACKGROUND_LIMIT_S)
            self._go_on(batch)

    async def _take(self, batch: B, events: Sequence[Event], *, has_gaps: bool = False) -> None:
        """Expect that events follow the head, and wait until there is room for their views."""
        if self._deposed is not None:
            raise self._deposed
        check_places(events, self.head, has_gaps=has_gaps)
        await self._filer.room()
        batch.follow(self._newest, self._filer.first or batch.first)

    def _go_on(self, batch: B) -> None:
        """Append behind this batch from now on."""
        self.head = max(self.head, batch.last)
        self._newest = batch.newest

    async def keep(self, batch: B) -> None:
        """Write what is not part of the order of the log: a checkpoint, log lines."""
        async with self._unordered:
            if self._deposed is not None:
                raise self._deposed
            await self._write_or_spool(batch)

    async def _drain_all(self) -> int:
        """Write what an earlier kernel left in the spool; return how many events."""
        drained = 0
        while (some := await self._spool.first()) is not None:
            batch, number = some
            try:
                await self._write(batch)
            except ConflictError as exc:
                await self._set_aside(exc)
                break
            await self._spool.drop(number)
            drained += batch.event_count
        await self._ends.hand_over()
        return drained

    async def drain(self) -> None:
        """Drain the spool whenever something is in it, until cancelled. Runs as a task of the store."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        while self._deposed is None:
            await self._away.wait()
            try:
                await self._drain_some()
            except (ConflictError, DeposedError, LostEventsError) as exc:
                self.depose(exc)
            except StoreError as exc:
                self._problem = str(exc)
                log.debug("the spool cannot be drained yet", problem=str(exc), events=self._spool.events)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                self._problem = None
        await self._leave(backoff)

    async def _leave(self, backoff: Backoff) -> None:
        """Hand the ends of runs to the kernel that leads instead, as soon as the server is there."""
        while True:
            try:
                await self._ends.hand_over()
            except StoreUnavailableError:
                await asyncio.sleep(backoff.next())
            except StoreError as exc:
                log.error("ends of runs stay in the spool", spool=str(self._spool.path), problem=str(exc))
                return
            else:
                return

    async def _drain_some(self) -> None:
        some = await self._spool.first()
        if some is None:
            await self._settle()
            return
        batch, number = some
        await self._lease.hold()
        await self._write(batch)
        await self._spool.drop(number)

    async def keep_ends(self, found: Sequence[Event]) -> None:
        """Keep ends of runs that wait behind an append that was refused; the spool of `run` takes the append itself."""
        if self._holds:
            await self._ends.keep(found)

    async def _write_or_spool(self, batch: B, events: Sequence[Event] = ()) -> None:
        holds = self._holds and bool(events)
        if self._spool.is_empty or holds:
            try:
                await self._write_now(batch, events)
            except (StoreUnavailableError, Refusal) as exc:
                # It may have been written anyway. It is written again, and what is there already is kept.
                self._degrade(exc)
                if holds:
                    await self._ends.keep(events)
                    raise StoreUnavailableError(self._reason_to_hold()) from exc
            else:
                if self._since is not None:  # the spool was not usable in this outage, or not used
                    self._recover()
                if holds:
                    await self._ends.clear()
                return
        if self._spool.size > self._limits.size * RESERVE:
            raise StoreUnavailableError(f"{self._problem}; {self.waiting}, which is more than its limit")
        await self._spool.put(batch)
        self._away.set()
        self._warn()

    async def _write_now(self, batch: B, events: Sequence[Event], limit_s: float | None = None) -> None:
        """Write to the server, in the term of this kernel."""
        try:
            await self._lease.hold()
            await self._write_quickly(batch, limit_s)
        except ConflictError:
            await self._refresh_head()
            raise
        except LostEventsError as exc:
            self.depose(exc)
            raise
        except DeposedError as exc:
            self.depose(exc)
            await self.keep_ends(events)
            raise

    async def _write(self, batch: B) -> None:
        """Write what waited in the spool."""
        if batch.event_count:
            await self._write_events(batch, BACKGROUND_LIMIT_S)
        await self._write_views(batch)

    async def _write_quickly(self, batch: B, limit_s: float | None) -> None:
        """Write the events, in one round trip; their views follow in the background. Write anything else at once."""
        if batch.event_count:
            await self._write_events(batch, limit_s)
            self._filer.add(batch)
        else:
            await self._server.events.write_rest(batch)

    async def _write_events(self, batch: B, limit_s: float | None = None) -> None:
        await self._server.events.write_events(batch, self._lease.term(), limit_s)
        self._spool.note_newest(batch.newest)

    async def _write_views(self, views: B) -> None:
        await self._server.events.write_rest(views, BACKGROUND_LIMIT_S)

    async def _refresh_head(self) -> None:
        """Read the head after a conflict: a part of the batch may have been written before it."""
        try:
            self.head = await self._server.events.read_head()
        except StoreError as exc:
            log.warning("the head of the log could not be read", problem=str(exc))

    async def _settle(self) -> None:
        async with self._turn:
            if self._spool.is_empty:
                self._away.clear()
                self._recover()

    def _recover(self) -> None:
        since, self._since, self._problem, self._has_warned = self._since, None, None, False
        if since is None:  # an append has found the server before the spool was drained
            return
        back = f"{self._server.product} is back, {'runs are started again' if self._holds else 'the spool is drained'}"
        log.info(back, log=self._server.name, after_s=round(time.monotonic() - since, 1))

    def _degrade(self, exc: StoreError) -> None:
        self._problem = str(exc)
        if self._since is None:
            self._since = time.monotonic()
            what = "no runs are started" if self._holds else "events go to the spool"
            lost = f"{self._server.product} is down, {what}"
            log.error(lost, problem=str(exc), spool=str(self._spool.path))

    def _warn(self) -> None:
        if not self._has_warned and self._spool.size > ALARM * self._limits.size:
            self._has_warned = True
            log.warning("the spool is nearly full", bytes=self._spool.size, limit=self._limits.size)

    async def _set_aside(self, exc: ConflictError) -> None:
        events = self._spool.events
        waiting = await self._spool.after(0, events)
        await self._ends.send(waiting)
        aside = await self._spool.set_aside()
        log.critical(
            "another kernel wrote to the log while events waited in the spool; they cannot be appended to it",
            events=events,
            kept_in=str(aside),
            problem=str(exc),
        )
