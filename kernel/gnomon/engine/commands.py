"""The commands of KernelApi: each returns when what it changed is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.domain.events import AccessFact, FailedReason, Hidden
from gnomon.domain.execution import Execution, manual_execution_id
from gnomon.domain.own_copies import own_view
from gnomon.domain.records import Checkpoint
from gnomon.domain.secret_references import escaped
from gnomon.engine.components import on_kernel_loop
from gnomon.engine.idempotency import check_key, check_repeated, request_digest
from gnomon.engine.job_commands import JobCommands
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.engine.refused_acts import refusable
from gnomon.errors import ArgumentError, ExecutionOverError, ExecutionRunningError, JobError
from gnomon.jobs.body import check_arguments
from gnomon.jobs.callables import reference
from gnomon.jobs.overrides import check_overrides
from gnomon.jobs.registered import RegisteredJob, own_arguments
from gnomon.json_depth import is_too_deep


class KernelCommands(JobCommands):
    """The part of KernelApi that changes something; see there for each method."""

    _idempotency_lock: asyncio.Lock
    _hide_lock: asyncio.Lock
    _facts: KernelFacts

    @on_kernel_loop
    @refusable("pause")
    async def pause(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        await self._timetable.idle()
        changed = self._registry.pause(job_id, actor, reason)
        await self._durable()
        return changed

    @on_kernel_loop
    @refusable("resume")
    async def resume(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        await self._timetable.idle()
        changed = self._registry.resume(job_id, actor, reason)
        await self._durable()
        return changed

    @on_kernel_loop
    @refusable("describe")
    async def describe(
        self, job_id: str, *, display_name: str | None = None, note: str | None = None, actor: str | None = None
    ) -> bool:
        changed = self._registry.describe(job_id, display_name, note, actor)
        await self._durable()
        return changed

    @on_kernel_loop
    @refusable("trigger")
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
        merged = _merge(self._jobs[job_id], kwargs or {}, self._arguments_limit)
        digest = None
        if idempotency_key is not None:
            check_key(idempotency_key)
            digest = request_digest(job_id, kwargs or {}, force=force, resume=resume)
        identity = manual_execution_id(job_id, self.clock.now(), idempotency_key, actor)
        async with AsyncExitStack() as turn:
            if idempotency_key is not None:
                await turn.enter_async_context(self._idempotency_lock)  # two at once would both find no first run
                if (known := await self._find(identity)) is not None:
                    await self._durable()
                    check_repeated(idempotency_key, job_id, digest, known, await self._store.stream(identity))
                    return Triggered(known, resumed=False, is_new=False)
            await self._timetable.idle()
            job = self._jobs[job_id].job
            resumed = resume and self._registry.resume(job_id, actor, "the job was triggered by hand")
            facts = {"args": job.args, "kwargs": merged, "actor": actor, "request_digest": digest}
            execution = await self._launcher.trigger(job, identity, force=force, **facts)
        await self._durable()
        return Triggered(own_view(execution), resumed, is_new=True)

    @on_kernel_loop
    @refusable("cancel")
    async def cancel(self, execution_id: str, *, actor: str | None = None, reason: str | None = None) -> Execution:
        execution = await self._not_over(execution_id)
        if execution.status == "scheduled":
            self._launcher.withdraw(execution, actor, reason)
        elif not self._supervisor.cancel(execution_id, actor, reason):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return own_view(execution)

    @on_kernel_loop
    @refusable("mark_failed")
    async def fail(
        self,
        execution_id: str,
        message: str,
        *,
        reason: FailedReason = "marked",
        force: bool = False,
        actor: str | None = None,
    ) -> Execution:
        execution = await (self._get(execution_id) if force else self._not_over(execution_id))
        if not self._supervisor.fail(execution_id, reason, message, actor, force=force):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return await self._get(execution_id)

    @on_kernel_loop
    @refusable("hide")
    async def hide(self, execution_id: str, *, actor: str | None = None) -> Execution:
        async with self._hide_lock:  # two at once would both append to the version that they have read
            execution = await self._get(execution_id)
            if not execution.is_over:
                raise ExecutionRunningError(execution_id, execution.status)
            if execution.hidden:
                return execution
            execution = self._journal.adopt(execution)
            self._journal.record(Hidden, execution_id, execution.job_id, actor=actor)
            if self._supervisor.live(execution_id) is None:  # a live body may still have a late result
                self._journal.forget(execution_id)
        await self._durable()
        return own_view(execution)

    @on_kernel_loop
    async def warn(self, execution_id: str, kind: str, message: str, *, actor: str | None = None) -> Execution:
        execution = await self._not_over(execution_id)
        if not self._supervisor.warn(execution_id, kind, message, actor):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return own_view(execution)

    @on_kernel_loop
    async def record_access(self, fact: type[AccessFact], /, **facts: Any) -> None:
        self._facts.record(fact, day=f"{self.clock.now():%Y-%m-%d}", **facts)

    @on_kernel_loop
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        await self._store.save_checkpoint(name, checkpoint)


def _merge(registered: RegisteredJob, kwargs: Mapping[str, Any], arguments_limit: int) -> dict[str, Any]:
    """Merge the arguments of one run into those of its job.

    OverrideError where the job does not accept one, JobError where they do not fit or are not JSON. A mapping that
    looks like a reference to a secret is escaped: only the definition of a job may refer to one.
    """
    job, types = registered.job, registered.body.types
    if registered.problem is not None:
        raise JobError(f"job {job.id!r} cannot run: {registered.problem}")
    if types is not None:
        kwargs = types.kept([], dict(kwargs))[1]
    check_overrides(job.id, registered.body.overrides, job.kwargs, kwargs)
    if is_too_deep(kwargs):
        own_arguments(msgspec.structs.replace(job, kwargs={**job.kwargs, **kwargs}), arguments_limit)
    given = {
        key: value if key in job.kwargs and value == job.kwargs[key] else escaped(value)
        for key, value in kwargs.items()
    }
    merged = msgspec.structs.replace(job, kwargs={**job.kwargs, **given})
    _, own = own_arguments(merged, arguments_limit)
    check_arguments(merged, registered.body)
    if types is not None:
        for place, problem in types.problems([], {key: own[key] for key in kwargs}):
            raise ArgumentError(job.id, place, reference(registered.body.func), problem)
    return own
