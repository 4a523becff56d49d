"""From a definition to what runs: types checked, arguments tried, function and trigger built; or why that cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from gnomon.durations import Duration, decode_hook, shared_duration
from gnomon.errors import JobError
from gnomon.jobs.body import Body, make_body
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job
from gnomon.scheduling.triggers import Trigger

COLLECTIONS = ("tags", "args", "kwargs", "steps", "progress_patterns", "options")
_FIELDS = msgspec.structs.fields(Job)
_PLAIN = {
    field.name: kind
    for field in _FIELDS
    for kind in (str, int, bool, datetime, Duration)
    if field.type == kind or field.type == kind | None
}
"""The fields that hold values of one class."""
_SPANS = frozenset(field.name for field in _FIELDS if field.type == Duration | None)
_ANYTHING = frozenset(field.name for field in _FIELDS if field.type is Any)


def register(job: Job, timezone: str) -> RegisteredJob:
    """Build what a definition needs to run: its function, its trigger; JobError or TriggerError where it cannot be.

    `timezone` is the zone of a job that names none.
    """
    job, given = _checked(job, timezone)
    definition = _definition(job, given)
    check_json(job)
    body = make_body(job)
    if job.runner == "async" and not body.is_async:
        raise JobError(f'job {job.id!r} has runner = "async", but its function is not a coroutine function')
    return RegisteredJob(job, body, job.build_trigger(), definition)


def _checked(job: Job, timezone: str) -> tuple[Job, dict[str, Any]]:
    """Check the types of a job that code has put together: it may have a plain timedelta, or a dict for `retry`.

    Returns what is given of it, too. To look at the few values that are given takes 3 µs, to convert the job 10.
    """
    given = job.given()
    changed: dict[str, Any] = {} if job.timezone is not None else {"timezone": timezone}
    for name, value in given.items():
        if type(value) is timedelta and name in _SPANS:
            changed[name] = shared_duration(value)
        elif type(value) is not _PLAIN.get(name) and name not in _ANYTHING:
            job = _converted(job, given | changed)
            return job, job.given()
    return msgspec.structs.replace(job, **changed) if changed else job, given | changed


def _converted(job: Job, given: dict[str, Any]) -> Job:
    try:
        converted = msgspec.convert(given, Job, dec_hook=decode_hook)
    except msgspec.ValidationError:
        return convert_job(given, f"job {job.id!r}")  # takes 160 µs instead of 5, and says what is wrong
    for name in COLLECTIONS:
        if name not in given:  # six empty ones for each of 100,000 jobs are 35 MB
            msgspec.structs.force_setattr(converted, name, getattr(job, name))
    return converted


def _definition(job: Job, given: dict[str, Any]) -> dict[str, Any]:
    try:
        return job.definition(given)
    except JobError:
        raise  # it is a ValueError, too
    except (TypeError, ValueError, NotImplementedError) as exc:
        raise _no_json(job, exc) from exc


def check_json(job: Job) -> None:
    """Refuse arguments that the log cannot keep, or that would come back from it as something else."""
    if not job.args and not job.kwargs:
        return
    given = [list(job.args), dict(job.kwargs)]
    try:
        kept = msgspec.json.decode(msgspec.json.encode(given))
    except (TypeError, ValueError, NotImplementedError) as exc:
        raise _no_json(job, exc) from exc
    if kept != given:
        raise JobError(
            f"job {job.id!r}: the arguments {given} would come back from the log as {kept}; "
            "give it what JSON has: text, numbers, true, false, null, lists and objects"
        )


def _no_json(job: Job, problem: Exception) -> JobError:
    return JobError(f"job {job.id!r}: what it is given must be JSON, to be kept in the log: {problem}")


class RegisteredJob(msgspec.Struct, eq=False):
    """A job that the kernel serves, with what was built from its definition."""

    job: Job
    body: Body
    trigger: Trigger | None
    definition: dict[str, Any]
