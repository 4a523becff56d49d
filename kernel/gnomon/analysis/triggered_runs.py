"""Runs that the bodies of other runs triggered, and their explanation: no schedule decided them."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import Any

from gnomon.analysis.asked_time import span_of
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.domain.statement import Statement, state
from gnomon.ports import Store

MOST_READ, MOST_EXPLAINED = 200, 12


async def explain_triggered(store: Store, job_id: str, asked: datetime | date | None, zone: tzinfo) -> list[Statement]:
    """Return a statement about each run of a job at a time that a run triggered, or for the newest run if it is one."""
    if asked is None:
        query = ExecutionQuery(job_id=job_id, hidden=True, limit=1)
    else:
        since, until = span_of(asked, zone)
        query = ExecutionQuery(job_id=job_id, since=since, until=until, hidden=True, limit=MOST_READ)
    found = (await store.executions(query)).items
    runs = [run for run in reversed(found) if run.triggered_by is not None and run.attempt == 1]
    found_runs = [await _by_run(store, run) for run in runs[:MOST_EXPLAINED]]
    more = [state("more_triggered", count=len(runs) - MOST_EXPLAINED)]
    return found_runs + more * (len(runs) > MOST_EXPLAINED)


async def first_attempt(store: Store, run: Execution) -> Execution:
    """Return the first attempt of a run, or the oldest one that the log still has."""
    while run.retry_of is not None and (before := await store.execution(run.retry_of)) is not None:
        run = before
    return run


async def triggered_words(store: Store, run: Execution) -> Statement:
    """Return who or what made a run that is not the run of a fire."""
    due = {"run": run.id, "due_at": run.scheduled_time}
    if run.cause == "backfill":
        return state("by_backfill", actor=run.actor or None, **due)
    if run.cause == "at_start":
        return state("at_start", **due)
    by = await _parent(store, run.triggered_by) if run.triggered_by is not None else run.actor or None
    return state("triggered_forced" if run.force else "triggered", job=run.job_id, by=by, **due)


async def _parent(store: Store, run_id: str) -> Statement:
    parent = await store.execution(run_id)
    return state("run_of_job", run=run_id, job=parent.job_id) if parent is not None else state("pruned_run", run=run_id)


async def _by_run(store: Store, run: Execution) -> Statement:
    took: dict[str, Any] = {"took_s": run.execution_time}
    ends = {
        "success": state("succeeded", **took),
        "failed": state("only_failed", **took, reason=run.reason),
        "running": state("only_running"),
        "missed": state("only_missed", reason=run.reason),
        "cancelled": state("only_cancelled"),
        "scheduled": state("only_waits", from_at=run.not_before),
    }
    if run.snoozed_until is not None:
        ends["cancelled"] = state("only_snoozed", **took, until_at=run.snoozed_until, next=run.snoozed_to)
    by = await _parent(store, run.triggered_by or "")
    return state("triggered_by_run", run=run.id, due_at=run.scheduled_time, by=by, end=ends[run.status])
