"""Some fields of many jobs: what a page that shows a part of them needs, with the newest runs of each if it asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from aiohttp import web

from gnomon import ExecutionQuery, KernelApi
from gnomon.api import JobView
from gnomon.domain.records import JobScope
from gnomon.wire.recent_runs import RecentRun
from gnomon_web.app_keys import IDENTITY, kernel_of
from gnomon_web.http.read_shares import READ_SHARES
from gnomon_web.resources.job_answers import summary_fields
from gnomon_web.resources.last_executions import last_of

MOST_NAMED = 500
"""Jobs that a query names one by one; the newest runs of all jobs are read where more are wanted."""


async def chosen_fields(
    request: web.Request, views: Sequence[JobView], fields: Collection[str], most: int
) -> list[dict[str, Any]]:
    """Return the id and the chosen fields of each job, with up to `most` recent runs where `recent` is one of them."""
    job_ids = [view.job.id for view in views]
    last = await last_of(request, job_ids) if "last_execution" in fields else {}
    recent: dict[str, list[RecentRun]] = {}
    if "recent" in fields:
        kernel = kernel_of(request)
        recent = await request.app[READ_SHARES].slow(request[IDENTITY], lambda: recent_runs(kernel, job_ids, most))
    answers = []
    for view in views:
        job_id = view.job.id
        found = {"id": job_id, "recent": recent.get(job_id, [])}
        if not {"recent"}.issuperset(fields):
            found = summary_fields(view, last.get(job_id)) | found
        answers.append({name: found[name] for name in ("id", *fields)})
    return answers


async def recent_runs(kernel: KernelApi, job_ids: Sequence[str], most: int) -> dict[str, list[RecentRun]]:
    """Return the newest runs of each of these jobs, newest first, by one query of the store."""
    scope = JobScope(ids=frozenset(job_ids)) if len(job_ids) <= MOST_NAMED else None
    page = await kernel.executions(ExecutionQuery(scope=scope, per_job=most, brief=True))
    found: defaultdict[str, list[RecentRun]] = defaultdict(list)
    for execution in page.items:
        found[execution.job_id].append(RecentRun.of(execution))
    return found
