"""The number of executions by status, counted exactly by the store.

Hidden ones count: hiding removes a record from lists, not from what happened.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from gnomon import ExecutionQuery, KernelApi
from gnomon.domain.execution import STATUSES, Status
from gnomon.wire.statistics import Counts


async def count(kernel: KernelApi, job_id: str | None = None, since: datetime | None = None) -> Counts:
    """Count the executions of a job, or of all jobs, from a moment on."""

    async def of(status: Status) -> int:
        query = ExecutionQuery(job_id=job_id, status=(status,), since=since, hidden=True, limit=1, brief=True)
        return (await kernel.executions(query)).total

    numbers = dict(zip(STATUSES, await asyncio.gather(*map(of, STATUSES)), strict=True))
    return Counts(total=sum(numbers.values()), **numbers)
