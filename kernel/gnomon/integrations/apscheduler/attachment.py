"""Observes a scheduler of APScheduler 3 and records its jobs and runs in the log of a kernel."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from apscheduler import events as aps

from gnomon.embedding.background import BackgroundKernel
from gnomon.errors import JobExistsError
from gnomon.integrations.apscheduler.executor_logs import ExecutorLogs
from gnomon.integrations.apscheduler.observed_jobs import ObservedJob, id_here, observe
from gnomon.integrations.apscheduler.observed_runs import ObservedRuns
from gnomon.kernel import Kernel
from gnomon.runners.outcome import ERROR_LIMIT, as_json
from gnomon.safe_text import safe_str, type_name
from gnomon.text import shorten
from gnomon.threads import in_thread

SOURCE = "APScheduler"
TRACEBACK_LIMIT = 32 * 1024
MOST_GONE = 1_000
"""Removed jobs that are remembered: a job with one fire is removed before its run is submitted."""
MASK = (
    aps.EVENT_JOB_ADDED | aps.EVENT_JOB_MODIFIED | aps.EVENT_JOB_REMOVED | aps.EVENT_ALL_JOBS_REMOVED
    | aps.EVENT_JOB_SUBMITTED | aps.EVENT_JOB_EXECUTED | aps.EVENT_JOB_ERROR | aps.EVENT_JOB_MISSED
    | aps.EVENT_JOB_MAX_INSTANCES | aps.EVENT_SCHEDULER_STARTED | aps.EVENT_EXECUTOR_ADDED
    | aps.EVENT_JOBSTORE_ADDED | aps.EVENT_JOBSTORE_REMOVED
)  # fmt: skip
RESYNC = (
    aps.EVENT_ALL_JOBS_REMOVED | aps.EVENT_SCHEDULER_STARTED | aps.EVENT_JOBSTORE_ADDED | aps.EVENT_JOBSTORE_REMOVED
)


class Attachment:
    """A scheduler whose jobs and runs a kernel records, from `attach` until `detach`."""

    def __init__(self, scheduler: Any, kernel: Kernel, source: str) -> None:
        self.scheduler = scheduler
        self._kernel = kernel
        self._source = source
        self._logs = ExecutorLogs(scheduler, self._on_begun, self._on_done, self._on_lost)
        self._ids: dict[str, str] = {}
        self._gone: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def start(self) -> None:
        """Begin to observe: first the events, then the jobs that are there."""
        self._attached = await self._kernel.attach_scheduler(self._source)
        self._runs = ObservedRuns(self._attached)
        self.scheduler.add_listener(self._on_event, MASK)
        for alias in list(self.scheduler._executors):  # noqa: SLF001 - it has no public list of them
            self._logs.watch(alias)
        try:
            # Stores ask databases. A scheduler on this loop may be used from threads, too.
            await in_thread(lambda: self._attached.post(self._sync, self._observed()), "gnomon-apscheduler")
            await self._kernel.sync_attached()
        except BaseException:
            await self.detach("its jobs could not be read")
            raise

    async def detach(self, reason: str = "it was detached") -> None:
        """Stop observing. The scheduler goes on; nothing of Gnomon is left in it or in its loggers.

        Runs that have not ended are recorded as lost, because their ends will not be known: shut the scheduler down
        before, with `wait=True`. Its jobs are removed from the kernel's lists.
        """
        self.scheduler.remove_listener(self._on_event)
        self._logs.stop()
        if self._kernel.loop is not None:  # a kernel that has stopped has recorded the end itself
            await self._kernel.detach_scheduler(self._attached, reason)

    # --- in the threads of the scheduler ---

    def _on_event(self, event: Any) -> None:
        at = time.perf_counter()
        if event.code == aps.EVENT_EXECUTOR_ADDED:
            self._logs.watch(event.alias)
        elif event.code & RESYNC:
            self._attached.post(self._sync, self._observed())
        elif event.code in {aps.EVENT_JOB_ADDED, aps.EVENT_JOB_MODIFIED}:
            self._update(event)
        elif event.code == aps.EVENT_JOB_REMOVED:
            self._attached.post(self._remove, event.job_id)
        elif event.code == aps.EVENT_JOB_SUBMITTED:
            self._update(event)
            self._attached.post(self._submitted, event.job_id, list(event.scheduled_run_times), at)
        elif event.code == aps.EVENT_JOB_MAX_INSTANCES:
            self._update(event)
            self._attached.post(self._refused, event.job_id, list(event.scheduled_run_times))
        elif event.code == aps.EVENT_JOB_MISSED:
            self._attached.post(self._missed, event.job_id, event.scheduled_run_time)
        else:
            self._attached.post(self._ended, event.job_id, event.scheduled_run_time, at, _ending(event))

    def _update(self, event: Any) -> None:
        """Pass on the present definition of a job, and when it is due next; APScheduler has no event for the latter."""
        if (job := self.scheduler.get_job(event.job_id, event.jobstore)) is not None:
            self._attached.post(self._put, observe(job))

    def _observed(self) -> list[ObservedJob]:
        return [observe(job) for job in self.scheduler.get_jobs()]

    def _on_begun(self, job: Any, scheduled_time: datetime) -> None:
        moment = datetime.now(UTC), time.perf_counter()
        self._attached.post(self._begun, job.id, scheduled_time, threading.current_thread().name, moment)

    def _on_done(self, job: Any, scheduled_time: datetime) -> None:
        self._attached.post(self._done, job.id, scheduled_time, time.perf_counter())

    def _on_lost(self, job_id: str, error: BaseException | None) -> None:
        self._attached.post(self._lost, job_id, _failure(error) if error is not None else {"reason": "lost"})

    # --- on the kernel's loop ---

    async def _sync(self, present: list[ObservedJob]) -> None:
        for job in present:
            await self._put(job)
        for gone in self._ids.keys() - {job.id for job in present}:
            await self._remove(gone)

    async def _put(self, observed: ObservedJob) -> None:
        job_id = self._ids.get(observed.id) or id_here(observed.id, False, self._source)
        try:
            await self._attached.put_job(observed.job(job_id), paused=observed.is_paused, next_fire=observed.next_fire)
        except JobExistsError:
            job_id = id_here(observed.id, True, self._source)
            await self._attached.put_job(observed.job(job_id), paused=observed.is_paused, next_fire=observed.next_fire)
        self._ids[observed.id] = job_id
        self._gone.pop(observed.id, None)

    async def _remove(self, foreign_id: str) -> None:
        if (job_id := self._ids.pop(foreign_id, None)) is None:
            return
        self._gone[foreign_id] = job_id, self._attached.jobs[job_id].job.title
        while len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        self._attached.remove_job(job_id)

    def _named(self, foreign_id: str) -> tuple[str, str]:
        """Return the id and the name of a job here, which may be gone."""
        if (job_id := self._ids.get(foreign_id)) is not None:
            return job_id, self._attached.jobs[job_id].job.title
        return self._gone.get(foreign_id) or (id_here(foreign_id, False, self._source), foreign_id)

    async def _submitted(self, foreign_id: str, times: list[datetime], at: float) -> None:
        self._runs.submitted(*self._named(foreign_id), times, at)

    async def _begun(
        self, foreign_id: str, scheduled_time: datetime, worker: str, moment: tuple[datetime, float]
    ) -> None:
        self._runs.begun(*self._named(foreign_id), scheduled_time, worker, moment)

    async def _done(self, foreign_id: str, scheduled_time: datetime, at: float) -> None:
        self._runs.done(self._named(foreign_id)[0], scheduled_time, at)

    async def _ended(self, foreign_id: str, scheduled_time: datetime, at: float, ending: dict[str, Any]) -> None:
        self._runs.ended(*self._named(foreign_id), scheduled_time, at, ending)

    async def _missed(self, foreign_id: str, scheduled_time: datetime) -> None:
        detail = f"{self._source} found it later than its misfire_grace_time"
        self._runs.missed(*self._named(foreign_id), scheduled_time, detail)

    async def _refused(self, foreign_id: str, times: list[datetime]) -> None:
        self._runs.refused(*self._named(foreign_id), times, "as many runs as its max_instances were going on")

    async def _lost(self, foreign_id: str, error: dict[str, Any]) -> None:
        self._runs.lost(self._named(foreign_id)[0], error)


class Attaching:
    """The result of `attach`: await it, or use it as a context manager, which may be an asynchronous one."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    def __await__(self) -> Generator[Any, None, Attachment]:
        return self._start().__await__()

    async def _start(self) -> Attachment:
        await self._attachment.start()
        return self._attachment

    async def __aenter__(self) -> Attachment:
        return await self._start()

    async def __aexit__(self, *exc: object) -> None:
        await self._attachment.detach()

    def __enter__(self) -> Attachment:
        """Attach from a thread without an event loop, to the kernel of a BackgroundKernel."""
        return asyncio.run(self._start())

    def __exit__(self, *exc: object) -> None:
        asyncio.run(self._attachment.detach())


