"""The commands of KernelApi that add, change and remove jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gnomon.domain.given_values import refuse_positional
from gnomon.domain.revision import revision_of
from gnomon.engine.components import KernelComponents
from gnomon.engine.deployments import digest_of, reloaded
from gnomon.engine.job_recorder import Act, Holding
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import refusable
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.changes import changed_job
from gnomon.jobs.dependencies import check_dependencies
from gnomon.jobs.diff import JobsDiff
from gnomon.jobs.durable import check_durable, register_added, restore_job
from gnomon.jobs.job import Job
from gnomon.jobs.plain_functions import job_of
from gnomon.jobs.registered import RegisteredJob, register_job
from gnomon.jobs.runner_names import undefined_name
from gnomon.scheduling.calendars import load_calendars

JobLike = Job | RegisteredJob | Callable[..., Any] | str
SHOWN = 20
"""Problems of an order that its error lists."""
SLICE_JOBS = 500
"""Jobs of one order that are checked before other tasks may run."""


class JobCommands(KernelComponents):
    """The part of KernelApi that changes which jobs there are; see there for each method."""

    def add(self, job: JobLike, /, **keys: Any) -> Job:
        """Add a Job or a function before the kernel starts; afterwards use `add_job`, which takes the same."""
        self.expect_own_process()
        registered = self._register(job_of(job, keys) if keys else job)
        if self.loop is not None:
            raise JobError(f"job {registered.job.id!r}: the kernel is running; use `await kernel.add_job(...)`")
        self._jobs.add(registered)
        return registered.job

    @on_kernel_loop
    @refusable("add")
    async def add_job(
        self,
        job: JobLike,
        /,
        *positional: object,
        replace: bool = False,
        expect_version: int | None = None,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **keys: Any,
    ) -> Job:
        refuse_positional(positional)
        await _load_calendars([job], keys)
        registered = self._ordered(job, keys, temporary=temporary)
        async with self._at_rest([registered]):
            self._added_jobs.add(
                [registered],
                Act(actor, reason),
                Holding(owner, temporary),
                replace=replace,
                expect_version=expect_version,
            )
        return registered.job

    @on_kernel_loop
    @refusable("add")
    async def add_jobs(
        self,
        jobs: Iterable[JobLike],
        /,
        *,
        replace: bool = False,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[Job]:
        wanted = await self._ordered_all(jobs, temporary=temporary)
        async with self._at_rest(wanted):
            self._added_jobs.add(wanted, Act(actor, reason), Holding(owner, temporary), replace=replace)
        return [registered.job for registered in wanted]

    @on_kernel_loop
    @refusable("change")
    async def change_job(
        self,
        job_id: str,
        /,
        *,
        expect_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **changes: Any,
    ) -> Job:
        await _load_calendars((), changes)
        known = self._added_jobs.expect_changeable(job_id, expect_version)
        temporary = self._journal.jobs[job_id].temporary
        registered = self._ordered(changed_job(known.job, changes), {}, temporary=temporary)
        async with self._at_rest([registered]):
            found = self._added_jobs.expect_changeable(job_id, expect_version)
            if found is not known:  # another order came in between: what it changed stays
                registered = self._ordered(changed_job(found.job, changes), {}, temporary=temporary)
            self._added_jobs.change(registered, Act(actor, reason))
        return registered.job

    @on_kernel_loop
    @refusable("remove")
    async def remove_job(
        self,
        job_id: str,
        *,
        expect_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        async with self._at_rest([]):
            self._added_jobs.expect_changeable(job_id, expect_version)
            self._added_jobs.remove(job_id, Act(actor, reason))

    @on_kernel_loop
    async def apply_jobs(
        self,
        jobs: Iterable[JobLike],
        *,
        owner: str | None = None,
        revision: int | str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> JobsDiff:
        jobs, own_revision = list(jobs), revision_of(revision) or self.revision
        await _load_calendars(jobs)
        if owner is not None:
            wanted = await self._ordered_all(jobs)
            async with self._at_rest(wanted):
                return self._added_jobs.apply(wanted, owner, Act(actor, reason))
        defined = [self._register(job) for job in jobs]  # all errors come before the first change
        every = {one.job.id: one.job for one in (*(o for o in self._jobs if o.origin == "api"), *defined)}
        for _, problem in check_dependencies(every, [one.job.id for one in defined]):
            raise problem
        async with self._at_rest(defined):  # what is due by the old definitions is decided by them
            found = self._registry.apply(defined, Act(actor, reason or "reload"))
            for job_id in (*found.added, *found.changed):
                self._registry.enter(job_id)
            self._launcher.redefine(self._jobs[job_id].job for job_id in found.changed)
            self._restored_jobs.settle()
            mark = reloaded(self._deployment, digest_of(defined), own_revision)
            self.revision, self._revision_problem = own_revision, None
            if mark != self._deployment:
                before, self._deployment = self._deployment.number, mark
                self._facts.led("reload", mark, before, actor, reason)
        return found

    @property
    def defined_jobs(self) -> list[RegisteredJob]:
        """The jobs that the config, the program and plugins define, as they are after the last reload."""
        return [registered for registered in self._jobs if registered.origin != "api"]

    @property
    def deployment_number(self) -> int:
        """The number of the deployment that is in force."""
        return self._deployment.number

    @asynccontextmanager
    async def _at_rest(self, jobs: Sequence[RegisteredJob]) -> AsyncIterator[None]:
        """Run a block, which must not wait, when nothing is due; return when what it changed is durable."""
        async with self._journal.recalled(registered.job.id for registered in jobs):
            await self._timetable.idle()
            yield
        await self._durable()

    def _restored(self, job_id: str, definition: dict[str, Any]) -> RegisteredJob:
        """Build a job from its definition in the log."""
        return restore_job(job_id, definition, self._jobs.find_defined)

    def _ordered(self, job: JobLike, keys: dict[str, Any], *, temporary: bool) -> RegisteredJob:
        """Check a job of an order; JobError, TriggerError."""
        declared = job_of(job.job if isinstance(job, RegisteredJob) else job, keys)
        if not temporary:
            check_durable(declared)
        if (problem := undefined_name(declared, self._groups, self._runners)) is not None:
            raise problem
        registered = register_added(declared, self._timezone, self._arguments_limit, self._jobs.find_defined)
        if not temporary and not isinstance(registered.job.func, str):
            registered.job = msgspec.structs.replace(registered.job, func=registered.definition["func"])
        return registered

    async def _ordered_all(self, jobs: Iterable[JobLike], *, temporary: bool = False) -> list[RegisteredJob]:
        """Check all jobs of an order; JobError lists every problem."""
        jobs, found, problems = list(jobs), [], []
        await _load_calendars(jobs)
        for number, job in enumerate(jobs, 1):
            try:
                found.append(self._ordered(job, {}, temporary=temporary))
            except GnomonError as exc:
                problems.append(exc)
            if number % SLICE_JOBS == 0:
                await asyncio.sleep(0)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
            raise JobError("\n".join([*map(str, problems[:SHOWN]), *more]))
        return found

    def _register(self, job: JobLike) -> RegisteredJob:
        """Check a job that is defined at the start or by a reload."""
        declared = job.job if isinstance(job, RegisteredJob) else job_of(job, {})
        if (problem := undefined_name(declared, self._groups, self._runners)) is not None:
            raise problem
        return job if isinstance(job, RegisteredJob) else register_job(declared, self._timezone, self._arguments_limit)


async def _load_calendars(jobs: Iterable[object], keys: Mapping[str, object] = {}) -> None:
    """Load the calendars that jobs of an order exclude before their schedules are built, which happens on the loop."""
    excluded = [one for job in jobs if type(job) is Job for one in job.exclude]
    more = keys.get("exclude")
    await load_calendars([*excluded, *more] if type(more) is list else excluded)
