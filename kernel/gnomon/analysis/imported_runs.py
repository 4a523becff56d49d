"""Runs that another scheduler decided, imported or attached, and their explanation: no kernel decided them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

from gnomon.analysis.asked_time import span_of
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.text import length, moment

LONGEST_DELAY = timedelta(days=1)
"""How long after it was due a run may have begun, to be found by the time at which it was due."""
MOST_READ, MOST_EXPLAINED = 200, 12


async def explain_imported(store: Store, job_id: str, asked: datetime | date | None, zone: tzinfo) -> list[str]:
    """Return a sentence for each imported run of a job at a time, or for the newest run of the job if it is one."""
    if asked is None:
        newest = await store.executions(ExecutionQuery(job_id=job_id, hidden=True, limit=1))
        return [imported_words(run, zone) for run in newest.items if run.imported_from is not None]
    runs = await _imported_between(store, job_id, *span_of(asked, zone))
    more = [f"{len(runs) - MOST_EXPLAINED} more runs were imported; ask about one by its time."]
    return [imported_words(run, zone) for run in runs[:MOST_EXPLAINED]] + more * (len(runs) > MOST_EXPLAINED)


async def _imported_between(store: Store, job_id: str, since: datetime, until: datetime) -> list[Execution]:
    """Return the imported runs that were due, or began, from one moment to before another; oldest first."""
    query = ExecutionQuery(
        job_id=job_id, since=since - LONGEST_DELAY, until=until + LONGEST_DELAY, hidden=True, limit=MOST_READ
    )
    found = await store.executions(query)
    runs = [run for run in reversed(found.items) if run.imported_from is not None]
    return [run for run in runs if since <= run.scheduled_time < until or since <= run.timestamp < until]


def imported_words(run: Execution, zone: tzinfo) -> str:
    """Return what the log says about an imported run, in a sentence."""
    took = f" after {length(run.execution_time)}" if run.execution_time is not None else ""
    message = (run.error_message or "no message").splitlines()[0]
    ends = {"success": f"it succeeded{took}", "failed": f"it failed{took} ({run.reason}): {message}"}
    ends |= {
        "missed": f"it was missed{f': {run.detail}' if run.detail else ''}",
        "cancelled": f"it was cancelled{took}",
    }
    ends |= {"running": "it is running", "scheduled": "it has not started"}
    return (
        f"Run {run.id} was recorded from {run.imported_from}: it was due at {moment(run.scheduled_time, zone)}, and "
        f"{ends[run.status]}. No kernel decided it, so the log knows no more about it."
    )
