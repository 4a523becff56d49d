"""Refuses changes of jobs after which a job could not wait for others as its key `after` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.engine.job_table import JobTable
from gnomon.jobs.dependencies import check_dependencies, removal_problem
from gnomon.jobs.registered import RegisteredJob


def check_change(table: JobTable, wanted: Sequence[RegisteredJob], removed: Iterable[str] = ()) -> None:
    """Raise JobError for jobs that are added or changed, or removed, where `after` of a job does not allow it.

    It costs nothing for jobs that neither wait for others nor are waited for.
    """
    ids = {registered.job.id for registered in wanted}
    gone = {job_id for job_id in removed if job_id not in ids}
    for job_id in gone:
        if left := [one for one in table.downstream.get(job_id, ()) if one not in gone and one not in ids]:
            problem = removal_problem(job_id, left)
            assert problem is not None  # noqa: S101 - some are left
            raise problem
    asked = {registered.job.id for registered in wanted if registered.job.after}
    for job_id in ids:
        asked.update(one for one in table.downstream.get(job_id, ()) if one not in table.broken)  # those are held
    if asked := asked - gone:
        jobs = {registered.job.id: registered.job for registered in table if registered.job.id not in gone}
        jobs |= {registered.job.id: registered.job for registered in wanted}
        for _, problem in check_dependencies(jobs, sorted(asked)):
            raise problem
