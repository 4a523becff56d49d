"""Goes on with the runs that an earlier kernel handed over to runners whose bodies outlive it."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.admission import Admission, Ticket
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher, grace_of
from gnomon.engine.runner_calls import adoption_problem
from gnomon.engine.supervisor import Supervisor
from gnomon.errors import JobError
from gnomon.jobs.body import Body
from gnomon.jobs.callables import child_target
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Store

LINES_AT_ONCE = 1_000


class Adoption:
    """Adopts runs while a kernel starts; `Supervisor.begin_adopted` goes on with them once plugins have started."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        admission: Admission,
        supervisor: Supervisor,
        launcher: Launcher,
        jobs: JobTable,
    ) -> None:
        self._store = store
        self._journal = journal
        self._admission = admission
        self._supervisor = supervisor
        self._launcher = launcher
        self._jobs = jobs

    async def adopt(self, execution: Execution) -> str | None:
        """Adopt a run that was handed over; return why that cannot be, as the end of a sentence.

        It has a slot, whatever the limits are now. One whose job is gone is cancelled, unless it has begun.
        """
        if (
            problem := adoption_problem(self._supervisor.runners.get(execution.handed_to or ""), execution)
        ) is not None:
            return problem
        registered = self._jobs.get(execution.job_id)
        job, body = _handed_over(registered, execution) if registered is not None else _removed(execution)
        grace = grace_of(job) if execution.is_fire else timedelta.max
        live, lines = self._journal.adopt(execution), await self._last_line(execution.id)
        active = self._supervisor.adopt(live, job, body, self._launcher, grace, lines)
        self._admission.occupy(Ticket(execution.id, job, execution.scheduled_time, must_run=not execution.is_fire))
        if registered is None and not active.has_begun:
            self._supervisor.cancel(execution.id, KERNEL, "the job was removed")
        return None

    async def _last_line(self, execution_id: str) -> int:
        """Return the number of the last log line of a run in the log, 0 where it has none."""
        last = 0
        while lines := await self._store.log(execution_id, last, LINES_AT_ONCE):
            last = lines[-1].number
        return last


def _handed_over(registered: RegisteredJob, execution: Execution) -> tuple[Job, Body]:
    """Return a job, and its body as the runner needs it that has the run, whatever runner the job has by now.

    The runner sends the run again if its message is lost; it cannot where the job's function is one of this process.
    """
    job, body = registered.job, registered.body
    if body.child_target is None and execution.handed_to is not None:
        with contextlib.suppress(JobError):
            body = msgspec.structs.replace(body, child_target=child_target(job.id, job.func, execution.handed_to))
    return job, body


def _removed(execution: Execution) -> tuple[Job, Body]:
    """Return what stands for a job that is gone."""

    def removed(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a removed job is not run")

    return Job(id=execution.job_id, func=removed, name=execution.job_name), Body(removed, is_async=False)
