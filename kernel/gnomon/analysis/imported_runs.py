"""Runs that another scheduler decided, imported or attached, and their explanation: no kernel decided them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from gnomon.analysis.asked_time import span_of
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.domain.statement import Statement, state
from gnomon.ports import Store

LONGEST_DELAY = timedelta(days=1)
"""How long after it was due a run may have begun, to be found by the time at which it was due."""
MOST_READ, MOST_EXPLAINED = 200, 12


async def explain_imported(store: Store, job_id: str, asked: datetime | date | None, zone: tzinfo) -> list[Statement]:
    """Return a statement about each imported run of a job at a time, or for the newest run of the job if it is one."""
    if asked is None:
        newest = await store.executions(ExecutionQuery(job_id=job_id, hidden=True, limit=1))
        return [imported_words(run) for run in newest.items if run.imported_from is not None]
    runs = await _imported_between(store, job_id, *span_of(asked, zone))
    more = [state("more_imported", count=len(runs) - MOST_EXPLAINED)]
    return [imported_words(run) for run in runs[:MOST_EXPLAINED]] + more * (len(runs) > MOST_EXPLAINED)


async def _imported_between(store: Store, job_id: str, since: datetime, until: datetime) -> list[Execution]:
    """Return the imported runs that were due, or began, from one moment to before another; oldest first."""
    query = ExecutionQuery(
        job_id=job_id, since=since - LONGEST_DELAY, until=until + LONGEST_DELAY, hidden=True, limit=MOST_READ
    )
    found = await store.executions(query)
    runs = [run for run in reversed(found.items) if run.imported_from is not None]
    return [run for run in runs if since <= run.scheduled_time < until or since <= run.timestamp < until]


def imported_words(run: Execution) -> Statement:
    """Return what the log says about an imported run."""
    took: dict[str, Any] = {"took_s": run.execution_time}
    error = (run.error_message or "no message").splitlines()[0]
    ends = {
        "success": state("it_succeeded", **took),
        "failed": state("it_failed", **took, reason=run.reason, error=error),
        "missed": state("it_was_missed", detail=run.detail or None),
        "cancelled": state("it_was_cancelled", **took),
        "running": state("it_is_running"),
        "scheduled": state("it_has_not_started"),
    }
    due = {"due_at": run.scheduled_time, "end": ends[run.status]}
    return state("imported", run=run.id, source=run.imported_from, **due)
