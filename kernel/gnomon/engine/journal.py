"""The only writer of events: fold, queue, append in groups, then publish. Nobody sees what is not durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import structlog
from msgspec.structs import force_setattr

from gnomon.backoff import Backoff
from gnomon.domain import codec, events, execution, job_state
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import JournalState
from gnomon.errors import DeposedError, GnomonError, StoreError, StoreUnavailableError
from gnomon.ports import Clock, Store

log = structlog.stdlib.get_logger("gnomon.engine.journal")
E_ = TypeVar("E_", bound=Event)

NOTHING_MORE = frozenset({"deposed", "stopped"})
"""The states in which nothing is taken in any more."""
FIRST_RETRY, LONGEST_RETRY = 0.1, 5.0
"""Seconds between two tries to write to a store that is away: doubled from the first to the longest."""
REST, LONGEST_REST = 2.0, 0.004
"""After a commit the next one waits for twice as long as it took, and for 4 ms at most. A commit takes some 0.3 ms of
processor time however little is in it: at 1,000 runs a second a run took 840 µs and takes 440, at 5,000 190 and 138."""
COMPANY = 256
"""Events that wait for no more to come."""
LARGEST_EVENT = 4 * 1024 * 1024
"""Bytes of one event: a view adds several up, and a document of MongoDB holds 16 MiB. A body's texts are cut before."""


