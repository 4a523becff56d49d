"""What a kernel shows of a job of APScheduler: its keys, and when it is due next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gnomon.integrations.apscheduler.job_stores import live_state
from gnomon.integrations.apscheduler.jobs import policy_keys
from gnomon.integrations.apscheduler.triggers import schedule_keys
from gnomon.integrations.job_import import NotTakenError, free_id
from gnomon.jobs.callables import reference
from gnomon.jobs.job import Job
from gnomon.runners.outcome import as_json


class ObservedJob(msgspec.Struct, frozen=True):
    """A job of APScheduler at a moment. `keys` are those of a Job, without its id."""

    id: str
    name: str
    keys: dict[str, Any]
    is_paused: bool
    next_fire: datetime | None

    def job(self, job_id: str) -> Job:
        """Return it as a Job with an id that is valid here."""
        return Job(id=job_id, name=self.name if self.name != job_id else "", **self.keys)


def observe(job: Any) -> ObservedJob:
    """Read a job; its arguments are shown as JSON or as text, because nothing here runs it."""
    state = live_state(job)
    try:
        keys = schedule_keys(job.trigger)
    except NotTakenError:
        keys = {"trigger": job.trigger}
    keys |= {"func": job.func_ref or reference(job.func)} | policy_keys(state)
    if job.args:
        keys["args"] = _shown(list(job.args))
    if job.kwargs:
        shown = as_json(dict(job.kwargs))
        keys["kwargs"] = shown if isinstance(shown, dict) else {"…": shown}
    due = getattr(job, "next_run_time", None)
    is_paused = hasattr(job, "next_run_time") and due is None
    return ObservedJob(job.id, job.name, keys, is_paused, due.astimezone(UTC) if due is not None else None)


def _shown(args: list[Any]) -> list[Any]:
    shown = as_json(args)
    return shown if isinstance(shown, list) else [shown]


def id_here(job_id: str, taken_by_kernel: bool, source: str) -> str:
    """Return the id under which a job is shown: its own, unless that is not valid or the kernel has a job with it."""
    return free_id(f"{source.lower()}:{job_id}" if taken_by_kernel else job_id, ())
