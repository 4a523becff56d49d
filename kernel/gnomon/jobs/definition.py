"""Build a Job from a table of the config, or from the definition that the log kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from gnomon.conversion import Table, convert
from gnomon.domain.job_state import JobState
from gnomon.errors import ConfigError, GnomonError, JobError
from gnomon.jobs.job import Job
from gnomon.scheduling.triggers import Trigger, is_predictable

log = structlog.stdlib.get_logger("gnomon.jobs")


def convert_job(raw: Table, path: str = "job") -> Job:
    """Make a Job of the keys of a job's table; JobError names every key that is wrong."""
    try:
        return convert(raw, Job, path)
    except ConfigError as exc:
        raise JobError(str(exc)) from exc


def build_schedule(definition: Mapping[str, Any]) -> tuple[Job | None, Trigger | None, str | None]:
    """Build a job and its trigger from a definition in the log; without a trigger the last item may say why."""
    spec = definition.get("trigger")
    if isinstance(spec, Mapping) and spec.get("type") == "object":
        return None, None, f"its trigger is an object in code, which the log knows by name only: {spec.get('text')}"
    try:
        job = convert_job(definition)
        trigger = job.build_trigger()
    except GnomonError as exc:
        return None, None, f"its definition in the log cannot be built here: {exc}"
    if trigger is not None and not is_predictable(trigger):
        return job, None, f"its trigger is random: {trigger}"
    return job, trigger, None


def stored_job(state: JobState) -> tuple[Job, Trigger | None] | tuple[None, None]:
    """Build a job and its trigger from the definition in the log; None where that cannot be, or there is no schedule.

    A trigger that was an object in somebody's code is in the log by name only.
    """
    try:
        job = convert_job(state.definition)
        trigger = job.build_trigger()
    except GnomonError as exc:
        log.debug("definition in the log cannot be built", job=state.job_id, problem=str(exc))
        return None, None
    return job, trigger
