"""The queries of KernelApi: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.api import JobView, LiveRun
from gnomon.domain.body_sample import BodySample
from gnomon.domain.execution import Execution
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_health import Health, plugin_problems
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.own_copies import own_value, own_view
from gnomon.domain.records import JournalState
from gnomon.domain.workers import WorkerView
from gnomon.engine.components import KernelComponents
from gnomon.engine.garbage_collection import garbage_collection_paused
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.worker_views import read_workers
from gnomon.errors import ExecutionOverError
from gnomon.jobs.parameters import parameters_schema
from gnomon.jobs.registered import own_job
from gnomon.plugins.store_health import health_of


class KernelQueries(KernelComponents):
    """The part of KernelApi that reads; see there for each method."""

    @on_kernel_loop
    async def jobs(self) -> list[JobView]:
        with garbage_collection_paused():  # which takes twice as long as the copies of 5,000 jobs
            views = sorted([*map(self._view, self._jobs), *self._attached.views()], key=lambda view: view.job.id)
        await self._confirm(None)
        return views

    @on_kernel_loop
    async def job(self, job_id: str) -> JobView:
        try:
            return self._attached.view(job_id) or self._view(self._jobs[job_id])
        finally:
            await self._confirm(job_id)  # that it is gone as well

    @on_kernel_loop
    async def execution(self, execution_id: str) -> Execution:
        found = await self._get(execution_id)
        await self._confirm(execution_id)
        return found

    @on_kernel_loop
    async def preview_job(self, keys: Mapping[str, Any], *, trusted: bool = False) -> JobPreview:
        job_id = keys.get("id")
        state = self._journal.jobs.get(job_id) if isinstance(job_id, str) else None
        return await self._previewer.preview(keys, state, trusted=trusted)

    @on_kernel_loop
    async def parameters(self, job_id: str) -> dict[str, Any]:
        registered = self._jobs[job_id]
        return own_value(parameters_schema(registered.job, registered.body))

    @on_kernel_loop
    async def live_runs(self) -> list[LiveRun]:
        return [
            LiveRun(own_view(active.execution), own_job(active.job), self._supervisor.quiet(active))
            for active in self._supervisor.bodies
            if active.execution.status == "running" and not active.is_over
        ]

    @on_kernel_loop
    async def sample(self, execution_id: str) -> BodySample:
        if (active := self._supervisor.live(execution_id)) is not None:
            return await self._samples.take(active)
        execution = await self._get(execution_id)
        if execution.is_over:
            raise ExecutionOverError(execution_id, execution.status)
        return BodySample(problem="its body has not begun, or another scheduler runs it", at=self.clock.now())

    async def _write_lines(self) -> None:
        await self._progress.flush()

    @on_kernel_loop
    async def kernels(self) -> list[KernelMember]:
        head, health = self._journal.head, self.health()
        own = self._facts.member(self.clock.now(), head, health.state, health.problem, self.revision)
        return [own, *self._members.followers()]

    @on_kernel_loop
    async def workers(self) -> WorkerView:
        return await read_workers(self._supervisor.runners.values(), self._supervisor.bodies)

    @on_kernel_loop
    async def report_member(self, member: KernelMember) -> None:
        missing = await self._store.read(member.position, 1) if member.position < self._journal.head else []
        lag_s = max((self.clock.now() - missing[0].at).total_seconds(), 0.0) if missing else 0.0
        self._members.report(member, self._journal.head, round(lag_s, 3))

    @on_kernel_loop
    async def remove_member(self, member_id: str) -> None:
        self._members.remove(member_id)

    def health(self) -> Health:
        self.expect_own_process()
        journal, store, condition = self._journal, health_of(self._store), self._condition
        store_state: JournalState = "deposed" if store.state == "lost" else store.state
        if journal.state != "healthy":
            store_state = journal.state
        store_problem = journal.problem or store.problem
        problems = condition.problems() if condition is not None else {}
        if (held := self._hold.problem) is not None:
            problems["hold"] = held
        if self._revision_problem is not None:
            problems["revision"] = self._revision_problem
        if self._channel is not None and (unreached := self._channel.problem) is not None:
            problems["orders"] = unreached
        queued = self._queued_elsewhere()
        plugins = [*self._dispatcher.health(), *self._companions.health()]
        problems |= plugin_problems(plugins)
        return Health(
            state="degraded" if problems and store_state == "healthy" else store_state,
            problem="; ".join(filter(None, (store_problem, *problems.values()))) or None,
            store=self._store.name,
            position=journal.head,
            backlog=journal.backlog + store.backlog,
            accepts_runs=store.accepts_runs and journal.state == "healthy",
            running=self._admission.running - queued,
            waiting=self._admission.waiting + self._dependencies.waiting + queued,
            groups=self._admission.groups(),
            lingering=self._admission.lingering,
            plugins=plugins,
            store_state=store_state,
            store_problem=store_problem,
            problems=problems,
            stalled=condition.stalled if condition is not None else [],
            hold=self._hold.current,
            is_starting=self._is_starting,
            is_stopping=self._is_stopping,
            blocked_by=condition.blocked_by if condition is not None else None,
            lateness_s=round(condition.lateness_s, 3) if condition is not None else 0.0,
            append_s=round(journal.append_s, 6),
            loop_stalls=self._watchdog.count if self._watchdog is not None else 0,
            loop_stalled_s=round(self._watchdog.total_s, 3) if self._watchdog is not None else 0.0,
            clock_behind_s=round(journal.behind_s, 3),
            role="leader" if self.loop is not None else None,
            leader=self._facts.leader_name if self.loop is not None else None,
        )

    def _queued_elsewhere(self) -> int:
        """Return the number of runs that have a slot, were handed over, and have not begun."""
        if not any(runner.is_remote for runner in self._runners.values()):
            return 0
        return sum(one.handed_to is not None and not one.has_started for one in list(self._journal.live.values()))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due or being written and plugins have handled everything; bodies may be running."""
        parts = (
            self._timetable,
            self._supervisor,
            self._journal,
            self._dispatcher,
            self._companions,
            self._finished_jobs,
        )
        return self._dependencies.is_idle and all(part.is_idle for part in parts)

    @property
    def in_threads(self) -> set[str]:
        """The ids of executions with bodies in threads: those take real time on any clock."""
        return {active.execution.id for active in self._supervisor.bodies if active.runner.name == "thread"}

    @property
    def longest_grace_s(self) -> float:
        """The longest `cancel_grace` of all jobs, in seconds: how long a stop may wait for cancelled bodies."""
        return max((registered.job.cancel_grace.total_seconds() for registered in tuple(self._jobs)), default=0.0)
