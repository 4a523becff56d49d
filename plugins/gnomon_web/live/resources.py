"""What a dashboard shows, in the form of the REST calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gnomon import Execution, Kernel


async def job_resources(kernel: Kernel, job_ids: Collection[str] | None) -> dict[str, Any]:
    """Return jobs by id: these, or all."""
    views = [view for view in await kernel.jobs() if job_ids is None or view.job.id in job_ids]
    return {view.job.id: {"id": view.job.id, "paused": view.state.paused, "running": view.running} for view in views}


def execution_record(execution: Execution) -> Any:
    """Return the record of an execution."""
    return {
        "_id": execution.id,
        "job_id": execution.job_id,
        "status": execution.status,
        "version": execution.version,
        "progress": execution.progress.percent,
    }


async def health_resource(kernel: Kernel) -> Any:
    """Return how the kernel is doing."""
    return {"state": kernel.health().state}
