"""Brings the jobs that were added at run time back from the log.

A job that cannot run here is never deleted: its function, its group or a job that it waits for is gone, or a library
refuses its schedule. The kernel holds it paused, with the problem, and resumes it at the first start, reload or order
after which it can run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from gnomon.domain import events
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.job_recorder import Act, JobRecorder
from gnomon.engine.job_registry import JobRegistry
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.jobs.durable import note_unserved, refers_to_job
from gnomon.jobs.registered import RegisteredJob
from gnomon.jobs.runner_names import Runners
from gnomon.logs import get_logger
from gnomon.ports import Store
from gnomon.scheduling.calendars import load_calendars

log = get_logger("gnomon.engine.restored_jobs")

Build = Callable[[str, dict[str, Any]], RegisteredJob]
"""Builds a job from its id and its definition in the log."""
SHOWN = 10
"""Jobs that lines of the log name; of a thousand with the same missing module ten say enough."""
MOST_LOOKED_AT = 1_000
RELOADED = frozenset({"reload", "the config was reloaded"})
"""The reasons with which a reload of an older version added jobs."""


class RestoredJobs:
    """Fills the table with the jobs of origin api, and keeps those apart that cannot run."""

    def __init__(
        self,
        journal: Journal,
        jobs: JobTable,
        registry: JobRegistry,
        recorder: JobRecorder,
        launcher: Launcher,
        build: Build,
        groups: Collection[str],
        runners: Runners,
    ) -> None:
        self._journal = journal
        self._jobs = jobs
        self._registry = registry
        self._recorder = recorder
        self._launcher = launcher
        self._build = build
        self._groups = groups
        self._runners = runners

    async def begin(self) -> None:
        """Remove the temporary jobs of a kernel that was killed, and load what schedules of the log need."""
        self.remove_temporary("it was temporary, and its kernel did not stop in order")
        present = (state.definition for state in self._journal.jobs.values() if not state.removed)
        await load_calendars(one for definition in present for one in definition.get("exclude", ()))

    def remove_temporary(self, reason: str) -> None:
        """Record the end of temporary jobs: when their kernel stops, or when the next one starts after a kill."""
        temporary = [one for one in self._journal.jobs.values() if one.temporary and not one.removed]
        for state in temporary:
            if state.origin == "attached":  # a kernel owed it no fires
                stream, ended = events.job_stream(state.job_id), "the kernel to which it was attached has ended"
                self._journal.record(events.JobRemoved, stream, state.job_id, actor=KERNEL, reason=ended)
                continue
            self._recorder.remove(state.job_id, Act(KERNEL, reason))
            if (known := self._jobs.get(state.job_id)) is not None and known.origin == "api":
                self._jobs.remove(state.job_id)

    def restore(self, *, records: bool = True) -> None:
        """Build all jobs of origin api; with `records`, hold those that cannot run."""
        states = [state for state in self._journal.jobs.values() if state.origin == "api" and not state.removed]
        for state in states:
            if not state.temporary:
                self._jobs.put(self._build(state.job_id, state.definition))
        self._note_unserved()
        if records:
            for state in states:
                self._hold(state)
        self._log_broken()

    async def report_dropped(self, removed: Sequence[str], store: Store) -> None:
        """Log in one line which jobs the start has dropped that an order to an older version had added."""
        dropped = []
        for job_id in removed[:MOST_LOOKED_AT]:
            stream = await store.stream(events.job_stream(job_id))
            added = [event for event in stream if isinstance(event, events.JobAdded)]
            if added and not added[-1].by_kernel and added[-1].reason not in RELOADED:
                dropped.append(job_id)
        if dropped:
            log.warning(
                "jobs that were added at run time by an older version are dropped: it did not keep them across a "
                "restart; add them again to keep them",
                jobs=", ".join(dropped[:SHOWN]),
                count=len(dropped),
            )

    def settle(self) -> None:
        """Hold the jobs that cannot run any more after other jobs have changed, and release those that can again."""
        before = set(self._jobs.broken)
        for registered in [one for one in self._jobs if one.origin == "api" and refers_to_job(one.job.func)]:
            state = self._journal.jobs[registered.job.id]
            self._jobs.put(self._build(state.job_id, state.definition))
        self._note_unserved()
        for registered in [one for one in self._jobs if one.origin == "api"]:
            self._hold(self._journal.jobs[registered.job.id])
        if self._jobs.broken.keys() - before:
            self._log_broken()

    def _note_unserved(self) -> None:
        note_unserved(self._jobs, self._groups, self._runners)
        for registered in [one for one in self._jobs if one.problem != self._jobs.broken.get(one.job.id)]:
            self._jobs.put(registered)

    def _hold(self, state: JobState) -> None:
        problem = self._jobs.broken.get(state.job_id)
        if problem is None and state.problem is not None:
            self._registry.release(state.job_id)
            self._launcher.resume_held(self._jobs[state.job_id].job)
        elif problem is not None and not state.paused:
            self._journal.record(
                events.JobPaused,
                events.job_stream(state.job_id),
                state.job_id,
                actor=KERNEL,
                reason=f"it cannot run: {problem}",
                problem=problem,
            )
            self._registry.enter(state.job_id)

    def _log_broken(self) -> None:
        broken = list(self._jobs.broken.items())
        for job_id, problem in broken[:SHOWN]:
            log.error("a job cannot run: it is kept, and its fires are held", job=job_id, problem=problem)
        if len(broken) > SHOWN:
            log.error("more jobs cannot run", jobs=len(broken) - SHOWN)
