"""Turns fires, triggers and retries into executions: asks the guards and the admission, and records the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gnomon.domain import events
from gnomon.domain.events import MissedReason
from gnomon.domain.execution import Execution, execution_id
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.active_run import ActiveRun
from gnomon.engine.admission import Admission, Ticket, Verdict
from gnomon.engine.debounces import Debounces
from gnomon.engine.dependencies import Dependencies
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.loop_watchdog import LoopWatchdog
from gnomon.engine.queue_room import QueueRoom
from gnomon.engine.rate_timer import RateTimer
from gnomon.engine.retries import next_run
from gnomon.engine.supervisor import Supervisor
from gnomon.engine.timetable import DueFires
from gnomon.engine.upstream_times import Nominal
from gnomon.errors import DeposedError
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.plugins.guards import Guards, Vetoes
from gnomon.ports import Clock
from gnomon.scheduling.catch_up import DETAILS, ON_TIME, MissedRange
from gnomon.tasks import ProtectedTask, TaskSet
from gnomon.text import moment

log = get_logger("gnomon.engine.launcher")

ROOM_EVENTS = 2_048
"""How many events may wait to be written while more fires are dispatched: a commit or two."""
LEAD_S = 0.05
"""How long a burst waits for its first commit. It does not wait longer for a store that is slow or away."""


class Launcher:
    """Decides about every run before its body starts. Only it and the supervisor record lifecycles."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that a decision goes through
        self,
        journal: Journal,
        clock: Clock,
        guards: Guards,
        admission: Admission,
        jobs: JobTable,
        supervisor: Supervisor,
        tasks: TaskSet,
        dependencies: Dependencies,
        watchdog: LoopWatchdog | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._guards = guards
        self._admission = admission
        self._jobs = jobs
        self._supervisor = supervisor
        self._tasks = tasks
        self._dependencies = dependencies
        self._watchdog = watchdog
        self._delayed: dict[str, ProtectedTask[None]] = {}
        self.room = QueueRoom(admission, jobs)
        self.debounces = Debounces(journal)
        self._rate_timer = RateTimer(clock, tasks, admission, self.start_waiting)

    def close(self) -> None:
        """Drop the runs that wait for their time; they stay in the log for the next kernel."""
        for task in self._delayed.values():
            task.end()
        self._delayed.clear()
        self._rate_timer.stop()
        self.room.close()

    # --- fires ---

    async def dispatch(self, chunk: Sequence[DueFires], *, leads: bool) -> None:
        """Decide about jobs that are due. The timetable calls this with one chunk after the other.

        It returns when the log has room for the next chunk: the events of runs that a burst has started must not queue
        behind those of all its later fires. The first bodies of a burst begin even before that, because each step on
        their way, on the loop and in the store's thread, would otherwise wait until a chunk has been dispatched.
        """
        vetoes: Vetoes = {}
        if self._guards.are_any:
            vetoes = await self._guards.vetoes([(due.job, fire) for due in chunk for fire in due.run])
        now = self._clock.now()
        try:
            for due in chunk:
                if due.missed:
                    self.miss_ranges(due.job, due.missed, at=now)
                for fire in due.run:
                    veto = vetoes.get((due.job.id, fire)) if vetoes else None
                    self._fire(due.job, fire, now, veto, is_backlog=due.is_backlog)
            self.start_waiting()
            if leads:
                await asyncio.wait((self._journal.durable(),), timeout=LEAD_S)
            else:
                await self._journal.room(ROOM_EVENTS)
        except DeposedError as exc:
            log.critical("fires are no longer started", problem=str(exc))

    def _fire(self, job: Job, fire: datetime, now: datetime, veto: str | None, *, is_backlog: bool) -> None:
        identity = execution_id(job.id, fire)
        state = self._journal.jobs.get(job.id)
        if state is not None and state.skips and (skip := state.skip_of(fire)) is not None:
            detail = f"skipped by {skip.actor or 'an operator'}{f': {skip.reason}' if skip.reason else ''}"
            self._miss(identity, job, fire, "skipped", detail, actor=skip.actor)
            return
        if veto is not None:
            self._miss(identity, job, fire, "guard", veto)
            return
        if job.after:
            at = {"at": now, "scheduled_time": fire}
            self._dependencies.wait(self._schedule(identity, job, args=job.args, kwargs=job.kwargs, **at))
            return
        ticket = Ticket(identity, job, fire)
        verdict = self._admission.admit(ticket, is_backlog=is_backlog)
        if verdict.answer == "miss":
            self._miss(identity, job, fire, verdict.reason, verdict.detail, blocked_by=verdict.blocked_by)
            return
        event = events.Scheduled(  # its arguments were checked when the job was registered
            stream=identity,
            version=1,
            at=now,
            node=self._journal.node,
            job_id=job.id,
            scheduled_time=fire,
            job_name=job.name,
            args=job.args,
            kwargs=job.kwargs,
            labels=job.labels,
        )
        self._journal.add(event)
        self._apply(verdict, ticket, self._journal.live[identity], now)

    def miss_ranges(
        self, job: Job, missed: Iterable[MissedRange], detail: str | None = None, at: datetime | None = None
    ) -> None:
        """Record fires that will not run, each range as one event."""
        for one in missed:
            folded = {"count": one.count, "first": one.first, "last": one.last} if one.count > 1 else {}
            identity = execution_id(job.id, one.last)
            text, blocked_by = detail or DETAILS.get(one.reason), None
            if one.reason == "late" and self._watchdog is not None:
                fire = one.last.timestamp()
                if (stall := self._watchdog.stall_since(fire)) is not None:
                    text, blocked_by = f"the event loop was blocked by {stall.culprit}", stall.execution_id
                elif (pause := self._watchdog.pauses.since(fire)) is not None:
                    text = str(pause)
            self._miss(identity, job, one.last, one.reason, text, blocked_by=blocked_by, at=at, **folded)

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
            **{"labels": job.labels, **more},
        )
        execution = self._journal.live[identity]
        self._journal.forget(identity)
        return execution

    def _schedule(self, identity: str, job: Job, **facts: Any) -> Execution:
        facts = {"labels": job.labels, **facts}
        self._journal.record(events.Scheduled, identity, job.id, job_name=job.name, **facts)
        return self._journal.live[identity]

    # --- manual runs, retries, and runs that an earlier kernel accepted ---

    async def vetoes(self, jobs: Iterable[Job], now: datetime) -> Vetoes:
        """Return the vetoes of the guards against manual runs of these jobs."""
        fires = {job.id: (job, now) for job in jobs} if self._guards.are_any else {}
        return await self._guards.vetoes(list(fires.values())) if fires else {}

    def trigger(
        self, job: Job, identity: str, now: datetime, veto: str | None, due: datetime | None = None, **facts: Any
    ) -> Execution:
        """Accept a manual run, which an overlap only makes wait, or record that a guard vetoed it.

        The caller has made sure that the queue of the job has room. `now` is the time with which the guards were asked.
        `due` is when it could have started, for a run with a time of the past.
        """
        if veto is not None:
            return self.miss_trigger(job, identity, now, "guard", veto, **facts)
        execution = self._schedule(identity, job, scheduled_time=now, is_manual=True, **facts)
        if due is None and execution.not_before is not None:
            self._admit_when_due(execution, job)
        else:
            self._admit(execution, job, due or now)
        return execution

    def miss_trigger(
        self, job: Job, identity: str, now: datetime, reason: MissedReason, detail: str, **facts: Any
    ) -> Execution:
        """Record a manual run that is not accepted."""
        request = {name: facts[name] for name in ("actor", "request_digest", "triggered_by", "labels") if name in facts}
        return self._miss(identity, job, now, reason, detail, is_manual=True, **request)

    def resume(self, execution: Execution, job: Job) -> None:
        """Resume a run that an earlier kernel accepted and that has not started."""
        self._journal.adopt(execution)
        if job.after and execution.is_fire:
            self._dependencies.wait(execution)
        else:
            self._admit_when_due(execution, job)

    def redefine(self, jobs: Iterable[Job]) -> None:
        """Apply the new definitions of jobs to their runs in line, and start those that have a slot now."""
        for job in jobs:
            self._admission.redefine(job)
        self.start_waiting()

    def resume_held(self, job: Job) -> None:
        """Resume the accepted runs of a job that could not run until now."""
        in_line = {*self._delayed, *(active.execution.id for active in self._supervisor.bodies)}
        in_line |= {ticket.execution_id for ticket in self._admission.waiting_of(job.id)}
        for execution in list(self._journal.live.values()):
            if execution.job_id == job.id and execution.status == "scheduled" and execution.id not in in_line:
                self.resume(execution, job)

    def run_again(self, ended: Execution, job: Job) -> None:
        """Schedule the run that follows one that failed and may be retried, or that its body snoozed."""
        if (following := next_run(ended, job.retry, self._clock.now())) is not None:
            identity, facts = following
            self._admit_when_due(self._schedule(identity, job, **facts), job)

    def _admit_when_due(self, execution: Execution, job: Job) -> None:
        due = execution.not_before or execution.scheduled_time
        wait = 0.0
        if execution.not_before is not None:  # where the clock was set back since, no longer than was decided then
            wait = min(due - self._clock.now(), due - execution.timestamp) / timedelta(seconds=1)
        if wait <= 0:
            self._admit(execution, job, due)
        else:
            self._delayed[execution.id] = self._tasks.create_task(self._admit_later(execution, job, due, wait))

    async def _admit_later(self, execution: Execution, job: Job, due: datetime, wait: float) -> None:
        await self._clock.sleep(wait)
        del self._delayed[execution.id]
        current = self._jobs.get(job.id)
        try:
            self._admit(execution, current.job if current is not None else job, due)
        except DeposedError as exc:
            log.error("a delayed run is no longer started", run=execution.id, problem=str(exc))

    # --- runs that wait for other jobs ---

    def start_dependent(self, execution: Execution, job: Job) -> None:
        """Pass a run to the admission, whose upstream runs have all succeeded; it counts as due now."""
        self._admit(execution, job, self._clock.now(), is_backlog=False)

    def miss_dependent(self, execution: Execution, job: Job, detail: str, blocked_by: str | None) -> None:
        """Record that a run will not start, because of an upstream run."""
        ticket = Ticket(execution.id, job, execution.scheduled_time)
        self._miss_waiting(ticket, "dependency", detail, blocked_by=blocked_by)

    async def follow(self, job: Job, nominal: Nominal) -> Execution | None:
        """Record the run of a job at a nominal time of its upstream jobs, or that it is missed; return one to start."""
        fire, identity = nominal.last, execution_id(job.id, nominal.last)
        folded: dict[str, Any] = {}
        if nominal.fires > 1:
            folded = {"count": nominal.fires, "first": nominal.first, "last": nominal.last}
        if self._journal.jobs[job.id].paused:
            self._miss(identity, job, fire, "paused", DETAILS["paused"], **folded)
        elif nominal.missed is not None:
            detail = f"the fire of job {nominal.upstream} was missed ({nominal.missed})"
            self._miss(identity, job, fire, "dependency", detail, blocked_by=nominal.execution_id, **folded)
        elif (veto := (await self._guards.vetoes([(job, fire)])).get((job.id, fire))) is not None:
            self._miss(identity, job, fire, "guard", veto)
        elif self._jobs.get(job.id) is not None:  # else it was removed while guards were called
            return self._schedule(identity, job, scheduled_time=fire, args=job.args, kwargs=job.kwargs)
        return None

    def _admit(self, execution: Execution, job: Job, due: datetime, *, is_backlog: bool = True) -> None:
        if (registered := self._jobs.get(job.id)) is not None and registered.problem is not None:
            return  # it stays accepted until its job can run again
        ticket = Ticket(execution.id, job, due, must_run=not execution.is_fire)
        self._apply(self._admission.admit(ticket, is_backlog=is_backlog), ticket, execution, self._clock.now())
        self.start_waiting()

    # --- admission ---

    def _apply(self, verdict: Verdict, ticket: Ticket, execution: Execution, now: datetime) -> None:
        """Carry out the decision of the admission about a run that is recorded as scheduled."""
        if verdict.answer == "start":
            self._start(ticket, execution, now)
            return
        for replaced in verdict.replaced:
            detail = f"replaced in the queue by the fire of {moment(execution.scheduled_time, UTC, milliseconds=True)}"
            if (problem := self._admission.closed_by) is not None:
                detail += f"; {problem}"
            self._miss_waiting(replaced, "overlap", detail)
        for running in verdict.to_cancel:
            self._supervisor.cancel(running, KERNEL, f"overlap is cancel_previous, and {execution.id} is due")
        if verdict.answer == "miss":
            self._miss_waiting(ticket, verdict.reason, verdict.detail, blocked_by=verdict.blocked_by)

    def start_waiting(self) -> None:
        """Start the waiting runs that have a slot now."""
        while (ticket := self._admission.next_to_start()) is not None:
            execution = self._journal.live[ticket.execution_id]
            grace, now = _grace(ticket), self._clock.now()
            if now - ticket.due > grace:
                self._admission.release(ticket.execution_id, ticket.job.id, has_started=False)
                of = f" of group {ticket.job.group}" if ticket.job.group is not None else ""
                self._miss_waiting(ticket, "capacity", f"it waited for a slot{of} for longer than its grace of {grace}")
                continue
            self._start(ticket, execution, now)
        self._rate_timer.set()
        self.room.offer()

    def _start(self, ticket: Ticket, execution: Execution, now: datetime) -> None:
        registered = self._jobs.get(ticket.job.id)
        if registered is None:  # it was removed while guards were called, or while a retry waited
            self._admission.release(ticket.execution_id, ticket.job.id, has_started=False)
            self.withdraw(execution, KERNEL, "the job was removed")
            return
        self._supervisor.start(execution, registered.job, registered.body, ticket.due, now, self, _grace(ticket))

    def _miss_waiting(
        self, ticket: Ticket, reason: MissedReason, detail: str, *, blocked_by: str | None = None
    ) -> None:
        """Record that a run that was accepted will not start."""
        execution = self._journal.live[ticket.execution_id]
        facts = {"is_manual": execution.is_manual, "blocked_by": blocked_by, "labels": execution.labels}
        self._miss(execution.id, ticket.job, execution.scheduled_time, reason, detail, **facts)

    def withdraw(self, execution: Execution, actor: str | None, reason: str | None) -> None:
        """Record that a run was cancelled before it started; one that was handed over is withdrawn by its runner."""
        if self._supervisor.cancel(execution.id, actor, reason):
            return
        if self._admission.withdraw(execution.id, execution.job_id):
            self.room.offer()
        self._dependencies.withdraw(execution.id)
        if (task := self._delayed.pop(execution.id, None)) is not None:
            task.end()
        self._journal.record(events.Cancelled, execution.id, execution.job_id, actor=actor, reason=reason)
        self._journal.forget(execution.id)

    def withdraw_all(self, job_id: str, actor: str | None, reason: str) -> None:
        """Cancel all runs of a job that have not started."""
        for execution in list(self._journal.live.values()):
            if execution.job_id == job_id and execution.status == "scheduled":
                self.withdraw(execution, actor, reason)

    def on_body_end(self, active: ActiveRun) -> None:
        """Release the slot of a run that ended before its body did."""
        try:
            if self._admission.release(active.execution.id, active.job.id):
                self.start_waiting()
            self.room.offer()
        except DeposedError as exc:
            log.error("waiting runs are no longer started", problem=str(exc))

    def on_run_over(self, active: ActiveRun) -> None:
        """Release the slot of a run that has ended, schedule its next attempt, and start what waits."""
        body_runs = active.keeps_slot and not active.body_has_ended
        some_wait = self._admission.release(active.execution.id, active.job.id, body_runs=body_runs)
        try:
            if active.execution.status != "success":
                self._follow_up(active)
            if some_wait:
                self.start_waiting()
            self.room.offer()
        except DeposedError as exc:
            log.error("waiting runs are no longer started", problem=str(exc))

    def _follow_up(self, active: ActiveRun) -> None:
        execution = active.execution
        if (registered := self._jobs.get(execution.job_id)) is not None:
            self.run_again(execution, registered.job)
        elif execution.snoozed_to is not None:  # its end names the run that takes its place
            self.run_again(execution, active.job)
            self.withdraw(self._journal.live[execution.snoozed_to], KERNEL, "the job was removed")


def _grace(ticket: Ticket) -> timedelta:
    if ticket.must_run:
        return timedelta.max
    return grace_of(ticket.job)


def grace_of(job: Job) -> timedelta:
    """Return how late a fire of the job may start."""
    return job.grace if job.grace is not None else ON_TIME if job.catch_up == "none" else timedelta.max
