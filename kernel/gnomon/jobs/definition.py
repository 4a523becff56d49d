"""Build a Job from a table of keys, and rebuild one from the definition in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.conversion import Table, convert
from gnomon.durations import decode_hook
from gnomon.errors import ConfigError, GnomonError, JobError
from gnomon.jobs.job import Job
from gnomon.scheduling.triggers import AnchoredTrigger, is_predictable


def convert_job(raw: Table, path: str = "job") -> Job:
    """Build a Job from a table of its keys; JobError lists every key that is wrong."""
    try:
        return convert(raw, Job, path)
    except ConfigError as exc:
        raise JobError(str(exc)) from exc


def stored_job(definition: Mapping[str, Any]) -> Job:
    """Build a Job from a definition in the log; JobError lists every key that is wrong."""
    try:
        job = msgspec.convert(definition, Job, dec_hook=decode_hook)
    except (msgspec.ValidationError, GnomonError):
        return convert_job(definition)  # 160 µs instead of 5, but every problem has its place
    for name, shared in _EMPTY.items():
        if name not in definition:  # empty ones for each of 100,000 jobs are 35 MB
            msgspec.structs.force_setattr(job, name, shared)
    return job


_EMPTY = {
    field.encode_name: field.default_factory()
    for field in msgspec.structs.fields(Job)
    if field.default_factory in {list, dict}
}
"""The empty collections of jobs of the log. Nothing changes them: everyone else gets a copy of a job."""


class RebuiltJob(msgspec.Struct, frozen=True):
    """A job and its trigger, rebuilt from a definition in the log.

    `problem` is set where the fires of the job cannot be computed from the log. Then there is no trigger either, unless
    the trigger is random: that one can be asked for fires, but its answers are only an example.
    """

    job: Job | None = None
    trigger: AnchoredTrigger | None = None
    problem: str | None = None


def rebuild_job(definition: Mapping[str, Any]) -> RebuiltJob:
    """Rebuild a job from the definition that the log kept of it."""
    spec = definition.get("trigger")
    if isinstance(spec, Mapping) and spec.get("type") == "object":
        problem = f"its trigger is an object in code, and the log has only its description: {spec.get('text')}"
        return RebuiltJob(problem=problem)
    try:
        job = stored_job(definition)
        trigger = job.build_trigger()
    except GnomonError as exc:
        return RebuiltJob(problem=f"its definition in the log cannot be built here: {exc}")
    if trigger is not None and not is_predictable(trigger):
        return RebuiltJob(job, trigger, f"its trigger is random: {trigger}")
    return RebuiltJob(job, trigger)
