"""The runs of a store as its lists count them, and whether an import has added exactly those of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from gnomon.domain.execution import STATUSES
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.tasks import at_once

Cell: TypeAlias = tuple[str, str]
"""A job and a status; the job is empty where a store does not count by job."""


async def count_runs(store: Store) -> Counter[Cell]:
    """Count the runs by job and status, or by status alone in a store without fast statistics."""
    counted = await store.statistics()
    if counted is not None:
        return Counter({(job.job_id, status): n for job in counted for status, n in job.by_status.items()})
    queries = [ExecutionQuery(status=(status,), hidden=True, limit=1, brief=True) for status in STATUSES]
    pages = await at_once(*map(store.executions, queries))
    return Counter({("", status): page.total for status, page in zip(STATUSES, pages, strict=True)})


def by_status(counts: Mapping[Cell, int]) -> dict[str, int]:
    """Return the runs by status."""
    found: Counter[str] = Counter()
    for (_, status), n in counts.items():
        found[status] += n
    return {status: found[status] for status in STATUSES if found[status]}


def wrong_counts(before: Mapping[Cell, int], changes: Mapping[Cell, int], after: Mapping[Cell, int]) -> list[str]:
    """Return where the runs of a store are not those that it had with those of the events since, one line each."""
    expected = Counter(before)
    is_by_job = any(job for job, _ in {**before, **after})
    for (job_id, status), n in changes.items():
        expected[job_id if is_by_job else "", status] += n
    cells = sorted(cell for cell in {**expected, **after} if expected[cell] != after.get(cell, 0))
    return [
        f"the store counts {after.get((job, status), 0):,} runs{f' of {job}' if job else ''} with the status {status}, "
        f"its events have {expected[job, status]:,}"
        for job, status in cells
    ]
