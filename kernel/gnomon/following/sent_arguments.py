"""Arguments on their way to the kernel that leads: as JSON, or refused with the words of that kernel.

JSON would turn a date into a text and NaN into null, and the reader could not tell. So this side, which has the
values, decides as a kernel that leads does: what the annotation of the parameter reads back is sent, the rest is
refused. Where the function cannot be read in this process, only what JSON has is sent.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import GnomonError
from gnomon.jobs.arguments import ArgumentTypes
from gnomon.jobs.body import make_body
from gnomon.jobs.durable import refers_to_job
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob, own_arguments
from gnomon.json_depth import is_too_deep
from gnomon.text import is_writable

FindJob = Callable[[str], Awaitable[tuple[JobState, RegisteredJob]]]


class SentArguments:
    """Returns arguments as they are sent; JobError for those that would arrive as something else."""

    def __init__(self, jobs: LoggedJobs, find: FindJob, arguments_limit: int) -> None:
        self._jobs = jobs
        self._find = find
        self._limit = arguments_limit

    async def of_run(self, job_id: str, kwargs: Any) -> Any:
        """Return the arguments of one run of a job."""
        if not isinstance(kwargs, Mapping) or is_plain(kwargs):
            return kwargs
        try:
            _, registered = await self._find(job_id)
        except GnomonError:
            return kwargs  # the kernel that leads says so
        job = msgspec.structs.replace(registered.job, args=[], kwargs=_with_lists(dict(kwargs)))
        return own_arguments(job, self._limit, registered.body.types if registered.is_built else None)[1]

    async def of_change(self, job_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Return the changes of a job."""
        given = {key: changes[key] for key in ("args", "kwargs") if changes.get(key)}
        if is_plain(list(given.values())):
            return changes
        try:
            _, registered = await self._find(job_id)
        except GnomonError:
            return changes
        func = changes.get("func") or registered.job.func
        changed = msgspec.structs.replace(registered.job, func=func, **({"args": [], "kwargs": {}} | given))
        sent = self.of_job(changed)
        return changes | {key: getattr(sent, key) for key in given}

    def of_job(self, job: Job) -> Job:
        """Return a job with its arguments."""
        if is_plain([*job.args, job.kwargs]):
            return job
        args, kwargs = own_arguments(job, self._limit, self._types(job))
        return msgspec.structs.replace(job, args=args, kwargs=kwargs)

    def _types(self, job: Job) -> ArgumentTypes | None:
        if refers_to_job(job.func):
            defined = self._jobs.defined(job.func)
            return defined.body.types if defined is not None else None
        try:
            return make_body(job).types
        except GnomonError:  # it may be found where the kernel leads
            return None


def is_plain(value: Any) -> bool:
    """Return whether JSON gives the same value back, and its depth endangers no code that walks through it."""
    return not is_too_deep(value) and _is_plain(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(one) for key, one in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    if kind is str:
        return is_writable(value)
    return kind in _SCALARS or (kind is float and math.isfinite(value))


def _with_lists(value: Any) -> Any:
    """Return arguments of a run with lists in place of tuples, as every kernel keeps them."""
    if is_too_deep(value):
        return value
    if isinstance(value, dict):
        return {key: _with_lists(one) for key, one in value.items()}
    return [_with_lists(one) for one in value] if isinstance(value, list | tuple) else value


_SCALARS = frozenset({int, bool, type(None)})
