"""Which job ids mean something: those of the jobs there are, and of those that were and left executions behind."""

from __future__ import annotations

from gnomon import ExecutionQuery, Kernel, UnknownJobError


async def expect_job(kernel: Kernel, job_id: str) -> None:
    """Raise UnknownJobError for an id that no job has or had."""
    try:
        await kernel.job(job_id)
    except UnknownJobError:
        if not (await kernel.executions(ExecutionQuery(job_id=job_id, limit=1))).total:
            raise
