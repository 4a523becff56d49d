"""The runners that a job may name, and what its definition may ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

from gnomon.errors import JobError
from gnomon.jobs.groups import unknown_group
from gnomon.jobs.job import Job
from gnomon.text import close_match

IN_THIS_PROCESS = ("async", "thread")
"""The runners that call the function object itself. Every other runner imports the function by its name."""
BUILT_IN = (*IN_THIS_PROCESS, "process")


class RunnerTraits(Protocol):
    """What a definition must know of a runner."""

    enforces_limits: ClassVar[bool]


Runners = Mapping[str, RunnerTraits]
"""The runners of plugins, by their names."""
NO_RUNNERS: Runners = MappingProxyType({})


def undefined_name(job: Job, groups: Iterable[str], runners: Runners) -> JobError | None:
    """Return the problem of a job whose group or runner is not there, or whose runner cannot do what it asks."""
    return unknown_group(job, groups) or runner_problem(job, runners)


def runner_problem(job: Job, runners: Runners) -> JobError | None:
    """Return the problem of a job whose runner is not there, or cannot enforce its limits, with its `key`."""
    if job.runner is None or job.runner in BUILT_IN:
        return None
    if (runner := runners.get(job.runner)) is None:
        known = [*BUILT_IN, *sorted(runners)]
        hint = close_match(job.runner, known) or ""
        return _blamed(
            "runner",
            f"job {job.id!r}: the runner {job.runner!r} is not there{hint.removesuffix('?')}; the runners are "
            f"{', '.join(known)}; others come from plugins: enable the plugin, or solve its problem",
        )
    if job.limits is not None and not runner.enforces_limits:
        return _blamed("limits", f"job {job.id!r} has limits, which the runner {job.runner!r} cannot enforce")
    return None


def _blamed(key: str, text: str) -> JobError:
    error = JobError(text)
    error.key = key
    return error
