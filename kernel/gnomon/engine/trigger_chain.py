"""Chains of runs, each triggered by the body of the one before: how long they may be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gnomon.domain.execution import Execution
from gnomon.errors import TriggerDepthError, UnknownExecutionError

MAX_DEPTH = 32
"""How many runs of a chain may trigger the next one. Longer chains are loops, which would fill the log."""
SHOWN = 6
"""Jobs at the end of a chain that the error names."""

Find = Callable[[str], Awaitable[Execution | None]]


async def link_to(find: Find, triggered_by: str | None, job_id: str) -> dict[str, Any]:
    """Return the facts that link a run to the one that triggers it; none where no run does.

    UnknownExecutionError for an unknown run, TriggerDepthError where its chain is as long as it may be.
    """
    if triggered_by is None:
        return {}
    if (parent := await find(triggered_by)) is None:
        raise UnknownExecutionError(triggered_by)
    if parent.trigger_depth >= MAX_DEPTH:
        raise TriggerDepthError(triggered_by, job_id, MAX_DEPTH, [*await _jobs_before(find, parent), job_id])
    return {"triggered_by": triggered_by, "trigger_depth": parent.trigger_depth + 1}


async def _jobs_before(find: Find, run: Execution) -> list[str]:
    jobs, before = [run.job_id], run.triggered_by
    while before is not None and len(jobs) < SHOWN and (found := await find(before)) is not None:
        jobs.append(found.job_id)
        before = found.triggered_by
    return jobs[::-1]
