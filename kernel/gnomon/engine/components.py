"""The base of KernelQueries and KernelCommands: the components of a kernel, and how calls reach its event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from datetime import datetime

from gnomon.api import JobView
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.own_copies import own_state, own_view
from gnomon.domain.revision import Revision
from gnomon.engine.added_jobs import AddedJobs
from gnomon.engine.admission import Admission
from gnomon.engine.attached_schedulers import AttachedSchedulers
from gnomon.engine.backfills import Backfills
from gnomon.engine.body_samples import BodySamples
from gnomon.engine.dependencies import Dependencies
from gnomon.engine.deployments import DeploymentMark
from gnomon.engine.finished_jobs import FinishedJobs
from gnomon.engine.health import KernelCondition
from gnomon.engine.job_previews import JobPreviewer
from gnomon.engine.job_registry import JobRegistry
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.engine.kernel_hold import KernelHold
from gnomon.engine.launcher import Launcher
from gnomon.engine.loop_watchdog import LoopWatchdog
from gnomon.engine.members import MemberTable
from gnomon.engine.past_queries import PastQueries
from gnomon.engine.progress_recorder import ProgressRecorder
from gnomon.engine.refused_acts import RefusedActs
from gnomon.engine.restored_jobs import RestoredJobs
from gnomon.engine.supervisor import Supervisor
from gnomon.engine.timetable import Timetable
from gnomon.errors import (
    DeposedError,
    ExecutionOverError,
    GnomonError,
    StoreError,
    UnknownExecutionError,
)
from gnomon.jobs.groups import Group
from gnomon.jobs.registered import RegisteredJob, own_job
from gnomon.plugins.companions import Companions
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import OrderChannel, Store
from gnomon.runners.base import Runner
from gnomon.scheduling.catch_up import next_fire
from gnomon.text import is_writable

ACTS_ON_EXECUTIONS = frozenset({"cancel", "mark_failed", "hide"})
CONFIRM_LIMIT_S = 1.0
"""Seconds that a refusal waits until it is durable, so that its actor sees it in the history."""


class KernelComponents(PastQueries):
    """The components that `Kernel` builds, and the lookup of an execution in them.

    The public methods of the subclasses are documented in `KernelApi`.
    """

    plugins: PluginSet
    loop: asyncio.AbstractEventLoop | None
    _timezone: str
    _arguments_limit: int
    _groups: dict[str, Group]
    _runners: dict[str, Runner]
    _attached: AttachedSchedulers
    _jobs: JobTable
    _store: Store
    _journal: Journal
    _dispatcher: Dispatcher
    _companions: Companions
    _admission: Admission
    _dependencies: Dependencies
    _launcher: Launcher
    _watchdog: LoopWatchdog | None
    _condition: KernelCondition | None
    _is_starting: bool
    _is_stopping: bool
    _progress: ProgressRecorder
    _supervisor: Supervisor
    _samples: BodySamples
    _timetable: Timetable
    _registry: JobRegistry
    _previewer: JobPreviewer
    _added_jobs: AddedJobs
    _restored_jobs: RestoredJobs
    _finished_jobs: FinishedJobs
    _refused_acts: RefusedActs
    _facts: KernelFacts
    _members: MemberTable
    _hold: KernelHold
    _channel: OrderChannel | None = None
    _backfills: Backfills
    _keeps_time: bool
    _deployment: DeploymentMark
    revision: Revision | None
    _revision_problem: str | None = None

    def abandon(self, parent: int) -> None:
        """Forget that the kernel runs: this process was forked from the one in which it does."""
        self._parent, self._is_stopping = parent, True
        self._journal.abandon(parent)
        self.loop = None

    async def _find(self, execution_id: str) -> Execution | None:
        if (live := self._journal.live.get(execution_id)) is not None:
            return own_view(live)
        if not is_writable(execution_id):  # no store has such an id, and some cannot be asked for it
            return None
        with contextlib.suppress(DeposedError):  # a log that this kernel lost can still be read
            await self._durable()  # an ended run leaves the live views before its end is in the store
        return await self._store.execution(execution_id)

    async def _find_all(self, ids: Collection[str]) -> dict[str, Execution]:
        """Return those of these executions that are there, by id; the ids are ones that the kernel has made."""
        live = {one: own_view(self._journal.live[one]) for one in ids if one in self._journal.live}
        if not (others := [one for one in ids if one not in live]):
            return live
        with contextlib.suppress(DeposedError):
            await self._durable()
        return live | await self._store.executions_by_id(others)

    async def _not_over(self, execution_id: str) -> Execution:
        live = self._journal.live.get(execution_id)
        execution = live if live is not None else await self._get(execution_id)
        if execution.is_over or live is None:
            raise ExecutionOverError(execution_id, execution.status)
        return execution

    def _next_fire(self, registered: RegisteredJob, state: JobState | None) -> datetime | None:
        """Return when the job is due next, apart from fires that operators have skipped."""
        fire = self._timetable.next_fire(registered.job.id)
        if state is None or registered.trigger is None:
            return fire
        for skip in state.skips:
            if fire == skip.at:
                fire = next_fire(registered.trigger, fire, state.anchor)
        return fire

    def _view(self, registered: RegisteredJob) -> JobView:
        job, state = registered.job, self._journal.jobs.get(registered.job.id)
        with_slot = self._admission.running_of(job.id)
        queued = [one for one in with_slot if (run := self._journal.live.get(one)) is not None and not run.has_started]
        return JobView(
            job=own_job(job),
            state=own_state(state) if state is not None else JobState(job_id=job.id, anchor=self.clock.now()),
            next_fire=self._next_fire(registered, state),
            running=[one for one in with_slot if one not in queued],
            lingering=self._admission.lingering_of(job.id),
            waiting=[
                *queued,
                *self._dependencies.waiting_of(job.id),
                *(ticket.execution_id for ticket in self._admission.waiting_of(job.id)),
            ],
            overrides=registered.body.overrides,
            origin=registered.origin,
            source=registered.defined_by,
            problem=registered.problem,
            backfill=self._backfills.counts(job.id) if state is not None and state.backfill is not None else None,
        )

    async def _durable(self) -> None:
        await asyncio.shield(self._journal.durable())

    async def _confirm(self, shown: str | None) -> None:
        """Wait until what an answer shows of a job, a run or all jobs is durable: no other process may see less later.

        It does not wait for a store that is away. DeposedError where another kernel leads, and what was shown is lost.
        """
        if (unwritten := self._journal.unwritten(shown)) is not None:
            await asyncio.wait((asyncio.shield(unwritten),), timeout=CONFIRM_LIMIT_S)
            if unwritten.done():
                unwritten.result()

    async def note_refused(self, action: str, actor: str, error: GnomonError, subject: object) -> None:
        """Record an act that was refused; its answer waits a moment until that is durable, and no longer."""
        execution_id = str(subject) if action in ACTS_ON_EXECUTIONS else None
        if execution_id is None:
            declared = getattr(subject, "__gnomon_job__", subject)
            job_id = declared if isinstance(declared, str) else str(getattr(declared, "id", ""))
        else:
            execution = None if isinstance(error, UnknownExecutionError) else await self._find(execution_id)
            job_id = execution.job_id if execution is not None else ""
        if self._refused_acts.record(action, actor, error, job_id, execution_id):
            with contextlib.suppress(TimeoutError, StoreError):
                async with asyncio.timeout(CONFIRM_LIMIT_S):
                    await self._durable()
