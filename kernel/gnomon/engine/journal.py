"""The only writer of the log: fold, queue, append in groups, publish. No event is visible before it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import force_setattr

from gnomon.backoff import Backoff
from gnomon.domain import codec, events, execution, job_state
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import KERNEL
from gnomon.domain.records import JournalState
from gnomon.engine.ended_runs import EndedRuns
from gnomon.engine.vital_signs import Heartbeat, RecentValues
from gnomon.errors import DeposedError, GnomonError, StoreError, StoreUnavailableError
from gnomon.forks import forked_error
from gnomon.logs import get_logger
from gnomon.ports import Clock, Store
from gnomon.stores.reading import EARLIEST, time_of_newest
from gnomon.tasks import at_once

log = get_logger("gnomon.engine.journal")
E_ = TypeVar("E_", bound=Event)

FINAL_STATES = frozenset({"deposed", "stopped"})
"""The states in which no more events are accepted."""
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 5.0
"""Seconds between two tries to write to a store that is away: doubled from the first to the longest."""
REST_RATIO, LONGEST_REST_S = 2.0, 0.004
"""After a commit the next one waits twice as long as the commit took, and 4 ms at most. A commit costs 0.3 ms of CPU
time: with rests a run costs 440 µs instead of 840 at 1,000 runs a second, 138 instead of 190 at 5,000."""
STALLED_AFTER_S = 60.0
"""A store has its own time limits, and says that it is away; an append that takes longer than this hangs."""
FULL_BATCH_EVENTS = 256
"""A batch of this size does not wait for more events."""
LARGEST_EVENT_BYTES = 4 * 1024 * 1024
"""A view adds up several events, and a document of MongoDB holds 16 MiB. Texts of bodies are cut long before."""


class Batch:
    """Events that are appended together, with the views folded from them. `durable` is done when they are stored."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.events: list[Event] = []
        self.executions: dict[str, Execution] = {}
        self.jobs: dict[str, JobState] = {}
        self.durable: asyncio.Future[None] = loop.create_future()
        self.opened = time.monotonic()


