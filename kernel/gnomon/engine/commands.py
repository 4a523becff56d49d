"""The commands of KernelApi: each returns when what it changed is durable."""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon.domain.events import FailedReason, Hidden, RecordedFact
from gnomon.domain.execution import Execution
from gnomon.domain.own_copies import own_view
from gnomon.engine.job_lists import JobLists
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.plugin_commands import PluginCommands
from gnomon.engine.refused_acts import refusable
from gnomon.engine.run_commands import RunCommands
from gnomon.engine.shared_values import SharedValues
from gnomon.errors import ExecutionOverError, ExecutionRunningError


class KernelCommands(JobLists, RunCommands, PluginCommands, SharedValues):
    """The part of KernelApi that changes something; see there for each method."""

    _hide_lock: asyncio.Lock

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
    @refusable("cancel")
    async def cancel(self, execution_id: str, *, actor: str | None = None, reason: str | None = None) -> Execution:
        execution = await self._request_cancel(execution_id, actor, reason)
        await self._durable()
        return own_view(execution)

    async def _request_cancel(self, execution_id: str, actor: str | None, reason: str | None) -> Execution:
        execution = await self._not_over(execution_id)
        if execution.status == "scheduled":
            self._launcher.withdraw(execution, actor, reason)
        elif not self._supervisor.cancel(execution_id, actor, reason):
            raise ExecutionOverError(execution_id, execution.status)
        return execution

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
    async def record_fact(self, fact: type[RecordedFact], /, **facts: Any) -> int:
        event = self._facts.record(fact, day=f"{self.clock.now():%Y-%m-%d}", **facts)
        await self._durable()
        return event.position if event is not None else 0
