"""Jobs that orders add, change and remove while a kernel runs. The log keeps them, so a restart brings them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.domain.job_state import JobState
from gnomon.engine.dependency_checks import check_change
from gnomon.engine.job_recorder import Act, Holding, JobRecorder
from gnomon.engine.job_registry import JobRegistry
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.engine.restored_jobs import RestoredJobs
from gnomon.errors import ForeignJobError, JobConflictError, JobError, JobExistsError
from gnomon.jobs.diff import JobsDiff, changed_keys, difference
from gnomon.jobs.ended_schedules import expect_fires
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Clock


class AddedJobs:
    """The jobs of origin api. Each method checks everything before it changes anything, and runs in one step."""

    def __init__(
        self,
        journal: Journal,
        jobs: JobTable,
        registry: JobRegistry,
        recorder: JobRecorder,
        launcher: Launcher,
        restored: RestoredJobs,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._launcher = launcher
        self._jobs = jobs
        self._registry = registry
        self._recorder = recorder
        self._restored = restored

    def expect_changeable(self, job_id: str, expect_version: int | None = None) -> RegisteredJob:
        """Return a job that orders may change; UnknownJobError, ForeignJobError, JobConflictError."""
        registered = self._jobs[job_id]
        if registered.origin != "api":
            raise ForeignJobError(job_id, registered.defined_by)
        version = self._journal.jobs[job_id].version
        if expect_version is not None and version != expect_version:
            raise JobConflictError(job_id, expect_version, version)
        return registered

    def add(
        self,
        jobs: Sequence[RegisteredJob],
        act: Act,
        holding: Holding,
        *,
        replace: bool = False,
        expect_version: int | None = None,
    ) -> None:
        """Add jobs; with `replace` those that were added before get the new definition, and keep their owner."""
        _expect_unique(jobs)
        for registered in jobs:
            if (known := self._jobs.get(registered.job.id)) is None:
                self._jobs.expect_own(registered.job.id)
                if expect_version is not None:
                    raise JobConflictError(registered.job.id, expect_version, 0)
                self.expect_fires(registered)
            elif replace or expect_version is not None:
                self.expect_changeable(known.job.id, expect_version)
                self._expect_owner(known, holding.owner)
            else:
                raise taken(known)
        check_change(self._jobs, jobs)
        for registered in jobs:
            known = self._jobs.get(registered.job.id)
            kept = self._journal.jobs[known.job.id].owner if known is not None else None
            self._put(registered, act, holding._replace(owner=holding.owner or kept))
        self._settle(registered.job.id for registered in jobs)

    def expect_fires(self, registered: RegisteredJob) -> None:
        """Raise JobKeysError for a new job that would never run."""
        expect_fires(registered.job, registered.trigger, self._clock.now())

    def change(self, registered: RegisteredJob, act: Act, owner: str | None = None) -> None:
        """Replace the definition of a job; its end stays, and its owner if it has one."""
        check_change(self._jobs, [registered])
        self._expect_owner(registered, owner)
        state = self._journal.jobs[registered.job.id]
        self._put(registered, act, Holding(state.owner or owner, state.temporary))
        self._settle([registered.job.id])

    def _expect_owner(self, known: RegisteredJob, owner: str | None) -> None:
        """Raise JobExistsError for the job of another owner, which no order takes over."""
        if owner is not None and self._journal.jobs[known.job.id].owner not in {None, owner}:
            raise JobExistsError(known.job.id, self._taken(known, owner))

    def remove(self, job_id: str, act: Act) -> None:
        """Remove a job; its running bodies go on. JobError where others wait for it."""
        check_change(self._jobs, [], [job_id])
        self._remove(job_id, act)

    def _remove(self, job_id: str, act: Act) -> None:
        self._recorder.remove(job_id, act)
        self._jobs.remove(job_id)

    def apply(self, jobs: Sequence[RegisteredJob], owner: str, act: Act) -> JobsDiff:
        """Put these jobs in place of those of one owner; the jobs of all others stay."""
        _expect_unique(jobs)
        wanted = {registered.job.id: registered for registered in jobs}
        own = {job_id: state for job_id, state in self._journal.jobs.items() if _is_of(state, owner)}
        for job_id in wanted:
            self._jobs.expect_own(job_id)
            if job_id not in own and (known := self._jobs.get(job_id)) is not None:
                raise JobExistsError(job_id, self._taken(known, owner))
        found = difference(own, {job_id: registered.definition for job_id, registered in wanted.items()})
        check_change(self._jobs, jobs, found.removed)
        for job_id in found.removed:
            self._remove(job_id, act)
        for job_id in (*found.added, *found.changed):
            self._put(wanted[job_id], act, Holding(owner))
        self._settle(wanted)
        return found

    def _taken(self, known: RegisteredJob, owner: str) -> str:
        job_id = known.job.id
        if known.origin != "api":
            return f"job {job_id!r} cannot belong to {owner!r}: {known.defined_by} defines a job with the same id"
        other = self._journal.jobs[job_id].owner
        belongs = f"belongs to {other!r}" if other is not None else "was added without an owner"
        return (
            f"job {job_id!r} cannot belong to {owner!r}: a job with the same id {belongs}; choose another id, or "
            "remove that job first to take it over"
        )

    def _put(self, registered: RegisteredJob, act: Act, holding: Holding) -> None:
        job_id, known = registered.job.id, self._jobs.get(registered.job.id)
        if known is None:
            self._recorder.add(registered, act, holding)
        else:
            state = self._journal.jobs[job_id]
            changes = changed_keys(state.definition, registered.definition)
            self._recorder.change(registered, changes, act, holding)
        registered.definition = self._journal.jobs[job_id].definition
        self._jobs.put(registered)
        if known is not None:
            self._launcher.redefine([registered.job])
            if known.problem is not None:
                self._launcher.resume_held(registered.job)
        if self._journal.jobs[job_id].problem is not None:
            self._registry.release(job_id)
        else:
            self._registry.enter(job_id)

    def _settle(self, job_ids: Iterable[str]) -> None:
        """Release the jobs that were held because they wait for one of these."""
        if self._jobs.broken and not self._jobs.downstream.keys().isdisjoint(job_ids):
            self._restored.settle()


def taken(known: RegisteredJob, how: str = "pass replace=True to replace it") -> JobExistsError:
    """Return the error of an order that adds a job with the id of this one; `how` says how to replace it."""
    job_id, by = known.job.id, known.defined_by
    if known.origin == "api":
        return JobExistsError(job_id, f"there is a job {job_id!r} already: choose another id, or {how}")
    return JobExistsError(job_id, f"{by} defines a job {job_id!r}: choose another id, or change that job there")


def _is_of(state: JobState, owner: str) -> bool:
    return state.owner == owner and state.origin == "api" and not state.removed


def _expect_unique(jobs: Iterable[RegisteredJob]) -> None:
    seen: set[str] = set()
    for registered in jobs:
        if registered.job.id in seen:
            raise JobError(
                f"two of the jobs have the id {registered.job.id!r}; ids must be unique: nothing was changed"
            )
        seen.add(registered.job.id)
