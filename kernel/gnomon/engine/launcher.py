"""Turns fires, triggers and retries into executions: asks the guards and the admission, records what was decided."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from gnomon.domain import events
from gnomon.domain.events import MissedReason
from gnomon.domain.execution import Execution, execution_id
from gnomon.engine.admission import Admission, Ticket, Verdict
from gnomon.engine.journal import Journal
from gnomon.engine.supervisor import ActiveRun, Supervisor
from gnomon.engine.timetable import DueFires
from gnomon.errors import DeposedError
from gnomon.jobs.job import Job, Retry
from gnomon.jobs.registered import RegisteredJob
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Clock
from gnomon.scheduling.catch_up import DETAILS, ON_TIME, MissedRange
from gnomon.threads import in_thread

log = structlog.stdlib.get_logger("gnomon.engine.launcher")

RETRIED = frozenset({"exception", "timeout", "silence", "zombie", "lost", "killed"})
"""The kinds of failure that a job's `retry` is for; what somebody marked as failed by hand stays failed."""

ROOM = 2_048
"""Events that may wait to be written while fires are still being dispatched: a commit or two."""

LEAD = 0.05
"""Seconds that a burst waits at most for its first commit: a store that is slower, or away, is not waited for."""


LONGEST_DELAY = timedelta(days=3650)
"""A delay that grows with every attempt would soon be more than a timedelta can hold."""