class Batch:
    """Events that are appended together, with the views that they lead to; `durable` is awaited by who must know."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.events: list[Event] = []
        self.executions: dict[str, Execution] = {}
        self.jobs: dict[str, JobState] = {}
        self.durable: asyncio.Future[None] = loop.create_future()


class Journal:
    """Takes events in, keeps the live views, and appends what has queued up while the last append was going on.

    Group commit: what comes after a rest is written at once, what comes soon after a commit shares the next one.
    """

    def __init__(
        self, store: Store, clock: Clock, node: str, publish: Callable[[Sequence[Event]], None] = lambda _: None
    ) -> None:
        self.jobs: dict[str, JobState] = {}
        self.live: dict[str, Execution] = {}
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
        self._lost_some = False
        self._watched: dict[str, asyncio.Future[None]] = {}

    async def start(self) -> None:
        """Learn from the store where the log ends and what the jobs are."""
        self.head = await self._store.head()
        self.jobs = {state.job_id: state for state in await self._store.jobs()}

    def record(
        self, event_type: type[E_], stream: str, job_id: str, *, at: datetime | None = None, **payload: Any
    ) -> E_:
        """Make an event of this moment, or of `at`, fold it into the live views and queue it.

        TransitionError where it is illegal, and then nothing has happened; GnomonError for what cannot be written as
        JSON. `await durable()` to know that it is kept.
        """
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
        _check_writable(event)
        self.add(event)
        return event

    def add(self, event: Event) -> None:
        """Fold an event into the live views and queue it; for those who know that it can be written, as `record` does.

        The way of the three events that every run has: to ask for each whether it can be written as JSON, and to
        build it from a dict, took a quarter of the kernel's time of a run.
        """
        if self.state in NOTHING_MORE:
            raise DeposedError(f"{type(event).__name__} of {event.stream} was refused: {self.problem}")
        stream = event.stream
        if (view := self.live.get(stream)) is not None:
            view.apply(event)
        elif not isinstance(event, events.JobEvent):
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
                return  # a run of a job that the log does not know: nothing to keep of it
            state = self.jobs[event.job_id] = job_state.begin(event)
        else:
            state.apply(event)
        batch.jobs[event.job_id] = state

    def durable(self) -> asyncio.Future[None]:
        """Return what is done when everything recorded up to now is durable; it raises DeposedError if that may not be.

        Shared by all who wait, so shield it against cancellation: `await asyncio.shield(journal.durable())`.
        """
        batch = self._open or self._writing
        if batch is not None:
            return batch.durable
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._lost_some:
            done.set_exception(DeposedError(str(self.problem)))
            done.exception()  # nobody need await it
        else:
            done.set_result(None)
        return done

    async def room(self, most: int) -> None:
        """Wait until at most so many events are not durable; DeposedError where that may never be.

        Not until all of them are: one batch is filled while the other is being written.
        """
        while self.backlog > most:
            batch = self._writing or self._open
            assert batch is not None  # noqa: S101 - something waits
            await asyncio.shield(batch.durable)

    async def changed(self, stream: str) -> None:
        """Wait for the next event of a stream; DeposedError where there will be none."""
        if self.state in NOTHING_MORE:
            raise DeposedError(f"nothing more is told of {stream}: {self.problem}")
        watched = self._watched.get(stream)
        if watched is None:
            watched = self._watched[stream] = asyncio.get_running_loop().create_future()
        await asyncio.shield(watched)

    def forget(self, execution_id: str) -> None:
        """Drop the live view of a run that is over and whose body is gone."""
        self.live.pop(execution_id, None)

    def adopt(self, view: Execution) -> Execution:
        """Take over the view of an execution that an earlier kernel, or an ended body, left in the store."""
        return self.live.setdefault(view.id, view)

    @property
    def is_idle(self) -> bool:
        """Whether everything recorded is durable, or waits for the store to come back."""
        return self.state == "degraded" or (self._open is None and self._writing is None)

    @property
    def backlog(self) -> int:
        """How many recorded events are not durable yet."""
        return sum(len(batch.events) for batch in (self._open, self._writing) if batch is not None)

    async def run(self) -> None:
        """Write until cancelled. Started once, as a task of the kernel."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._open is not None:
                    begun = time.perf_counter()
                    self._writing, self._open = self._open, None
                    await self._write(self._writing)
                    self._writing = None
                    if self.backlog < COMPANY:
                        await asyncio.sleep(min((time.perf_counter() - begun) * REST, LONGEST_REST))
        finally:
            self._stop("stopped", "the kernel was stopped")

    async def _write(self, batch: Batch) -> None:
        for position, event in enumerate(batch.events, self.head + 1):
            force_setattr(event, "position", position)
        # Copies: the live views move on while these are being written, and a retry must write the same. By the method
        # of Structs, which msgspec's types do not know, in a third of the time of copy.copy.
        executions = [view.__copy__() for view in batch.executions.values()]  # type: ignore[attr-defined]
        jobs = [state.__copy__() for state in batch.jobs.values()]  # type: ignore[attr-defined]
        try:
            await self._append(batch.events, executions, jobs)
        except StoreError as exc:
            log.critical("the journal stops", store=self._store.name, problem=str(exc), lost_events=self.backlog)
            self._stop("deposed", str(exc))
            return
        self.head += len(batch.events)
        batch.durable.set_result(None)
        self._publish(batch.events)

    async def _append(self, batch: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        """Append, and try again for as long as the store is away: what was recorded is kept in order till then."""
        backoff = Backoff(FIRST_RETRY, LONGEST_RETRY)
        while True:
            try:
                await self._store.append(batch, executions, jobs)
            except StoreUnavailableError as exc:
                tell = log.debug if self.problem == str(exc) else log.error  # once, and not for each try of an outage
                self.state, self.problem, pause = "degraded", str(exc), backoff.next()
                tell(
                    "store unavailable", store=self._store.name, problem=str(exc), waiting=len(batch), next_try_s=pause
                )
                await self._clock.sleep(pause)
                continue
            if self.state == "degraded":
                log.info("store available again", store=self._store.name, written=len(batch))
            self.state, self.problem = "healthy", None
            return

    def _stop(self, state: JournalState, problem: str) -> None:
        """Take nothing more: the kernel ends, or the log is somebody else's. Who waits for durability is told."""
        if self.state != "deposed":
            self.state, self.problem = state, problem
        self._lost_some |= self.backlog > 0
        batches = [batch.durable for batch in (self._writing, self._open) if batch is not None]
        for waiting in (*batches, *self._watched.values()):
            if not waiting.done():
                waiting.set_exception(DeposedError(problem))
                waiting.exception()  # whoever stopped it has logged it, also where nobody awaits it
        self._open = self._writing = None
        self._watched.clear()


def _check_writable(event: Event) -> None:
    """Refuse what no store could write while who says it can still be told: half a character, an object, a flood."""
    try:
        size = len(codec.encode(event))
    except (TypeError, ValueError) as exc:
        raise GnomonError(f"{event.type} of {event.stream} cannot be written as JSON: {exc}") from exc
    if size > LARGEST_EVENT:
        raise GnomonError(
            f"{event.type} of {event.stream} is too large for the log: {size:,} bytes, {LARGEST_EVENT:,} are possible; "
            "keep large data elsewhere, and give the job its name"
        )