class Journal:
    """Accepts events, keeps the live views, and appends the events that queued up during the last append.

    Group commit: an event that comes after a rest is written at once; events that follow a commit closely share one.
    """

    def __init__(
        self, store: Store, clock: Clock, node: str, publish: Callable[[Sequence[Event]], None] = lambda _: None
    ) -> None:
        self.jobs: dict[str, JobState] = {}
        """The states of all jobs that are not removed; of removed ones those that `recalled` has loaded."""
        self.live: dict[str, Execution] = {}
        self.ended = EndedRuns()
        self.head = 0
        self.state: JournalState = "healthy"
        self.problem: str | None = None
        self._store = store
        self._clock = clock
        self.node = node
        self._publish = publish
        self._wake = asyncio.Event()
        self._open: Batch | None = None
        self._writing: Batch | None = None
        self.lost_events = 0
        self._watched: dict[str, asyncio.Future[None]] = {}
        self._recalled: Counter[str] = Counter()
        self._append_s, self._commit_s = RecentValues(), RecentValues()
        self._appending_since: float | None = None
        self._newest_at = EARLIEST
        self.heartbeat = Heartbeat("journal", STALLED_AFTER_S)

    async def start(self) -> None:
        """Read the head of the log and the states of the jobs from the store."""
        newest_at = time_of_newest(self._store, self._clock.now())
        self.head, jobs, self._newest_at = await at_once(self._store.head(), self._store.jobs(removed=False), newest_at)
        self.jobs = {state.job_id: state for state in jobs}

    def record(
        self, event_type: type[E_], stream: str, job_id: str, *, at: datetime | None = None, **payload: Any
    ) -> E_:
        """Create an event with the time `at` (by default now), fold it into the live views and queue it.

        TransitionError where it is illegal, GnomonError where it cannot be written as JSON; nothing has changed then.
        Await `durable()` to learn that it is stored.
        """
        if payload.get("actor") == KERNEL:  # a reserved name: nobody else passes it
            payload["by_kernel"] = True
        views = self.jobs if issubclass(event_type, events.JobEvent) else self.live
        view = views.get(job_id if views is self.jobs else stream)
        event = event_type(
            stream=stream,
            version=view.version + 1 if view is not None else 1,
            at=at or self._clock.now(),
            node=self.node,
            job_id=job_id,
            **payload,
        )
        event = _as_read(event)
        self.add(event)
        return event

    def record_of_kernel(self, event_type: type[E_], stream: str, version: int, job_id: str = "", **payload: Any) -> E_:
        """Queue a fact that is in no view, and return it; its position is set once it is durable."""
        now = self._clock.now()
        event = _as_read(event_type(stream=stream, version=version, at=now, node=self.node, job_id=job_id, **payload))
        self.add(event)
        return event

    def add(self, event: Event) -> None:
        """Fold an event into the live views and queue it, without checking that it can be written and read.

        For events whose values are all the kernel's own: the three that every run has, and job_added. The check, and
        building them from keyword arguments, took a quarter of the kernel's CPU time of a run.
        """
        if self.state in FINAL_STATES:
            raise DeposedError(f"{type(event).__name__} of {event.stream} was refused: {self.problem}")
        stream = event.stream
        if (view := self.live.get(stream)) is not None:
            view.apply(event)
        elif isinstance(event, events.ExecutionEvent):
            view = self.live[stream] = execution.begin(event)
        batch = self._open or self._open_batch()
        if view is not None:
            batch.executions[stream] = view
        if view is None or event.version == 1:
            self._fold_job(batch, event)
        batch.events.append(event)
        if self._watched and (watched := self._watched.pop(stream, None)) is not None:
            watched.set_result(None)

    def _open_batch(self) -> Batch:
        batch = self._open = Batch(asyncio.get_running_loop())
        self._wake.set()
        return batch

    def _fold_job(self, batch: Batch, event: Event) -> None:
        state = self.jobs.get(event.job_id)
        if state is None:
            if not isinstance(event, events.JobEvent):
                return  # a run of a job that the log does not know has no job state
            state = self.jobs[event.job_id] = job_state.begin(event)
        else:
            state.apply(event)
        batch.jobs[event.job_id] = state

    def durable(self) -> asyncio.Future[None]:
        """Return a future that is done when everything recorded so far is durable; DeposedError if that is impossible.

        Several callers share it, so shield it against cancellation: `await asyncio.shield(journal.durable())`.
        """
        batch = self._open or self._writing
        if batch is not None:
            return batch.durable
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.lost_events:
            done.set_exception(DeposedError(str(self.problem)))
            done.exception()  # marked as retrieved: not every caller awaits it
        else:
            done.set_result(None)
        return done

    def unwritten(self, shown: str | None) -> asyncio.Future[None] | None:
        """Return what is done when a job, a run or all jobs are durable; None if they are, or the store is away."""
        for batch in (self._open, self._writing) if self.state == "healthy" else ():
            if batch is not None and (shown is None or shown in batch.jobs or shown in batch.executions):
                return batch.durable
        return None

    async def room(self, most: int) -> None:
        """Wait until at most `most` events are not durable: one batch fills while another is written; DeposedError."""
        while self.backlog > most:
            batch = self._writing or self._open
            assert batch is not None  # noqa: S101 - something waits
            await asyncio.shield(batch.durable)

    async def changed(self, stream: str) -> None:
        """Wait for the next event of a stream; DeposedError if there will be none."""
        if self.state in FINAL_STATES:
            raise DeposedError(f"no more events of {stream} can be recorded: {self.problem}")
        watched = self._watched.get(stream)
        if watched is None:
            watched = self._watched[stream] = asyncio.get_running_loop().create_future()
        await asyncio.shield(watched)

    def forget(self, execution_id: str) -> None:
        """Drop the live view of a run that has ended and whose body is gone."""
        if (view := self.live.pop(execution_id, None)) is not None:
            self.ended.keep(view)

    def adopt(self, view: Execution) -> Execution:
        """Add the view of an execution from the store to the live views, and return the live one."""
        return self.live.setdefault(view.id, view)

    @contextlib.asynccontextmanager
    async def recalled(self, job_ids: Iterable[str]) -> AsyncIterator[None]:
        """Keep the states of these jobs in memory for the duration of a block, also if they were removed before.

        A removed job is not kept in memory: with jobs that run once, their number has no limit. But one that is added
        again continues its stream, and must not repeat a fire.
        """
        wanted = list(job_ids)
        self._recalled.update(wanted)
        try:
            if missing := [job_id for job_id in wanted if job_id not in self.jobs]:
                for state in await self._store.jobs(missing):
                    self.jobs.setdefault(state.job_id, state)
            yield
        finally:
            self._recalled.subtract(wanted)
            for job_id in wanted:
                if not self._recalled[job_id]:
                    del self._recalled[job_id]
            self._drop_removed(wanted)

    def _drop_removed(self, job_ids: Iterable[str]) -> None:
        """Drop the states of removed jobs that the store has."""
        unwritten = [batch.jobs for batch in (self._open, self._writing) if batch is not None]
        for job_id in job_ids:
            is_removed = (state := self.jobs.get(job_id)) is not None and state.removed
            if is_removed and job_id not in self._recalled and not any(job_id in jobs for jobs in unwritten):
                del self.jobs[job_id]

    @property
    def append_s(self) -> float:
        """How long the store took for an append lately, in seconds, or takes for the present one if that is longer."""
        since = self._appending_since  # read once: another thread may ask
        return max(self._append_s.mean, time.monotonic() - since if since is not None else 0.0)

    @property
    def commit_s(self) -> float:
        """How long events waited lately until they were durable, and how long the oldest one is waiting now."""
        batch = self._writing or self._open  # read once: another thread may ask
        waiting = time.monotonic() - batch.opened if batch is not None else 0.0
        return max(self._commit_s.mean, waiting)

    @property
    def behind_s(self) -> float:
        """How far the clock is behind the newest event of the log, in seconds; 0 where it is not."""
        return max((self._newest_at - self._clock.now()).total_seconds(), 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether everything recorded is durable, or waits for a store that is away."""
        return self.state == "degraded" or (self._open is None and self._writing is None)

    @property
    def backlog(self) -> int:
        """The number of recorded events that are not durable yet."""
        return sum(len(batch.events) for batch in (self._open, self._writing) if batch is not None)

    async def run(self) -> None:
        """Write batches until cancelled: a component of the kernel."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._open is not None:
                    begun = time.perf_counter()
                    self._writing, self._open = self._open, None
                    self.heartbeat.begin("writes a batch")
                    written = self._writing
                    await self._write(written)
                    self._writing = None
                    self._drop_removed(written.jobs)
                    self.heartbeat.rest()
                    if self.backlog < FULL_BATCH_EVENTS:
                        await asyncio.sleep(min((time.perf_counter() - begun) * REST_RATIO, LONGEST_REST_S))
        finally:
            self.heartbeat.rest()
            self._stop("stopped", "the kernel was stopped")

    async def lose(self, problem: str) -> None:
        """Accept no more events, because the store has lost its log; a second call changes nothing."""
        if self.state not in FINAL_STATES:
            await self._keep_ends()
            log.critical("the log was lost", store=self._store.name, problem=problem)
            self._stop("deposed", problem)

    async def _write(self, batch: Batch) -> None:
        written = codec.EventBatch(batch.events)
        for position, event in enumerate(written, self.head + 1):
            force_setattr(event, "position", position)
        # Copies, because the live views change while these are written, and a retry must write the same. The Struct's
        # own method, which msgspec's type stubs lack, takes a third of the time of copy.copy.
        executions = [view.__copy__() for view in batch.executions.values()]  # type: ignore[attr-defined]
        jobs = [state.__copy__() for state in batch.jobs.values()]  # type: ignore[attr-defined]
        try:
            await self._append(written, executions, jobs)
        except StoreError as exc:
            await self._keep_ends()
            log.critical("the journal stopped", store=self._store.name, problem=str(exc), lost_events=self.backlog)
            self._stop("deposed", str(exc))
            return
        if self.state in FINAL_STATES:  # `lose` has told all who wait
            return
        self.head += len(written)
        self._newest_at = max(self._newest_at, written[-1].at)
        self._commit_s.add(time.monotonic() - batch.opened)
        batch.durable.set_result(None)
        self._publish(written)

    async def _append(self, batch: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        """Append, and retry while the store is away; recorded events wait in order. End where the log is lost."""
        backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        while self.state not in FINAL_STATES:
            begun, self._appending_since = time.perf_counter(), time.monotonic()
            self.heartbeat.begin("waits for the store to append a batch")
            try:
                await self._store.append(batch, executions, jobs)
            except StoreUnavailableError as exc:
                self._appending_since = None
                if self.state in FINAL_STATES:
                    return
                log_at = log.debug if self.problem == str(exc) else log.error  # once for each outage
                self.state, self.problem, pause = "degraded", str(exc), backoff.next()
                log_at(
                    "store unavailable", store=self._store.name, problem=str(exc), waiting=len(batch), next_try_s=pause
                )
                self.heartbeat.rest()  # the state reports an outage
                await self._keep_ends()
                await self._clock.sleep(pause)
                continue
            self._appending_since = None
            self._append_s.add(time.perf_counter() - begun)
            if self.state in FINAL_STATES:
                return
            if self.state == "degraded":
                log.info("store available again", store=self._store.name, written=len(batch))
            self.state, self.problem = "healthy", None
            return

    def abandon(self, parent: int) -> None:
        """Accept no event in a forked child, and forget those that the parent is writing."""
        self.state, self.problem = "deposed", str(forked_error("the kernel", parent))
        self._open = self._writing = None

    async def _keep_ends(self) -> None:
        """Pass what waits behind a refused append to the store: it may keep the ends of runs safe."""
        if self._open is not None:
            with contextlib.suppress(StoreError):
                await self._store.keep_ends(tuple(self._open.events))

    def _stop(self, state: JournalState, problem: str) -> None:
        """Accept no more events: the kernel stops, or lost ownership of the log. Waiting callers get DeposedError."""
        if self.state != "deposed":
            self.state, self.problem = state, problem
        self.lost_events += self.backlog
        batches = [batch.durable for batch in (self._writing, self._open) if batch is not None]
        for waiting in (*batches, *self._watched.values()):
            if not waiting.done():
                waiting.set_exception(DeposedError(problem))
                waiting.exception()  # marked as retrieved: the cause is logged
        self._open = self._writing = None
        self._watched.clear()


def _as_read(event: E_) -> E_:
    """Return an event as the log will give it back: nothing in it is shared with foreign code.

    Raise GnomonError for one that no store could write or read, while its author can still handle it: lone surrogates,
    values that are not JSON or of another type than the field, and events that are too large.
    """
    try:
        body = codec.encode(event)
    except (TypeError, ValueError, RecursionError) as exc:
        raise GnomonError(f"{event.type} of {event.stream} cannot be written as JSON: {exc}") from exc
    if len(body) > LARGEST_EVENT_BYTES:
        raise GnomonError(
            f"{event.type} of {event.stream} is too large for the log: {len(body):,} bytes, at most "
            f"{LARGEST_EVENT_BYTES:,} are allowed; store large data elsewhere and pass a reference to it"
        )
    try:
        return codec.decode(body)  # type: ignore[return-value]  # it has the type of the event
    except StoreError as exc:
        raise GnomonError(f"{event.type} of {event.stream} could not be read again: {exc}") from exc
