"""Which jobs wait for which: the key `after`, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gnomon.errors import JobError
from gnomon.jobs.job import Job
from gnomon.text import close_match

MOST_UPSTREAM = 100
"""How many jobs one job may wait for."""


def check_dependencies(jobs: Mapping[str, Job], asked: Iterable[str] | None = None) -> list[tuple[str, JobError]]:
    """Return what is wrong with `after` in a set of jobs, with the id of the job to blame.

    `asked` limits the result to some jobs; by default all of them are checked.
    """
    problems = []
    for job_id in jobs if asked is None else asked:
        job = jobs[job_id]
        if job.after and (text := _problem(job, jobs)) is not None:
            problems.append((job_id, JobError(f"job {job_id!r}: {text}")))
    return problems


def removal_problem(job_id: str, downstream: Iterable[str]) -> JobError | None:
    """Return why a job cannot be removed: those others wait for it."""
    if not (waiting := sorted(downstream)):
        return None
    names = ", ".join(map(repr, waiting[:5])) + (f" and {len(waiting) - 5} more" if len(waiting) > 5 else "")
    return JobError(f"job {job_id!r} cannot be removed: {names} start after it; remove or change them first")


def _problem(job: Job, jobs: Mapping[str, Job]) -> str | None:
    if len(job.after) > MOST_UPSTREAM:
        return f"after has {len(job.after)} jobs, and {MOST_UPSTREAM} are allowed"
    for upstream in job.after:
        if upstream == job.id or job.after.count(upstream) > 1:
            return f"after names {'the job itself' if upstream == job.id else f'{upstream!r} twice'}"
        if upstream not in jobs:
            return f"after names {upstream!r}, and there is no such job{close_match(upstream, jobs)}"
    without = [upstream for upstream in job.after if not (jobs[upstream].has_schedule or jobs[upstream].after)]
    if without:
        return (
            f"after names {without[0]!r}, which has no schedule: it runs only when it is triggered, so its runs have "
            "no nominal times; give it a schedule"
        )
    if (cycle := _cycle(job.id, jobs)) is not None:
        return f"after makes a circle: {' after '.join(cycle)}"
    return None


def _cycle(start: str, jobs: Mapping[str, Job]) -> Sequence[str] | None:
    """Return the path from a job back to itself; None where there is none."""
    paths: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while paths:
        path = paths.pop()
        for upstream in jobs[path[-1]].after if path[-1] in jobs else ():
            if upstream == start:
                return (*path, start)
            if upstream not in seen:
                seen.add(upstream)
                paths.append((*path, upstream))
    return None
