"""The jobs of a deployment on this machine, as `gnomon jobs` lists them: definitions joined with the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon.analysis.upcoming import State, state_of, upcoming
from gnomon.domain.events import Origin
from gnomon.domain.execution import Execution, Status
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ExecutionQuery
from gnomon.jobs.job import Job, explain_schedule
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Store
from gnomon.scheduling.timezones import timezone_or_utc

MAX_RUNNING_READ = 1000
"""Running executions that are read, at most."""


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of the newest execution of a job."""

    id: str
    status: Status
    timestamp: datetime
    execution_time: float | None
    reason: str | None


class JobListing(msgspec.Struct, frozen=True, kw_only=True):
    """One job in a list. `next_fire` is in the job's zone; `running` has execution ids.

    `problem` says why a job that was added at run time cannot run. None stands for an `origin` that is not known.
    """

    id: str
    name: str
    display_name: str
    note: str
    tags: list[str]
    schedule: str
    timezone: str | None
    state: State
    paused_by: str | None
    paused_reason: str | None
    next_fire: datetime | None
    overdue: datetime | None
    last_run: LastRun | None
    running: list[str]
    origin: Origin | None = None
    owner: str | None = None
    problem: str | None = None


async def list_jobs(jobs: Sequence[RegisteredJob], log: Store, now: datetime) -> list[JobListing]:
    """Return the jobs with what the log says about them, sorted by id."""
    states = {state.job_id: state for state in await log.jobs(removed=False)}
    running = (await log.executions(ExecutionQuery(status=("running",), limit=MAX_RUNNING_READ))).items
    return [
        job_listing(
            registered.job,
            states.get(registered.job.id),
            await _last_run(log, registered.job.id),
            [execution.id for execution in running if execution.job_id == registered.job.id],
            now,
            registered,
        )
        for registered in sorted(jobs, key=lambda registered: registered.job.id)
    ]


def job_listing(
    job: Job,
    state: JobState | None,
    last_run: Execution | None,
    running: list[str],
    now: datetime,
    registered: RegisteredJob | None = None,
) -> JobListing:
    """Return the listing of one job."""
    found = upcoming(job, state, now, 1)
    paused = state is not None and state.paused
    return JobListing(
        id=job.id,
        name=job.title,
        display_name=(state.display_name if state else "") or job.title,
        note=(state.note if state else "") or job.description,
        tags=job.tags,
        schedule=explain_schedule(job),
        timezone=job.timezone,
        state=state_of(job, state),
        paused_by=state.paused_by if state and paused else None,
        paused_reason=state.paused_reason if state and paused else None,
        next_fire=found.fires[0].astimezone(timezone_or_utc(job.timezone)) if found.fires else None,
        overdue=found.overdue,
        last_run=msgspec.convert(last_run, LastRun, from_attributes=True) if last_run else None,
        running=running,
        origin=registered.origin if registered else None,
        owner=state.owner if state else None,
        problem=registered.problem if registered else None,
    )


async def _last_run(log: Store, job_id: str) -> Execution | None:
    page = await log.executions(ExecutionQuery(job_id=job_id, limit=1))
    return page.items[0] if page.items else None
