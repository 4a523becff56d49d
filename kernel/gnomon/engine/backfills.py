"""Backfills: runs of a job for past fires of its schedule, each exactly once, also over restarts.

The nth run of a backfill for one time has an id that follows from the job, the time and n. Before a run is made, the
runs that the log has for its time are read. One that was made for this order, which its first event names, is the run,
whichever kernel made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from gnomon.domain import events
from gnomon.domain.execution import Execution, execution_id, later_execution_id
from gnomon.domain.job_state import Backfill
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_hold import KernelHold
from gnomon.engine.launcher import Launcher
from gnomon.errors import DeposedError, GnomonError, JobError, StoreError
from gnomon.job_views import BackfillCounts
from gnomon.jobs.groups import Rate
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.plugins.guards import Vetoes
from gnomon.ports import Clock, Store
from gnomon.safe_text import safe_str, safe_traceback, type_name
from gnomon.scheduling.catch_up import MOST_BACKFILLED, fires_within
from gnomon.scheduling.triggers import is_predictable
from gnomon.tasks import ProtectedTask, TaskSet

log = get_logger("gnomon.engine.backfills")

SLICE_FIRES = 100
"""Fires that are counted before other tasks may run."""
MOST_AT_ONCE = 100
"""Runs of one backfill that may be active or wait, where the job itself has no limit."""
STORE_RETRY_S = 5.0
"""Seconds before a store that did not answer is asked again."""
MOST_ATTEMPTS = 1_000


class Backfills:
    """Makes the runs of backfills, at most one backfill of a job at a time."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        launcher: Launcher,
        jobs: JobTable,
        clock: Clock,
        tasks: TaskSet,
        hold: KernelHold,
    ) -> None:
        self._journal = journal
        self._store = store
        self._launcher = launcher
        self._jobs = jobs
        self._clock = clock
        self._tasks = tasks
        self._hold = hold
        self._active: dict[str, ProtectedTask[None]] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    async def start(self, job_id: str, order: dict[str, Any], actor: str | None, reason: str | None) -> int:
        """Record a backfill, begin to make its runs, and return how many fires it has. UnknownJobError, JobError."""
        backfill = self._checked(job_id, order, actor)
        count = await self._count(job_id, backfill)
        if not 0 < count <= MOST_BACKFILLED:
            found = "none" if not count else f"more than {MOST_BACKFILLED:,}"
            raise JobError(
                f"the schedule of job {job_id!r} has {found} of its fires from {order['since']} to {order['until']}"
            )
        if self._checked(job_id, order, actor) != backfill:
            raise JobError(f"job {job_id!r} was changed while the fires of its backfill were counted: order it again")
        facts = {"actor": actor, "reason": reason, "fires": count, **order}
        self._journal.record(events.BackfillStarted, events.job_stream(job_id), job_id, **facts)
        self._begin(self._jobs[job_id].job)
        return count

    def _checked(self, job_id: str, order: dict[str, Any], actor: str | None) -> Backfill:
        trigger, state = self._jobs[job_id].trigger, self._journal.jobs.get(job_id)
        if state is None or trigger is None or not is_predictable(trigger):
            raise JobError(
                f"job {job_id!r} has no schedule whose past fires can be computed: there is nothing to backfill"
            )
        if state.backfill is not None:
            raise JobError(f"job {job_id!r} has a backfill that is not over: wait for it, or stop it")
        if not order["since"] <= order["until"] <= self._clock.now():
            raise JobError(f"a backfill of job {job_id!r} needs a begin, and an end after it that is not in the future")
        if order["rate"] is not None:
            try:
                Rate.parse(order["rate"])
            except ValueError as exc:
                raise JobError(f"a backfill of job {job_id!r}: {exc}") from exc
        return Backfill(version=state.version + 1, actor=actor, **order)

    async def _count(self, job_id: str, backfill: Backfill) -> int:
        """Count the fires, with pauses in which the kernel works on: a cron expression takes 0.3 ms for each."""
        count = 0
        for _ in islice(self._fires(job_id, backfill), MOST_BACKFILLED + 1):
            count += 1
            if count % SLICE_FIRES == 0:
                await asyncio.sleep(0)
        return count

    def resume(self) -> None:
        """Go on with the backfills that an earlier kernel began."""
        for registered in list(self._jobs):
            state = self._journal.jobs.get(registered.job.id)
            if state is not None and state.backfill is not None:
                self._begin(registered.job)

    def stop(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Make no more runs; False where the job has no backfill. UnknownJobError."""
        self._jobs.expect(job_id)
        state = self._journal.jobs.get(job_id)
        if state is None or state.backfill is None:
            return False
        if (task := self._active.pop(job_id, None)) is not None:
            task.end()
        self._record_end(job_id, is_complete=False, actor=actor, reason=reason)
        return True

    def counts(self, job_id: str) -> BackfillCounts:
        """Return how far the backfill of a job is."""
        return BackfillCounts(*self._counts.get(job_id, (0, 0)))

    def _begin(self, job: Job) -> None:
        self._counts[job.id] = (0, 0)
        self._active[job.id] = self._tasks.create_task(self._run(job.id), f"backfill of {job.id}")

    def _record_end(self, job_id: str, **facts: Any) -> None:
        runs, left_out = self._counts.pop(job_id, (0, 0))
        stream = events.job_stream(job_id)
        self._journal.record(events.BackfillEnded, stream, job_id, runs=runs, left_out=left_out, **facts)

    def _fires(self, job_id: str, backfill: Backfill) -> Iterator[datetime]:
        """Iterate over the fires that the present schedule names."""
        trigger, state = self._jobs[job_id].trigger, self._journal.jobs[job_id]
        assert trigger is not None  # noqa: S101 - callers check
        return fires_within(trigger, state.anchor, backfill.since, backfill.until)

    async def _run(self, job_id: str) -> None:
        backfill = self._journal.jobs[job_id].backfill
        if backfill is None:
            return
        try:
            await self._make_runs(job_id, backfill)
        except DeposedError as exc:
            log.error("a backfill makes no more runs", job=job_id, problem=str(exc))
        except BaseException as exc:
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it was stopped, or the kernel stops
            problem = safe_str(exc) if isinstance(exc, GnomonError) else f"{type_name(exc)}: {safe_str(exc)}"
            log.error("a backfill ended early", job=job_id, exception=safe_traceback(exc))
            self._end_early(job_id, backfill, problem)

    async def _make_runs(self, job_id: str, backfill: Backfill) -> None:
        rate = Rate.parse(backfill.rate) if backfill.rate is not None else None
        outstanding: list[str] = []
        for fire in self._fires(job_id, backfill):
            await self._hold.wait_for_release()
            identity = await self._next_identity(job_id, fire, backfill) if self._is_current(job_id, backfill) else None
            vetoes: Vetoes = {}
            if identity is not None and self._is_current(job_id, backfill):
                vetoes = await self._launcher.vetoes([self._jobs[job_id].job], fire)
            if not self._is_current(job_id, backfill):  # the job may be changed or removed at each wait
                self._end_early(job_id, backfill, "the job has no schedule any more")
                return
            runs, left_out = self._counts[job_id]
            if identity is None:
                self._counts[job_id] = (runs, left_out + 1)
                continue
            job, now = self._jobs[job_id].job, self._clock.now()
            facts = {"args": job.args, "kwargs": job.kwargs, "actor": backfill.actor, "cause": "backfill"}
            facts["request_digest"] = _digest(backfill)
            veto = vetoes.get((job_id, fire))
            self._launcher.trigger(job, identity, fire, veto, now, force=False, not_before=now, **facts)
            self._counts[job_id] = (runs + 1, left_out)
            outstanding.append(identity)
            while len(outstanding) >= _most_at_once(job, backfill):
                await self._end_of(outstanding.pop(0))
            if rate is not None:
                await self._clock.sleep(rate.period.total_seconds() / rate.count)
        if self._is_current(job_id, backfill):
            self._active.pop(job_id, None)
            self._record_end(job_id, actor=backfill.actor, by_kernel=True)

    def _end_early(self, job_id: str, backfill: Backfill, reason: str) -> None:
        """Record that a backfill makes no more runs, unless it was stopped or its job removed."""
        state = self._journal.jobs.get(job_id)
        if state is None or state.removed or state.backfill != backfill:
            return
        self._active.pop(job_id, None)
        with suppress(DeposedError):
            self._record_end(job_id, is_complete=False, actor=KERNEL, reason=reason)

    def _is_current(self, job_id: str, backfill: Backfill) -> bool:
        """Return whether the job is there and still has this backfill."""
        registered, state = self._jobs.get(job_id), self._journal.jobs.get(job_id)
        return (
            registered is not None
            and registered.trigger is not None
            and state is not None
            and state.backfill == backfill
        )

    async def _next_identity(self, job_id: str, fire: datetime, backfill: Backfill) -> str | None:
        """Return the id of the run to make for a fire; None where it needs none."""
        while True:
            try:
                return await self._decide(job_id, fire, backfill)
            except StoreError as exc:
                log.warning("a backfill waits for the store", job=job_id, problem=str(exc))
                await self._clock.sleep(STORE_RETRY_S)

    async def _decide(self, job_id: str, fire: datetime, backfill: Backfill) -> str | None:
        for attempt in range(1, MOST_ATTEMPTS):  # the run of the fire itself, and its retries
            run = await self._find(execution_id(job_id, fire, attempt))
            if run is None:
                break
            if not run.is_over or (run.status == "success" and not backfill.rerun):
                return None
        for number in range(1, MOST_ATTEMPTS):
            identity = execution_id(f"{job_id}\0backfill", fire, number)
            run = await self._find(identity)
            if run is None:
                return identity
            if not run.is_over or (not backfill.rerun and await self._succeeded(run)):
                return None
            if await self._is_of(run, backfill):
                return None
        return None

    async def _is_of(self, run: Execution, backfill: Backfill) -> bool:
        """Return whether a run was made for this very order, by this kernel or an earlier one."""
        first = next(iter(await self._store.stream(run.id)), None)
        return isinstance(first, events.Scheduled | events.Missed) and first.request_digest == _digest(backfill)

    async def _succeeded(self, run: Execution) -> bool:
        """Return whether an earlier run, or a run that follows it, is a success or may become one."""
        found: Execution | None = run
        while found is not None:
            if found.status == "success" or not found.is_over:
                return True
            found = await self._find(later_execution_id(found))
        return False

    async def _find(self, identity: str) -> Execution | None:
        if (live := self._journal.live.get(identity)) is not None:
            return live
        await self._journal.durable()  # an ended run leaves the live views before its end is in the store
        return await self._store.execution(identity)

    async def _end_of(self, identity: str) -> None:
        while (run := self._journal.live.get(identity)) is not None and not run.is_over:
            await self._journal.changed(identity)


def _digest(backfill: Backfill) -> str:
    return f"backfill {backfill.version}"


def _most_at_once(job: Job, backfill: Backfill) -> float:
    return min(job.instances, MOST_AT_ONCE) if backfill.overlap else 1
