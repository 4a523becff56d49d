"""How many executions there are, by status: counted by the store, exactly.

Statistics are of what happened, so those count that are hidden: hiding takes a record out of lists only.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from gnomon import ExecutionQuery, Kernel
from gnomon.domain.execution import STATUSES
from gnomon_web.resources import Counts


async def count(kernel: Kernel, job_id: str | None = None, since: datetime | None = None) -> Counts:
    """Count the executions of a job, or of all, from a moment on."""

    async def of(status: str) -> int:
        query = ExecutionQuery(job_id=job_id, status=(status,), since=since, hidden=True, limit=1)  # type: ignore[arg-type]
        return (await kernel.executions(query)).total

    numbers = dict(zip(STATUSES, await asyncio.gather(*map(of, STATUSES)), strict=True))
    return Counts(total=sum(numbers.values()), **numbers)
