"""Jobs and runs of other schedulers in this process, such as APScheduler: recorded here, decided there.

Their jobs are in the log and in lists while they are attached; the kernel never starts them. Their runs have a
`source`, so an audit does not judge them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any

import msgspec

from gnomon.api import JobView
from gnomon.domain import events
from gnomon.domain.execution import Execution, manual_execution_id
from gnomon.domain.own_copies import own_state
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.errors import DeposedError, GnomonError, JobExistsError
from gnomon.jobs.diff import changed_keys
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.tasks import ProtectedTask, TaskSet

log = get_logger("gnomon.engine.attached_schedulers")

ATTACHED: events.Origin = "attached"
LAST_FACTS_S = 5.0
"""How long a stopping kernel waits until what was posted before is recorded."""


class AttachedJob(msgspec.Struct):
    """A job of another scheduler as it told of it; `definition` is what the log keeps of it."""

    job: Job
    definition: dict[str, Any]
    next_fire: datetime | None = None


class AttachedScheduler:
    """The jobs and open runs of one scheduler. `source` is its name in the log.

    Any thread may `post` a call of the other methods, which belong to the kernel's loop. Calls are made one after
    another; they may raise GnomonError, which is logged, or DeposedError, after which no more are made. A run has the
    id that `scheduled` returns.
    """

    def __init__(self, source: str, journal: Journal, clock: Clock, is_taken: Callable[[str], bool]) -> None:
        self.source = source
        self.jobs: dict[str, AttachedJob] = {}
        self.open: dict[str, Execution] = {}
        self.is_closed = False
        self._journal = journal
        self._clock = clock
        self._is_taken = is_taken
        self._loop = asyncio.get_running_loop()
        self._posted: asyncio.Queue[tuple[Callable[..., Coroutine[Any, Any, None]], tuple[Any, ...]]] = asyncio.Queue()

    def post(self, record: Callable[..., Coroutine[Any, Any, None]], *facts: Any) -> None:
        """Call a coroutine function on the kernel's loop, after those that were posted before; from any thread."""
        if not self.is_closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._posted.put_nowait, (record, facts))

    async def run(self) -> None:
        """Make the calls that are posted, until the scheduler is detached: a task of the kernel."""
        while True:
            record, facts = await self._posted.get()
            try:
                await record(*facts)
            except DeposedError:  # the journal has logged it
                self.is_closed = True
            except GnomonError as exc:
                log.error("a fact of an attached scheduler was not recorded", source=self.source, problem=str(exc))
            finally:
                self._posted.task_done()

    async def settled(self) -> None:
        """Return when all calls that were posted before have been made."""
        await asyncio.sleep(0)  # other threads post through the loop
        await self._posted.join()

    # --- jobs ---

    async def put_job(self, job: Job, *, paused: bool, next_fire: datetime | None) -> None:
        """Record a new job, or what has changed about a known one; JobExistsError where the kernel has that id."""
        if job.id not in self.jobs and self._is_taken(job.id):
            raise JobExistsError(job.id)
        async with self._journal.recalled([job.id]):
            self._put_job(job, paused=paused, next_fire=next_fire)

    def _put_job(self, job: Job, *, paused: bool, next_fire: datetime | None) -> None:
        definition, state = job.definition(), self._journal.jobs.get(job.id)
        if state is None or state.removed:
            at = self._clock.now()
            payload = {"origin": ATTACHED, "owner": self.source, "temporary": True}
            self._of_job(events.JobAdded, job.id, definition=definition, anchor=at, **payload)
        elif changes := changed_keys(state.definition, definition):
            self._of_job(events.JobChanged, job.id, changes=changes)
        state = self._journal.jobs[job.id]
        if paused is not state.paused:
            self._of_job(events.JobPaused if paused else events.JobResumed, job.id)
        self.jobs[job.id] = AttachedJob(job, state.definition, None if paused else next_fire)

    def remove_job(self, job_id: str, reason: str | None = None) -> None:
        """Record that a job is gone; its runs go on. An unknown one is ignored."""
        if self.jobs.pop(job_id, None) is not None:
            self._of_job(events.JobRemoved, job_id, reason=reason or f"{self.source} removed it")

    def _of_job(self, kind: type[events.JobEvent], job_id: str, **payload: Any) -> None:
        # Without an actor: what a program does to its jobs does not belong into the history of what operators did.
        self._journal.record(kind, events.job_stream(job_id), job_id, **payload)

    # --- runs ---

    def scheduled(self, job_id: str, job_name: str, scheduled_time: datetime) -> str:
        """Record that a run was accepted, and return its id."""
        identity = manual_execution_id(job_id, scheduled_time)
        facts: dict[str, Any] = {"scheduled_time": scheduled_time, "job_name": job_name, "source": self.source}
        self._journal.record(events.Scheduled, identity, job_id, **facts)
        self.open[identity] = self._journal.live[identity]
        return identity

    def started(self, execution_id: str, worker: str, delay: float) -> None:
        """Record that the body of a run has begun; `delay` is in seconds after its scheduled time."""
        runner = self.source.lower()
        self._record(events.Started, execution_id, runner=runner, worker=worker, delay=round(delay, 6))

    def succeeded(self, execution_id: str, return_value: Any, execution_time: float) -> None:
        """Record the end of a run whose body returned; the value is JSON."""
        spent = round(execution_time, 6)
        self._end(events.Succeeded, execution_id, return_value=return_value, execution_time=spent)

    def failed(self, execution_id: str, execution_time: float | None = None, **error: Any) -> None:
        """Record the end of a run; `error` has the fields of the event, such as error_type and reason."""
        spent = round(execution_time, 6) if execution_time is not None else None
        self._end(events.Failed, execution_id, **({"reason": "exception"} | error), execution_time=spent)

    def missed(
        self, job_id: str, job_name: str, scheduled_time: datetime, reason: events.MissedReason, detail: str,
        execution_id: str | None = None,
    ) -> None:  # fmt: skip
        """Record that a run will not take place, whether it was accepted before or not."""
        identity = execution_id or manual_execution_id(job_id, scheduled_time)
        facts: dict[str, Any] = {"scheduled_time": scheduled_time, "job_name": job_name, "reason": reason}
        facts |= {"detail": detail}
        self._journal.record(events.Missed, identity, job_id, source=self.source, **facts)
        self._forget(identity)

    def _record(self, kind: type[events.ExecutionEvent], execution_id: str, **payload: Any) -> None:
        self._journal.record(kind, execution_id, self.open[execution_id].job_id, **payload)

    def _end(self, kind: type[events.ExecutionEvent], execution_id: str, **payload: Any) -> None:
        self._record(kind, execution_id, **payload)
        self._forget(execution_id)

    def _forget(self, execution_id: str) -> None:
        self.open.pop(execution_id, None)
        self._journal.forget(execution_id)

    # --- the end ---

    def close(self, reason: str) -> None:
        """Record that nothing more will be known: open runs are lost, and the jobs are removed from the log."""
        if self.is_closed:
            return
        self.is_closed = True
        for execution_id in list(self.open):
            self.failed(execution_id, reason="lost", error_message=f"its end is not known: {reason}")
        for job_id in list(self.jobs):
            self.remove_job(job_id, reason)

    def view(self, job_id: str) -> JobView:
        """Return a job as lists show it."""
        attached, state = self.jobs[job_id], self._journal.jobs[job_id]
        runs = [run for run in self.open.values() if run.job_id == job_id]
        return JobView(
            job=attached.job,
            state=own_state(state),
            next_fire=attached.next_fire,
            running=[run.id for run in runs if run.status == "running"],
            waiting=[run.id for run in runs if run.status == "scheduled"],
            overrides="none",
            origin=ATTACHED,
            source=self.source,
        )


