"""One job as `gnomon jobs show` has it: its definition, where it comes from, and when it is due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from gnomon.analysis.upcoming import upcoming
from gnomon.domain.job_state import JobState
from gnomon.errors import JobKeysError, UnknownJobError
from gnomon.jobs.job import explain_schedule
from gnomon.jobs.registered import RegisteredJob
from gnomon.text import close_match
from gnomon.wire.records import JobDetail

NEXT_FIRES = 5


class ShownJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job with the keys that differ from their defaults, as an order or a config has them."""

    id: str
    origin: str
    source: str
    owner: str | None
    version: int
    problem: str | None
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    schedule: str
    timezone: str | None
    next_run_times: list[datetime]
    definition: dict[str, Any]


class Order(msgspec.Struct, frozen=True):
    """The result of an order about a job: its version, and whether it was added."""

    version: int
    is_new: bool


class JobPause(msgspec.Struct, frozen=True):
    """Who paused a job, and why."""

    by: str | None
    reason: str | None


def shown_here(job_id: str, jobs: Iterable[RegisteredJob], states: Iterable[JobState], now: datetime) -> ShownJob:
    """Return a job of the deployment on this machine; UnknownJobError."""
    known = {registered.job.id: registered for registered in jobs}
    if (registered := known.get(job_id)) is None:
        raise UnknownJobError(job_id, close_match(job_id, known))
    state = next((state for state in states if state.job_id == job_id), None)
    job = registered.job
    return ShownJob(
        id=job_id,
        origin=registered.origin,
        source=registered.defined_by,
        owner=state.owner if state is not None else None,
        version=state.version if state is not None else 0,
        problem=registered.problem,
        paused=state.paused if state is not None else job.paused,
        paused_by=state.paused_by if state is not None else None,
        paused_reason=state.paused_reason if state is not None else None,
        schedule=explain_schedule(job) if registered.problem is None else "",
        timezone=job.timezone,
        next_run_times=upcoming(job, state, now, NEXT_FIRES).fires if registered.problem is None else [],
        definition=registered.definition,
    )


def shown_elsewhere(job: JobDetail) -> ShownJob:
    """Return a job as a server describes it."""
    return ShownJob(
        id=job.id,
        origin=job.origin,
        source=job.source,
        owner=job.owner,
        version=job.version,
        problem=job.problem,
        paused=job.paused,
        paused_by=job.paused_by,
        paused_reason=job.paused_reason,
        schedule=job.schedule,
        timezone=job.timezone,
        next_run_times=job.next_run_times[:NEXT_FIRES],
        definition=job.definition,
    )


def problem_lines(exc: JobKeysError) -> list[str]:
    """Return one line for each problem of the keys of a job."""
    return [f"{key}: {text}" if key else text for key, text in exc.problems]
