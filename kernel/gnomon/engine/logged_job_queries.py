"""The queries of KernelApi about jobs where the log alone has them: in kernels that follow, and those of the past."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from gnomon.api import JobView
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.own_copies import own_value
from gnomon.domain.records import ExecutionQuery
from gnomon.engine.garbage_collection import garbage_collection_paused
from gnomon.engine.log_queries import LogQueries, on_kernel_loop
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import JobError
from gnomon.jobs.parameters import parameters_schema
from gnomon.jobs.registered import RegisteredJob
from gnomon.safe_text import safe_repr
from gnomon.text import is_writable

MOST_UNFINISHED = 10_000
"""Runs that have not ended which a list of jobs names, at most."""


class LoggedJobQueries(LogQueries):
    """The part of KernelApi that shows jobs from the log; see there for each method."""

    _jobs: LoggedJobs

    @on_kernel_loop
    async def jobs(self) -> list[JobView]:
        states = await self._store.jobs(removed=False)
        unfinished = await self._unfinished(None)
        with garbage_collection_paused():
            views = [self._view(state, job, unfinished) for state, job in self._jobs.of(states)]
        return sorted(views, key=lambda view: view.job.id)

    @on_kernel_loop
    async def job(self, job_id: str) -> JobView:
        state, job = await self._job(job_id)
        return self._view(state, job, await self._unfinished(job_id))

    @on_kernel_loop
    async def parameters(self, job_id: str) -> dict[str, Any]:
        _, registered = await self._job(job_id)
        return own_value(parameters_schema(registered.job, registered.body))

    async def _job(self, job_id: str) -> tuple[JobState, RegisteredJob]:
        if not isinstance(job_id, str):
            raise JobError(f"expected the id of a job, got {safe_repr(job_id)}")
        states = await self._store.jobs([job_id]) if is_writable(job_id) else []
        known = [] if states else [state.job_id for state in await self._store.jobs(removed=False)]
        return self._jobs.one(job_id, states, known)

    async def _unfinished(self, job_id: str | None) -> list[Execution]:
        query = ExecutionQuery(
            job_id=job_id, status=("scheduled", "running"), limit=MOST_UNFINISHED, brief=True, counts=False
        )
        return list((await self._store.executions(query)).items)

    @abstractmethod
    def _view(self, state: JobState, registered: RegisteredJob, unfinished: Iterable[Execution]) -> JobView:
        """Return a job with its next fire and its problem, as this kernel knows them."""