class AttachedSchedulers:
    """All schedulers that are attached to a kernel."""

    def __init__(self, journal: Journal, clock: Clock, jobs: JobTable, tasks: TaskSet) -> None:
        self._journal = journal
        self._clock = clock
        self._jobs = jobs
        self._tasks = tasks
        self._attached: dict[str, AttachedScheduler] = {}
        self._running: dict[str, ProtectedTask[None]] = {}
        jobs.attached = self.source_of

    def attach(self, source: str) -> AttachedScheduler:
        """Attach a scheduler; GnomonError where one with that name is attached."""
        if source in self._attached:
            raise GnomonError(f"a scheduler with the name {source!r} is attached already: detach it, or choose a name")
        scheduler = AttachedScheduler(source, self._journal, self._clock, self._is_taken)
        self._attached[source] = scheduler
        self._running[source] = self._tasks.create_task(scheduler.run(), f"attached {source}")
        return scheduler

    async def settled(self) -> None:
        """Return when all calls that were posted before have been made."""
        for scheduler in list(self._attached.values()):
            await scheduler.settled()

    async def detach(self, scheduler: AttachedScheduler, reason: str) -> None:
        """Close a scheduler, after what was posted before; nothing happens where it is closed already."""
        if self._attached.get(scheduler.source) is scheduler:
            await scheduler.settled()
            scheduler.close(reason)
            if self._attached.pop(scheduler.source, None) is not None:
                self._running.pop(scheduler.source).end()

    async def close(self) -> None:
        """Close all schedulers, because the kernel stops."""
        for scheduler in list(self._attached.values()):
            with contextlib.suppress(DeposedError, TimeoutError):  # the journal has logged it
                async with asyncio.timeout(LAST_FACTS_S):
                    await self.detach(scheduler, "the kernel was stopped")

    def source_of(self, job_id: str) -> str | None:
        """Return the name of the scheduler that has a job, or None."""
        found = self._of(job_id)
        return found.source if found is not None else None

    def view(self, job_id: str) -> JobView | None:
        """Return a job, or None where no scheduler has it."""
        found = self._of(job_id)
        return found.view(job_id) if found is not None else None

    def views(self) -> Iterator[JobView]:
        """Yield all jobs."""
        for scheduler in self._attached.values():
            yield from map(scheduler.view, scheduler.jobs)

    def _of(self, job_id: str) -> AttachedScheduler | None:
        return next((one for one in self._attached.values() if job_id in one.jobs), None)

    def _is_taken(self, job_id: str) -> bool:
        return self._jobs.get(job_id) is not None or self._of(job_id) is not None
