"""What the kernel can be told to do; `actor` says by whom, and is kept in the log."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.domain.events import FailedReason, Hidden
from gnomon.domain.execution import Execution, manual_execution_id
from gnomon.domain.records import Checkpoint
from gnomon.engine.components import KernelComponents, on_kernel_loop
from gnomon.errors import ExecutionOverError, ExecutionRunningError, JobError
from gnomon.jobs.body import check_arguments
from gnomon.jobs.diff import JobsDiff
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob, check_json, register


class KernelCommands(KernelComponents):
    """The side of the kernel that acts."""

    _keyed_turn: asyncio.Lock
    _hiding_turn: asyncio.Lock

    def add(self, job: Job | Callable[..., Any]) -> Job:
        """Add a Job, or a function declared with @job, before the kernel starts; afterwards use `add_job`."""
        registered = self._register(job)
        if self.loop is not None:
            raise JobError(f"job {registered.job.id!r}: the kernel is running; use `await kernel.add_job(...)`")
        if registered.job.id in self._jobs:
            raise JobError(f"there are two jobs with the id {registered.job.id!r}; ids must be unique")
        self._jobs[registered.job.id] = registered
        return registered.job

    @on_kernel_loop
    async def add_job(
        self, job: Job | Callable[..., Any], *, actor: str | None = None, reason: str | None = None
    ) -> Job:
        """Add a job to the running kernel, or put a new definition in place of the one with its id."""
        registered = self._register(job)
        await self._timetable.idle()
        self._registry.add(registered, actor, reason)
        await self._durable()
        return registered.job

    @on_kernel_loop
    async def remove_job(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> None:
        """Take a job away; its executions stay in the log. UnknownJobError where there is none."""
        await self._timetable.idle()
        self._registry.remove(job_id, actor, reason)
        await self._durable()

    @on_kernel_loop
    async def apply_jobs(
        self, jobs: Iterable[Job | Callable[..., Any]], *, actor: str | None = None, reason: str = "reload"
    ) -> JobsDiff:
        """Put these definitions in place of all jobs, at once and whole; fires are neither lost nor doubled by it."""
        wanted = [self._register(job) for job in jobs]  # everything that can be wrong is wrong before anything changes
        await self._timetable.idle()  # what is due by the old definitions gets its outcome by them
        found = self._registry.apply(wanted, actor, reason)
        for job_id in (*found.added, *found.changed):
            self._registry.enter(job_id)
        await self._durable()
        return found

    @on_kernel_loop
    async def pause(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Hold a job's fires back until it is resumed, restarts included; False where it is paused already."""
        await self._timetable.idle()
        changed = self._registry.pause(job_id, actor, reason)
        await self._durable()
        return changed

    @on_kernel_loop
    async def resume(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Let a job fire again; its `catch_up` decides about what was held back. False where it is not paused."""
        await self._timetable.idle()
        changed = self._registry.resume(job_id, actor, reason)
        await self._durable()
        return changed

    @on_kernel_loop
    async def describe(
        self, job_id: str, *, display_name: str | None = None, note: str | None = None, actor: str | None = None
    ) -> bool:
        """Keep an operator's own name (at most 50 characters) and note (at most 200) for a job, restarts included.

        None leaves what there is, an empty text takes it away. The definition is not touched, nor are these by a
        reload of the config. False where nothing changes. UnknownJobError; JobError for what is too long.
        """
        changed = self._registry.describe(job_id, display_name, note, actor)
        await self._durable()
        return changed

    @on_kernel_loop
    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        force: bool = False,
        resume: bool = True,
        actor: str | None = None,
        idempotency_key: str | None = None,
    ) -> Triggered:
        """Run a job now, once, and return when the run is durably accepted.

        `kwargs` are merged into the job's for this run only. `force` skips guards. A paused job is resumed, unless
        `resume` is false: then it runs once and stays paused. The schedule is not touched. A repeated `idempotency_key`
        returns the run of the first request. UnknownJobError, JobError for arguments that do not fit.
        """
        merged = _merge(self._registry.get(job_id), kwargs or {})
        identity = manual_execution_id(job_id, self.clock.now(), idempotency_key)
        async with AsyncExitStack() as turn:
            if idempotency_key is not None:
                await turn.enter_async_context(self._keyed_turn)  # else two at once would both find no first run
                if (known := await self._find(identity)) is not None:
                    return Triggered(known, resumed=False, is_new=False)
            await self._timetable.idle()
            job = self._registry.get(job_id).job
            resumed = resume and self._registry.resume(job_id, actor, "the job was triggered by hand")
            facts = {"args": job.args, "kwargs": merged, "actor": actor}
            execution = await self._launcher.trigger(job, identity, force=force, **facts)
        await self._durable()
        return Triggered(copy.copy(execution), resumed, is_new=True)

    @on_kernel_loop
    async def cancel(self, execution_id: str, *, actor: str | None = None, reason: str | None = None) -> Execution:
        """Ask a run to stop; one that has not started never will.

        Returns the execution as it is then: a body that is going may take its time, or end in another way.
        UnknownExecutionError; ExecutionOverError where there is nothing left to stop.
        """
        execution = await self._not_over(execution_id)
        if execution.status == "scheduled":
            self._launcher.withdraw(execution, actor, reason)
        elif not self._supervisor.cancel(execution_id, actor, reason):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def fail(
        self, execution_id: str, message: str, *, reason: FailedReason = "marked", actor: str | None = None
    ) -> Execution:
        """End a running execution as failed, now, whatever its body does; the body is told to stop.

        For those who know that a run is dead: an operator (`marked`), the reaper (`zombie`). What the body reports
        afterwards is kept as a late result. UnknownExecutionError, ExecutionOverError.
        """
        execution = await self._not_over(execution_id)
        if not self._supervisor.fail(execution_id, reason, message, actor):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def hide(self, execution_id: str, *, actor: str | None = None) -> Execution:
        """Take the record of a run that is over out of the lists; the log is not cut, and by its id it is still found.

        What is hidden already stays so. UnknownExecutionError, ExecutionRunningError.
        """
        async with self._hiding_turn:  # two at once would both add the next event to what one of them has read
            execution = await self._get(execution_id)
            if not execution.is_over:
                raise ExecutionRunningError(execution_id, execution.status)
            if execution.hidden:
                return execution
            execution = self._journal.adopt(execution)
            self._journal.record(Hidden, execution_id, execution.job_id, actor=actor)
            if self._supervisor.live(execution_id) is None:  # else its body is going on, and may have a late result
                self._journal.forget(execution_id)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def warn(self, execution_id: str, kind: str, message: str, *, actor: str | None = None) -> Execution:
        """Record that a running execution needs a look; it goes on. UnknownExecutionError, ExecutionOverError.

        `kind` is a word to filter by, `message` the whole sentence, of which 4,096 characters are kept.
        """
        execution = await self._not_over(execution_id)
        if not self._supervisor.warn(execution_id, kind, message, actor):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a plugin's view together with the position up to which it is folded; durable when it returns.

        One with a lower position than the kept one is ignored. `name` is the plugin's own; begin it with its name.
        """
        await self._store.save_checkpoint(name, checkpoint)

    def _register(self, job: Job | Callable[..., Any]) -> RegisteredJob:
        if not isinstance(job, Job):
            declared = getattr(job, "__gnomon_job__", None)
            if not isinstance(declared, Job):
                raise JobError(f"{job!r} is no Job and no function declared with @job")
            job = declared
        return register(job, self._timezone)


def _merge(registered: RegisteredJob, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the arguments of one run into those of its job; JobError where they do not fit or are no JSON."""
    job = registered.job
    merged = msgspec.structs.replace(job, kwargs={**job.kwargs, **kwargs})
    check_arguments(merged, registered.body)
    check_json(merged)
    return merged.kwargs
