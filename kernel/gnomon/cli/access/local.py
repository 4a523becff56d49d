"""The deployment on this machine: its kernel over the control socket, its log from the store."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

import msgspec

from gnomon.analysis.preview import preview
from gnomon.api import Triggered
from gnomon.cli.access.job_listing import JobListing, list_jobs
from gnomon.cli.access.reached_kernel import RunState
from gnomon.cli.access.shown_job import JobPause, Order, ShownJob, shown_here
from gnomon.cli.access.stored_log import find_store, open_log, require_shared
from gnomon.control_socket import (
    Cancel,
    Command,
    GetHealth,
    NoKernelError,
    OrderJob,
    OrderJobs,
    Pause,
    PreviewJob,
    ReloadJobs,
    Resume,
    Trigger,
    control_path,
    send,
)
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config
from gnomon.deployment.reload import Reloaded
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.estimates import TYPICAL_RUNS, timing
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.operator_actions import is_reserved
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.errors import UnknownExecutionError
from gnomon.jobs.job_draft import OrderRules
from gnomon.jobs.job_keys import JobKeys
from gnomon.plugins.job_key_owners import job_key_owners
from gnomon.ports import Store
from gnomon.scheduling.timezones import timezone_or_utc
from gnomon.threads import in_thread
from gnomon.wire.operator_commands import CancelRuns, PauseJobs, SetHeld, Skip, StartBackfill, StopBackfill

POLL_INTERVAL_S = 0.2
"""Pause between two reads of the log while a run or the log is followed."""
POLLS_PER_HEALTH_CHECK = 25
"""A killed kernel records no ends, so a follower asks after so many polls whether the kernel still answers."""


class LocalKernel:
    """The deployment that a config on this machine describes, whether or not its kernel is running."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._log: Store | None = None
        self._stack = AsyncExitStack()

    @property
    def zone(self) -> tzinfo:
        return timezone_or_utc(self.config.kernel.timezone)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        self._log = None

    async def log(self, store: Store | None = None) -> Store:
        """Return the log, opened for reading at the first call; `store` is one that was assembled already."""
        if self._log is None:
            store = require_shared(store) if store is not None else find_store(self.config)
            self._log = await self._stack.enter_async_context(open_log(store))
        return self._log

    async def _send(self, command: Command) -> Any:
        return await in_thread(lambda: send(command, control_path(self.config)), "gnomon command")

    # --- acting ---

    async def pause(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._send(Pause(job_id, operator_name(), reason)))

    async def resume(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._send(Resume(job_id, operator_name(), reason)))

    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: dict[str, Any],
        labels: dict[str, str],
        force: bool,
        resume: bool,
        idempotency_key: str | None,
    ) -> Triggered:
        command = Trigger(job_id, kwargs, labels, force, resume, operator_name(), idempotency_key)
        return msgspec.convert(await self._send(command), Triggered)

    async def cancel(self, execution_id: str, *, reason: str | None) -> Execution:
        return msgspec.convert(await self._send(Cancel(execution_id, operator_name(), reason)), Execution)

    async def skip(self, job_id: str, fire: datetime | None, *, undo: bool, reason: str | None) -> datetime:
        return msgspec.convert(await self._send(Skip(job_id, fire, undo, operator_name(), reason)), datetime)

    async def backfill(
        self,
        job_id: str,
        since: datetime,
        until: datetime,
        *,
        overlap: bool,
        rate: str | None,
        rerun: bool,
        reason: str | None,
    ) -> int:
        command = StartBackfill(job_id, since, until, overlap, rate, rerun, operator_name(), reason)
        return int(await self._send(command))

    async def stop_backfill(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._send(StopBackfill(job_id, operator_name(), reason)))

    async def set_held(self, *, held: bool, reason: str | None) -> bool:
        return bool(await self._send(SetHeld(held, operator_name(), reason)))

    async def set_all_paused(self, selection: JobSelection, *, paused: bool, reason: str | None) -> list[ActOutcome]:
        answer = await self._send(PauseJobs(selection, paused, operator_name(), reason))
        return msgspec.convert(answer, list[ActOutcome])

    async def cancel_runs(self, selection: RunSelection, *, reason: str | None) -> list[ActOutcome]:
        return msgspec.convert(await self._send(CancelRuns(selection, operator_name(), reason)), list[ActOutcome])

    async def order_job(self, order: JobOrder, *, reason: str | None, idempotency_key: str | None) -> Order:
        command = OrderJob(order, operator_name(), reason, idempotency_key)
        return msgspec.convert(await self._send(command), Order)

    async def order_jobs(self, jobs: list[dict[str, Any]], *, owner: str | None, reason: str | None) -> list[Order]:
        return msgspec.convert(await self._send(OrderJobs(jobs, owner, operator_name(), reason)), list[Order])

    async def reload(self) -> Reloaded:
        """Make the kernel read its config again; ConfigError has every problem, and then nothing has changed."""
        return msgspec.convert(await self._send(ReloadJobs()), Reloaded)

    # --- reading ---

    async def job(self, job_id: str) -> ShownJob:
        deployment = assemble(self.config)
        states = await (await self.log(deployment.store)).jobs(removed=False)
        return shown_here(job_id, deployment.with_added(states), states, datetime.now(UTC))

    async def pause_of(self, job_id: str) -> JobPause | None:
        states = await (await self.log()).jobs([job_id])
        paused = next((state for state in states if state.paused and not state.removed), None)
        return JobPause(paused.paused_by, paused.paused_reason) if paused is not None else None

    async def preview_job(self, keys: dict[str, Any]) -> JobPreview:
        """Return the preview of the running kernel; without one it is computed here."""
        try:
            return msgspec.convert(await self._send(PreviewJob(keys)), JobPreview)
        except NoKernelError:
            deployment = assemble(self.config)
            states = await (await self.log(deployment.store)).jobs(removed=False)
        jobs = {registered.job.id: registered for registered in deployment.with_added(states)}
        rules = OrderRules(
            keys=JobKeys(job_key_owners(deployment.plugins, [])),
            declared={one.job.id: one for one in deployment.registered_jobs}.get,
            declared_ids=lambda: [one.job.id for one in deployment.registered_jobs],
            exists=jobs.__contains__,
            timezone=self.config.kernel.timezone,
            arguments_limit=self.config.kernel.arguments_limit,
        )
        state = next((state for state in states if state.job_id == keys.get("id")), None)
        return preview(keys, rules, state, datetime.now(UTC))[0]

    async def jobs(self) -> list[JobListing]:
        deployment = assemble(self.config)
        log = await self.log(deployment.store)
        jobs = deployment.with_added(await log.jobs(removed=False))
        return await list_jobs(jobs, log, datetime.now(UTC))

    async def executions(self, query: ExecutionQuery) -> Page:
        return await (await self.log()).executions(query)

    async def execution(self, execution_id: str) -> Execution:
        if (execution := await (await self.log()).execution(execution_id)) is None:
            raise UnknownExecutionError(execution_id)
        return execution

    async def run_events(self, execution_id: str) -> list[Event]:
        return await (await self.log()).stream(execution_id)

    async def log_lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        return await (await self.log()).log(execution_id, after, limit)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await (await self.log()).actions(query)

    # --- following ---

    async def follow_run(self, execution_id: str) -> AsyncIterator[RunState]:
        execution = await self.execution(execution_id)
        past = await self.executions(ExecutionQuery(job_id=execution.job_id, status=("success",), limit=TYPICAL_RUNS))
        polls = 0
        while True:
            yield RunState(execution.progress, timing(execution, past.items, datetime.now(UTC)))
            if execution.is_over:
                return
            await asyncio.sleep(POLL_INTERVAL_S)
            polls += 1
            if polls % POLLS_PER_HEALTH_CHECK == 0:
                await self._send(GetHealth())
            execution = await self.execution(execution_id)

    async def follow_events(self, job_id: str | None) -> AsyncIterator[Event]:
        log = await self.log()
        position = await log.head()
        while True:
            for event in await log.read(position):
                position = event.position
                if job_id in {None, event.job_id}:
                    yield event
            await asyncio.sleep(POLL_INTERVAL_S)


def operator_name() -> str:
    """Return the name of the user at the terminal, recorded in the log as the actor."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return "gnomon cli"
    return f"user {name}" if is_reserved(name) else name
