"""The deployment on this machine: its kernel by orders, its log from the store."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

from gnomon.analysis.preview import preview
from gnomon.api import Triggered
from gnomon.cli.access.job_listing import JobListing, list_jobs
from gnomon.cli.access.order_channels import LEADER_LIMIT_S, find_channel
from gnomon.cli.access.reached_kernel import RunState
from gnomon.cli.access.shown_job import JobPause, Order, ShownJob, problem_lines, shown_here
from gnomon.cli.access.stored_log import find_store, open_log, require_shared
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config
from gnomon.deployment.reload import Reloaded
from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.estimates import TYPICAL_RUNS, timing
from gnomon.domain.events import Event, RecordedFact
from gnomon.domain.execution import Execution
from gnomon.domain.hand_over import HandOver
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.list_query import parse_run_query
from gnomon.domain.operator_actions import is_reserved
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.domain.workers import WorkerView
from gnomon.errors import ConfigError, JobKeysError, JobOrdersError, NoLeaderError, UnknownExecutionError
from gnomon.jobs.job_draft import OrderRules
from gnomon.jobs.job_keys import JobKeys
from gnomon.orders.submitting import submit_call, submit_extra
from gnomon.plugins.contributions import contributed_runners
from gnomon.plugins.job_key_owners import job_key_owners
from gnomon.ports import OrderChannel, Store
from gnomon.scheduling.timezones import timezone_or_utc

POLL_INTERVAL_S = 0.2
"""Pause between two reads of the log while a run or the log is followed."""
POLLS_PER_HEALTH_CHECK = 25
"""A killed kernel records no ends, so a follower asks after so many polls whether the kernel still answers."""


class LocalKernel:
    """The deployment that a config on this machine describes, whether or not its kernel is running."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._log: Store | None = None
        self._channel: OrderChannel | None = None
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

    def _orders(self) -> OrderChannel:
        if self._channel is None:
            self._channel = find_channel(self.config)
        return self._channel

    async def _order(self, call: str, *args: Any, **kwargs: Any) -> Any:
        return await submit_call(self._orders(), call, *args, limit_s=LEADER_LIMIT_S, **kwargs)

    async def _act(self, call: str, *args: Any, **kwargs: Any) -> Any:
        return await self._order(call, *args, actor=operator_name(), **kwargs)

    # --- acting ---

    async def pause(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._act("pause", job_id, reason=reason))

    async def resume(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._act("resume", job_id, reason=reason))

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
        given: dict[str, Any] = {"kwargs": kwargs, "labels": labels, "force": force, "resume": resume}
        triggered: Triggered = await self._act("trigger", job_id, **given, idempotency_key=idempotency_key)
        return triggered

    async def cancel(self, execution_id: str, *, reason: str | None) -> Execution:
        cancelled: Execution = await self._act("cancel", execution_id, reason=reason)
        return cancelled

    async def skip(self, job_id: str, fire: datetime | None, *, undo: bool, reason: str | None) -> datetime:
        skipped: datetime = await self._act("skip", job_id, fire, undo=undo, reason=reason)
        return skipped

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
        how: dict[str, Any] = {"overlap": overlap, "rate": rate, "rerun": rerun, "reason": reason}
        return int(await self._act("backfill", job_id, since, until, **how))

    async def stop_backfill(self, job_id: str, *, reason: str | None) -> bool:
        return bool(await self._act("stop_backfill", job_id, reason=reason))

    async def set_held(self, *, held: bool, reason: str | None) -> bool:
        return bool(await self._act("hold" if held else "release", reason=reason))

    async def record_fact(self, fact: type[RecordedFact], **facts: Any) -> int:
        """Record a fact, such as an act on an alert."""
        return int(await self._act("record_fact", fact, **facts))

    async def kernels(self) -> list[KernelMember]:
        members: list[KernelMember] = await submit_call(self._orders(), "kernels", limit_s=LEADER_LIMIT_S)
        return members

    async def step_down(self, *, reason: str | None) -> HandOver:
        begun: HandOver = await self._act("step_down", reason=reason)
        return begun

    async def set_all_paused(self, selection: JobSelection, *, paused: bool, reason: str | None) -> list[ActOutcome]:
        call = "pause_jobs" if paused else "resume_jobs"
        outcomes: list[ActOutcome] = await self._act(call, selection, reason=reason)
        return outcomes

    async def cancel_runs(self, selection: RunSelection, *, reason: str | None) -> list[ActOutcome]:
        outcomes: list[ActOutcome] = await self._act("cancel_runs", selection, reason=reason)
        return outcomes

    async def order_job(self, order: JobOrder, *, reason: str | None, idempotency_key: str | None) -> Order:
        how: dict[str, Any] = {"reason": reason, "idempotency_key": idempotency_key}
        try:
            ordered = await self._act("order_job", order, trusted=True, **how)  # by the kernel's own user
        except JobKeysError as exc:
            raise ConfigError(problem_lines(exc)) from exc
        return Order(ordered.version, ordered.is_new)

    async def order_jobs(self, jobs: list[dict[str, Any]], *, owner: str | None, reason: str | None) -> list[Order]:
        try:
            added = await self._act("order_jobs", jobs, owner=owner, trusted=True, reason=reason)
        except JobOrdersError as exc:
            raise ConfigError(exc.lines("jobs")) from exc
        return [Order(one.version, one.is_new) for one in added]

    async def reload(self) -> Reloaded:
        """Make the kernel read its config again; ConfigError has every problem, and then nothing has changed."""
        return await submit_extra(self._orders(), "reload", Reloaded, limit_s=LEADER_LIMIT_S)

    # --- reading ---

    async def job(self, job_id: str) -> ShownJob:
        deployment = assemble(self.config)
        states = await (await self.log(deployment.store)).jobs(removed=False)
        return shown_here(job_id, deployment.served_jobs(states), states, datetime.now(UTC))

    async def pause_of(self, job_id: str) -> JobPause | None:
        states = await (await self.log()).jobs([job_id])
        paused = next((state for state in states if state.paused and not state.removed), None)
        return JobPause(paused.paused_by, paused.paused_reason) if paused is not None else None

    async def preview_job(self, keys: dict[str, Any]) -> JobPreview:
        """Return the preview of the running kernel; without one it is computed here."""
        try:
            found: JobPreview = await self._order("preview_job", keys, trusted=True)
            return found
        except NoLeaderError:
            deployment = assemble(self.config)
            states = await (await self.log(deployment.store)).jobs(removed=False)
        jobs = {registered.job.id: registered for registered in deployment.served_jobs(states)}
        rules = OrderRules(
            keys=JobKeys(
                job_key_owners(deployment.plugins, []),
                groups=self.config.groups,
                runners=contributed_runners(deployment.plugins),
            ),
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
        jobs = deployment.served_jobs(await log.jobs(removed=False))
        return await list_jobs(jobs, log, datetime.now(UTC))

    async def executions(self, query: ExecutionQuery, text: str | None = None) -> Page:
        log = await self.log()
        if text:
            wanted = parse_run_query(text, datetime.now(UTC), self.zone)
            states = await log.jobs(removed=False) if wanted.tags else []
            query = wanted.query({one.job_id: one.definition.get("tags", ()) for one in states}, query)
        return await log.executions(query)

    async def execution(self, execution_id: str) -> Execution:
        if (execution := await (await self.log()).execution(execution_id)) is None:
            raise UnknownExecutionError(execution_id)
        return execution

    async def run_events(self, execution_id: str) -> list[Event]:
        return await (await self.log()).stream(execution_id)

    async def log_lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        return await (await self.log()).log(execution_id, after, limit)

    async def sample(self, execution_id: str) -> BodySample:
        found: BodySample = await self._order("sample", execution_id)
        return found

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await (await self.log()).actions(query)

    async def workers(self) -> WorkerView:
        found: WorkerView = await self._order("workers")
        return found

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
                await submit_extra(self._orders(), "health", Health, limit_s=LEADER_LIMIT_S)
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