def attach(scheduler: Any, kernel: Kernel | BackgroundKernel, *, name: str = SOURCE) -> Attaching:
    """Record the jobs and runs of a scheduler of APScheduler 3 in the log of a running kernel.

        async with attach(scheduler, kernel):
            ...

    Programs without an event loop write `with attach(scheduler, background_kernel):`. `scheduler` is an
    AsyncIOScheduler, a BackgroundScheduler or another one; it may have started or not, and its jobs do not change. It
    decides and runs as before: the kernel only shows. `name` is the source of the runs in the log, and the owner of the
    jobs; two schedulers need two names. Await `attach(...)` for an Attachment to `detach` later.
    """
    return Attaching(Attachment(scheduler, kernel.kernel if isinstance(kernel, BackgroundKernel) else kernel, name))


def _ending(event: Any) -> dict[str, Any]:
    if event.code == aps.EVENT_JOB_EXECUTED:
        return {"return_value": None if event.retval is None else as_json(event.retval)}
    failure = _failure(event.exception)
    lines = safe_str(event.traceback or "", TRACEBACK_LIMIT)
    return failure | {
        "traceback": f"Traceback (most recent call last):\n{lines}{failure['error_type']}: {failure['error_message']}"
    }


def _failure(error: BaseException) -> dict[str, Any]:
    return {"error_type": type_name(error), "error_message": shorten(safe_str(error), ERROR_LIMIT)}