class Launcher:
    """Decides about every run before its body starts. Only it and the supervisor record lifecycles."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        plugins: PluginSet,
        admission: Admission,
        jobs: dict[str, RegisteredJob],
        hook_timeout: float,
    ) -> None:
        self.supervisor: Supervisor
        self._journal = journal
        self._clock = clock
        self._plugins = plugins
        self._admission = admission
        self._jobs = jobs
        self._hook_timeout = hook_timeout
        self._guarding: asyncio.Future[Any] | None = None
        self._guards_turn = asyncio.Lock()
        self._delayed: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup

    def begin(self, supervisor: Supervisor, tasks: asyncio.TaskGroup) -> None:
        """Take what is made after this; called once, when the kernel starts."""
        self.supervisor = supervisor
        self._tasks = tasks

    def close(self) -> None:
        """Let nothing more come due; what waits stays in the log for the next kernel."""
        for task in self._delayed.values():
            task.cancel()
        self._delayed.clear()

    # --- fires ---

    async def dispatch(self, chunk: Sequence[DueFires], *, leads: bool) -> None:
        """Decide about the jobs whose time has come. The timetable calls this with one chunk after the other.

        It returns when the log has room for the next one: what has started in a burst must not wait for its events
        behind those of all that is still to come. The bodies that lead a burst even begin before: else each turn of the
        loop on their way, and the store's thread at each statement, would wait until a chunk has been dispatched.
        """
        vetoes: dict[tuple[str, datetime], str] = {}
        if self._plugins.has_guards:
            vetoes = await self._ask_guards([(due.job, fire) for due in chunk for fire in due.run])
        now = self._clock.now()
        try:
            for due in chunk:
                if due.missed:
                    self.miss_ranges(due.job, due.missed)
                for fire in due.run:
                    veto = vetoes.get((due.job.id, fire)) if vetoes else None
                    self._fire(due.job, fire, now, veto, is_backlog=due.is_backlog)
            self.start_waiting()
            if leads:
                await asyncio.wait((self._journal.durable(),), timeout=LEAD)
            else:
                await self._journal.room(ROOM)
        except DeposedError as exc:
            log.critical("fires are not started any more", problem=str(exc))

    def _fire(self, job: Job, fire: datetime, now: datetime, veto: str | None, *, is_backlog: bool) -> None:
        identity = execution_id(job.id, fire)
        if veto is not None:
            self._miss(identity, job, fire, "guard", veto)
            return
        ticket = Ticket(identity, job, fire)
        verdict = self._admission.ask(ticket, is_backlog=is_backlog)
        if verdict.answer == "miss":
            self._miss(identity, job, fire, "capacity" if verdict.is_capacity else "overlap", verdict.detail)
            return
        event = events.Scheduled(  # its arguments were found to be JSON when the job was registered
            stream=identity,
            version=1,
            at=now,
            node=self._journal.node,
            job_id=job.id,
            scheduled_time=fire,
            job_name=job.name,
            args=job.args,
            kwargs=job.kwargs,
        )
        self._journal.add(event)
        self._follow(verdict, ticket, self._journal.live[identity], now)

    def miss_ranges(self, job: Job, missed: Iterable[MissedRange], detail: str | None = None) -> None:
        """Record fires that do not run, each range as one event."""
        for one in missed:
            folded = {"count": one.count, "first": one.first, "last": one.last} if one.count > 1 else {}
            identity = execution_id(job.id, one.last)
            self._miss(identity, job, one.last, one.reason, detail or DETAILS.get(one.reason), **folded)

    def _miss(
        self, identity: str, job: Job, fire: datetime, reason: MissedReason, detail: str | None, **more: Any
    ) -> Execution:
        self._journal.record(
            events.Missed,
            identity,
            job.id,
            scheduled_time=fire,
            reason=reason,
            detail=detail,
            job_name=job.name,
            **more,
        )
        execution = self._journal.live[identity]
        self._journal.forget(identity)
        return execution

    def _schedule(self, identity: str, job: Job, **facts: Any) -> Execution:
        self._journal.record(events.Scheduled, identity, job.id, job_name=job.name, **facts)
        return self._journal.live[identity]

    # --- runs by hand, retries, and what an earlier kernel left ---

    async def trigger(self, job: Job, identity: str, *, force: bool, **facts: Any) -> Execution:
        """Accept a run that somebody asked for; a guard may refuse it, an overlap only lets it wait."""
        now = self._clock.now()
        vetoes = {} if force else await self._ask_guards([(job, now)])
        if (veto := vetoes.get((job.id, now))) is not None:
            return self._miss(identity, job, now, "guard", veto, is_manual=True, actor=facts["actor"])
        execution = self._schedule(identity, job, scheduled_time=now, is_manual=True, force=force, **facts)
        self._enter(execution, job, now)
        return execution

    def resume(self, execution: Execution, job: Job) -> None:
        """Take up a run that was accepted before this kernel started, and has not begun."""
        self._journal.adopt(execution)
        self._enter_when_due(execution, job)

    def retry(self, failed: Execution, job: Job) -> None:
        """Schedule the next attempt of a failed run, where its policy has one left and nobody wanted it to stop."""
        if failed.attempt >= job.retry.attempts or failed.reason not in RETRIED or failed.cancel_requested:
            return
        delay = retry_delay(job.retry, failed.attempt)
        execution = self._schedule(
            retry_id(failed, failed.attempt + 1),
            job,
            scheduled_time=failed.scheduled_time,
            is_manual=failed.is_manual,
            force=failed.force,
            args=failed.args,
            kwargs=failed.kwargs,
            actor=failed.actor,
            attempt=failed.attempt + 1,
            retry_of=failed.id,
            not_before=self._clock.now() + delay,
        )
        self._enter_when_due(execution, job)

    def _enter_when_due(self, execution: Execution, job: Job) -> None:
        due = execution.not_before or execution.scheduled_time
        wait = (due - self._clock.now()) / timedelta(seconds=1)
        if wait <= 0:
            self._enter(execution, job, due)
        else:
            self._delayed[execution.id] = self._tasks.create_task(self._enter_later(execution, job, due, wait))

    async def _enter_later(self, execution: Execution, job: Job, due: datetime, wait: float) -> None:
        await self._clock.sleep(wait)
        del self._delayed[execution.id]
        current = self._jobs.get(job.id)
        try:
            self._enter(execution, current.job if current is not None else job, due)
        except DeposedError as exc:
            log.error("a run that waited is not started any more", execution=execution.id, problem=str(exc))

    def _enter(self, execution: Execution, job: Job, due: datetime) -> None:
        must_run = execution.is_manual or execution.attempt > 1
        ticket = Ticket(execution.id, job, due, must_run)
        self._follow(self._admission.ask(ticket, is_backlog=True), ticket, execution, self._clock.now())
        self.start_waiting()

    # --- admission ---

    def _follow(self, verdict: Verdict, ticket: Ticket, execution: Execution, now: datetime) -> None:
        """Do what the admission decided about a run that is recorded as scheduled."""
        if verdict.answer == "start":
            self._start(ticket, execution, now)
            return
        for replaced in verdict.replaced:
            self._miss_scheduled(
                replaced, "overlap", f"the fire of {execution.scheduled_time} took its place in the line"
            )
        for running in verdict.to_cancel:
            self.supervisor.cancel(running, "kernel", f"overlap is cancel_previous, and {execution.id} is due")
        if verdict.answer == "miss":
            self._miss_scheduled(ticket, "capacity" if verdict.is_capacity else "overlap", verdict.detail)

    def start_waiting(self) -> None:
        """Let in whoever may start now."""
        while (ticket := self._admission.next()) is not None:
            execution = self._journal.live[ticket.execution_id]
            grace, now = _grace(ticket), self._clock.now()
            if now - ticket.due > grace:
                self._admission.leave(ticket.execution_id, ticket.job.id)
                self._miss_scheduled(ticket, "capacity", f"it waited for a slot for longer than its grace of {grace}")
                continue
            self._start(ticket, execution, now)

    def _start(self, ticket: Ticket, execution: Execution, now: datetime) -> None:
        registered = self._jobs.get(ticket.job.id)
        if registered is None:  # it went while guards were asked, or while a retry waited
            self._admission.leave(ticket.execution_id, ticket.job.id)
            self.withdraw(execution, "kernel", "the job was removed")
            return
        self.supervisor.start(execution, registered.job, registered.body, ticket.due, now)

    def _miss_scheduled(self, ticket: Ticket, reason: MissedReason, detail: str) -> None:
        self.miss_execution(ticket.execution_id, ticket.job, reason, detail)

    def miss_execution(self, identity: str, job: Job, reason: MissedReason, detail: str) -> None:
        """Record that an accepted run will not take place after all."""
        execution = self._journal.live[identity]
        self._miss(identity, job, execution.scheduled_time, reason, detail, is_manual=execution.is_manual)

    def withdraw(self, execution: Execution, actor: str | None, reason: str | None) -> None:
        """Record that a run was cancelled before it started."""
        self._admission.withdraw(execution.id, execution.job_id)
        if (task := self._delayed.pop(execution.id, None)) is not None:
            task.cancel()
        self._journal.record(events.Cancelled, execution.id, execution.job_id, actor=actor, reason=reason)
        self._journal.forget(execution.id)

    def withdraw_all(self, job_id: str, actor: str | None, reason: str) -> None:
        """Cancel what was accepted of a job and has not started."""
        for execution in list(self._journal.live.values()):
            if execution.job_id == job_id and execution.status == "scheduled":
                self.withdraw(execution, actor, reason)

    def over(self, active: ActiveRun) -> None:
        """Give the slot of a run that is over to the next one, and try again where it failed."""
        somebody_waits = self._admission.leave(active.execution.id, active.job.id)
        try:
            if active.execution.status == "failed" and (registered := self._jobs.get(active.job.id)) is not None:
                self.retry(active.execution, registered.job)
            if somebody_waits:
                self.start_waiting()
        except DeposedError as exc:
            log.error("runs that wait are not started any more", problem=str(exc))

    # --- guards ---

    async def _ask_guards(self, fires: Sequence[tuple[Job, datetime]]) -> dict[tuple[str, datetime], str]:
        """Ask the plugins whether fires may run: in a thread, for a guard must not be able to stop the clock.

        One that hangs is not asked again until it has answered, and the fires run: no plugin may stop a job by failing.
        """
        plugins = self._plugins
        if not fires or not plugins.has_guards:
            return {}
        try:
            async with asyncio.timeout(self._hook_timeout), self._guards_turn:
                if self._guarding is not None and not self._guarding.done():
                    log.error("guards do not answer, fires run unguarded", plugin=plugins.guarding, fires=len(fires))
                    return {}
                self._guarding = in_thread(lambda: self._vetoes(fires), name="gnomon guards")
                vetoes: dict[tuple[str, datetime], str] = await asyncio.shield(self._guarding)
        except TimeoutError:
            limit = self._hook_timeout
            late = plugins.guard_is_late(limit)
            log.error("guards took too long, fires run unguarded", plugin=late, limit_s=limit, fires=len(fires))
            return {}
        return vetoes

    def _vetoes(self, fires: Sequence[tuple[Job, datetime]]) -> dict[tuple[str, datetime], str]:
        answers = (((job.id, fire), self._plugins.guard(job, fire)) for job, fire in fires)
        return {key: veto for key, veto in answers if veto is not None}


def retry_delay(retry: Retry, attempt: int) -> timedelta:
    """Compute how long to wait after that attempt has failed."""
    longest = LONGEST_DELAY if retry.max_delay is None else retry.max_delay
    seconds = min(retry.delay.total_seconds() * retry.backoff ** min(attempt - 1, 32), longest.total_seconds())
    return timedelta(seconds=seconds * (1 + retry.jitter * random.random()))  # noqa: S311 - it only spreads load


def retry_id(failed: Execution, attempt: int) -> str:
    """Name the next attempt: of a fire by its time, of a run by hand by the run that failed."""
    if failed.is_manual:
        return execution_id(f"{failed.job_id}\0{failed.retry_of or failed.id}", failed.scheduled_time, attempt)
    return execution_id(failed.job_id, failed.scheduled_time, attempt)


def _grace(ticket: Ticket) -> timedelta:
    if ticket.must_run:
        return timedelta.max
    return grace_of(ticket.job)


def grace_of(job: Job) -> timedelta:
    """Tell how late a fire of the job may start."""
    return job.grace if job.grace is not None else ON_TIME if job.catch_up == "none" else timedelta.max
