"""Runs bodies from `started` to their end: passes them to runners, enforces time limits, stops them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon.domain import events
from gnomon.domain.events import TRIED_TO_EXIT, FailedReason
from gnomon.domain.execution import Execution
from gnomon.engine.active_run import ActiveRun, Ending, RunObserver
from gnomon.engine.journal import Journal
from gnomon.engine.placed_run import Placements, end_unbegun
from gnomon.engine.progress_recorder import ProgressRecorder
from gnomon.engine.queue_outages import QueueOutages
from gnomon.engine.run_limits import RunLimits, overrule_by_timeout
from gnomon.engine.run_recorder import RunRecorder
from gnomon.engine.runner_calls import queue_of, stop
from gnomon.engine.stalled_runs import StalledRuns
from gnomon.engine.task_sharing import take_turns
from gnomon.errors import DeposedError
from gnomon.jobs.body import Body
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.context import Context
from gnomon.runners.log_buffer import ProgressReader
from gnomon.runners.process import ProcessRunner
from gnomon.runners.thread import ThreadRunner
from gnomon.safe_text import safe_str, safe_traceback, type_name
from gnomon.tasks import TaskSet, end
from gnomon.threads import is_on_loop

log = get_logger("gnomon.engine.supervisor")

DRAIN_CHECK_S = 0.5
"""Time between two checks whether there is still a body to wait for."""


class Supervisor:
    """Owns the live bodies. `runners` are those of plugins, beside the built-in ones."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        runners: Iterable[Runner],
        progress: ProgressRecorder,
        tasks: TaskSet,
        queues: QueueOutages,
        *,
        log_failures: bool = True,
    ) -> None:
        self._journal = journal
        self._clock = clock
        built_in = (AsyncRunner(clock), ThreadRunner(clock), ProcessRunner(clock))
        self.runners = {runner.name: runner for runner in (*built_in, *runners)}
        self._progress = progress
        self._limits = RunLimits(clock, tasks, self._end_by_force)
        self._placements = Placements(journal, clock, self._limits.watch, queues)
        self._recorder = RunRecorder(journal, clock, log_failures=log_failures)
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._active: dict[str, ActiveRun] = {}
        self.stalls = StalledRuns(self._active, self._recorder)
        self._starting: dict[asyncio.Future[None], list[ActiveRun]] = {}
        self._unbegun = 0
        self._adopted: list[ActiveRun] = []
        self._emptied = asyncio.Event()
        self._worker = f"pid {os.getpid()}"

    def start(
        self,
        execution: Execution,
        job: Job,
        body: Body,
        due: datetime,
        now: datetime,
        observer: RunObserver,
        grace: timedelta = timedelta.max,
    ) -> ActiveRun:
        """Record that a run starts, and start its body as soon as that is durable.

        A run of a remote runner is recorded as handed over; its body begins within `grace` after `due`, or not at all.
        """
        runner = self.runners[job.runner or ("async" if body.is_async else "thread")]
        active = self._active[execution.id] = self._new_run(execution, job, body, runner, observer)
        delay = max((now - due).total_seconds(), 0.0)
        if runner.is_remote:
            self._placements.place(active, due, grace)
            facts = {"runner": runner.name, "queue": queue_of(runner, job), "delay": delay}
            self._journal.record(events.HandedOver, execution.id, job.id, at=now, **facts)
        else:
            self._journal.add(
                events.Started(
                    stream=execution.id,
                    version=execution.version + 1,
                    at=now,
                    node=self._journal.node,
                    job_id=job.id,
                    runner=runner.name,
                    worker=self._worker,
                    delay=delay,
                )
            )
        durable = self._journal.durable()
        if (waiting := self._starting.get(durable)) is None:
            waiting = self._starting[durable] = []
            durable.add_done_callback(self._begin_bodies)
        waiting.append(active)
        return active

    def _new_run(self, execution: Execution, job: Job, body: Body, runner: Runner, observer: RunObserver) -> ActiveRun:
        reader = ProgressReader(job.progress_patterns) if job.progress_patterns else None
        context = self._progress.context_of(execution, reader)
        return ActiveRun(execution, job, body, context, runner, observer)

    def adopt(
        self, execution: Execution, job: Job, body: Body, observer: RunObserver, grace: timedelta, logged: int
    ) -> ActiveRun:
        """Prepare to supervise a run that an earlier kernel handed over; it goes on with `begin_adopted`.

        The log has `logged` lines of the run.
        """
        runner = self.runners[execution.handed_to or ""]
        active = self._active[execution.id] = self._new_run(execution, job, body, runner, observer)
        active.is_adopted = True
        self._placements.place(active, execution.not_before or execution.scheduled_time, grace)
        if active.has_begun:
            since = (self._clock.now() - execution.timestamp).total_seconds()
            active.started_at = self._clock.monotonic() - max(since, 0.0)
            active.has_begun_before = True
        if logged:
            active.context.log_buffer = self._progress.buffer_after(logged)
        self._adopted.append(active)
        return active

    def begin_adopted(self) -> None:
        """Go on with the adopted runs."""
        adopted, self._adopted = self._adopted, []
        self._unbegun += len(adopted)
        take_turns(self._loop, iter(adopted), self._supervise, self._cannot_begin)

    def _begin_bodies(self, durable: asyncio.Future[None]) -> None:
        """Start the bodies of one commit; after a crash from here on, the log has them as `running`."""
        actives = self._starting.pop(durable)
        if durable.cancelled() or durable.exception() is not None:
            for active in actives:
                self._release(active)  # the kernel lost ownership of the log, and the start is not in it
            return
        self._unbegun += len(actives)
        # Not in the kernel's set of tasks, which would wait forever for a body that swallows its cancellation.
        take_turns(self._loop, iter(actives), self._supervise, self._cannot_begin)

    def _cannot_begin(self, active: ActiveRun, exc: BaseException) -> None:
        self._unbegun -= 1
        active.started_at = self._clock.monotonic()
        self._give_up(active, exc)

    async def _supervise(self, active: ActiveRun, task: asyncio.Task[None]) -> None:
        active.task = task
        self._unbegun -= 1
        job, context = active.job, active.context
        try:
            context.last_sign_of_life = self._clock.monotonic()
            if not active.is_adopted:
                active.started_at = context.last_sign_of_life
            self._limits.watch(active)
            if context.cancel_requested and not active.is_adopted:
                outcome = Outcome(0.0, cancelled=True)
            else:
                if job.steps and active.placement is None:
                    context.steps(*job.steps)
                run = Run(active.execution, job, active.body, context, active.placement, active.is_adopted)
                outcome = await active.runner.run(run)
            try:
                if active.placement is not None:  # once the log has the end, nobody keeps its lines elsewhere
                    await self._progress.keep_lines(context)
            finally:
                self._finish(active, outcome)
        except BaseException as exc:
            if is_on_loop():  # else the loop is closed, and the interpreter closes the coroutines that are left
                self._give_up(active, exc)
            if isinstance(exc, asyncio.CancelledError):
                raise

    def _give_up(self, active: ActiveRun, exc: BaseException) -> None:
        """End a run that cannot be supervised; what a body raises does not come here, so this is a defect.

        A cancellation comes here when the kernel stops without waiting any longer for the body.
        """
        if active.is_left:
            self._drop(active)
            return
        if active.is_over and isinstance(exc, asyncio.CancelledError):
            log.debug("a body was left behind", job=active.job.id, run=active.execution.id)
        else:
            problem = safe_traceback(exc)
            log.critical("a run could not be supervised", job=active.job.id, run=active.execution.id, problem=problem)
        if not active.is_over:
            problem = f"the kernel could not supervise the run: {type_name(exc)}: {safe_str(exc)}"
            active.ending = Ending("internal", problem)
            self._stop_body(active)
            self._force_end(active, active.ending)
        if active.execution.id in self._active:
            self._release(active)

    # --- limits ---

    async def _end_by_force(self, active: ActiveRun, ending: Ending) -> None:
        """Request that the body stops; where it has not within its grace, record the end without it."""
        if active.ending is None and not active.is_over:
            active.ending = ending
            self._stop_body(active)
            await self._clock.sleep(active.job.cancel_grace.total_seconds())
            if not active.is_over:
                still = f"; the body was asked to stop, and had not stopped {active.job.cancel_grace} later"
                self._force_end(active, msgspec.structs.replace(ending, message=ending.message + still))

    def _force_end(self, active: ActiveRun, ending: Ending) -> None:
        try:
            self._record_failed(active, ending)
        except Exception as exc:  # noqa: BLE001 - the run ends nevertheless
            log.error("the end of a run could not be recorded", run=active.execution.id, problem=safe_str(exc))

    # --- ending ---

    def cancel(self, execution_id: str, actor: str | None, reason: str | None) -> bool:
        """Request that a live body stops; False where there is none with that id."""
        active = self._active.get(execution_id)
        if active is None or active.is_over:
            return False
        if not active.execution.cancel_requested:
            self._journal.record(events.CancelRequested, execution_id, active.job.id, actor=actor, reason=reason)
            active.cancel_reason = reason
        self._stop_body(active)
        return True

    def fail(
        self, execution_id: str, reason: FailedReason, message: str, actor: str | None, *, force: bool = False
    ) -> bool:
        """Record a run as failed now and request that its body stops; False where there is no live body.

        With `force`, the body does not keep its slot of the job; that holds for a run that has ended before, too.
        """
        active = self._active.get(execution_id)
        if active is None or (active.is_over and not force):
            return False
        active.keeps_slot = not force
        if active.is_over:
            active.observer.on_body_end(active)
            log.warning("the slot of a body that still runs was released", run=execution_id, actor=actor)
            return True
        active.ending = Ending(reason, message, actor)
        self._stop_body(active)
        self._record_failed(active, active.ending)
        return True

    def warn(self, execution_id: str, kind: str, message: str, actor: str | None) -> bool:
        """Record a warning about a run; False where there is no live body with that id."""
        active = self._active.get(execution_id)
        if active is None or active.is_over:
            return False
        self._recorder.warned(active, kind, message, actor)
        return True

    def record_exit(self, context: Context, exc: BaseException) -> None:
        """Record that a task or callback of a body tried to end the process; a caller that awaits the task gets it."""
        what = f"{type_name(exc)}: {safe_str(exc)}"
        log.error("a job tried to end the process", job=context.job_id, run=context.execution_id, error=what)
        with contextlib.suppress(DeposedError):
            message = f"a task or callback of the run tried to end the process of the kernel: {what}"
            self.warn(context.execution_id, TRIED_TO_EXIT, message, None)

    def _stop_body(self, active: ActiveRun) -> None:
        active.context.request_cancel()
        stop(active.runner, active.execution.id, has_begun=active.has_begun)

    def _finish(self, active: ActiveRun, outcome: Outcome) -> None:
        """Record how the body ended: as the end of the run, or as a late result if that has ended before."""
        active.body_has_ended = True
        try:
            if active.placement is not None and (outcome.is_success or outcome.snooze is not None):
                active.placement.begun("", self._clock.now())  # it has, if nobody reported it
            if not active.is_over and end_unbegun(active, outcome, self._journal):
                self._over(active)
            elif not active.is_over:
                if active.stall is not None and not active.stall.is_over:  # it blocked the loop until just now
                    active.stall.seconds = time.monotonic() - active.stall.began
                    self.stalls.record_stall(active.stall)
                overrule_by_timeout(active, outcome)
                if active.context.has_pending_progress:
                    active.context.flush()
                self._recorder.end(active, outcome)
                self._over(active)
                if active.ending is not None and outcome.is_success:
                    self._recorder.late(active, outcome)
            elif not (outcome.cancelled and active.ending is not None):
                self._recorder.late(active, outcome)
        except DeposedError as exc:
            log.error("the end of a run could not be recorded", run=active.execution.id, problem=str(exc))
        self._release(active)

    def _record_failed(self, active: ActiveRun, ending: Ending) -> None:
        self._recorder.failed(active, ending)
        self._over(active)

    def _over(self, active: ActiveRun) -> None:
        active.is_over, active.lingers = True, not active.body_has_ended
        active.observer.on_run_over(active)

    def _release(self, active: ActiveRun) -> None:
        """Drop a run whose body has ended."""
        active.body_has_ended = True
        try:
            if not active.is_over:
                self._over(active)
        finally:
            self._drop(active)
            self._journal.forget(active.execution.id)
            if active.lingers:
                active.observer.on_body_end(active)
            if not self._active:
                self._emptied.set()

    def _drop(self, active: ActiveRun) -> None:
        """Forget a run, and end the reference cycles in which it is."""
        del self._active[active.execution.id]
        for watcher in active.watchers:
            watcher.end()
        active.task, active.watchers, active.placement = None, (), None

    # --- state, and the end of the kernel ---

    def live(self, execution_id: str) -> ActiveRun | None:
        """Return the run with a live body and that id, or None."""
        return self._active.get(execution_id)

    def quiet(self, active: ActiveRun) -> float:
        """Return the seconds since the body's last sign of life."""
        return self._clock.monotonic() - active.context.last_sign_of_life

    @property
    def is_idle(self) -> bool:
        """Whether every body whose start is durable has started."""
        return self._unbegun == 0

    @property
    def bodies(self) -> list[ActiveRun]:
        """The runs with live bodies, also those whose execution has ended."""
        return list(self._active.values())

    def _bodies_here(self) -> list[ActiveRun]:
        """Return the runs whose bodies end with this kernel."""
        return [active for active in self._active.values() if not active.runner.is_remote]

    async def drain(self, within: float) -> None:
        """Wait until all bodies have ended, for at most that many seconds.

        While the store is away, bodies that have not begun are not waited for: they may never begin.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while any(
                    active.task is not None or self._journal.state == "healthy" for active in self._bodies_here()
                ):
                    self._emptied.clear()
                    with contextlib.suppress(TimeoutError):  # looks again, as the store may be away by now
                        async with asyncio.timeout(DRAIN_CHECK_S):
                            await self._emptied.wait()

    async def stop(self, actor: str, reason: str) -> None:
        """Cancel the live bodies, wait for their grace, and record as lost those that do not stop.

        Bodies of remote runners go on; the next kernel adopts them.
        """
        for active in self._bodies_here():
            try:
                self.cancel(active.execution.id, actor, reason)
            except DeposedError:
                self._stop_body(active)
        await self.drain(max((a.job.cancel_grace.total_seconds() for a in self._bodies_here()), default=0.0))
        lost = Ending("lost", f"{reason}; the body did not stop and ended with the process", actor)
        for active in self.bodies:
            active.is_left = active.runner.is_remote
            if not active.is_over and not active.is_left:
                active.ending = lost
                self._force_end(active, lost)
            for task in (*active.watchers, active.task):
                if task is not None:
                    end(task)
