"""Runs that the bodies of other runs triggered, and their explanation: no schedule decided them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, tzinfo

from gnomon.analysis.asked_time import span_of
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.text import length, moment

MOST_READ, MOST_EXPLAINED = 200, 12


async def explain_triggered(store: Store, job_id: str, asked: datetime | date | None, zone: tzinfo) -> list[str]:
    """Return a sentence for each run of a job at a time that a run triggered, or for the newest run if it is one."""
    if asked is None:
        query = ExecutionQuery(job_id=job_id, hidden=True, limit=1)
    else:
        since, until = span_of(asked, zone)
        query = ExecutionQuery(job_id=job_id, since=since, until=until, hidden=True, limit=MOST_READ)
    found = (await store.executions(query)).items
    runs = [run for run in reversed(found) if run.triggered_by is not None and run.attempt == 1]
    sentences = [await _sentence(store, run, zone) for run in runs[:MOST_EXPLAINED]]
    more = [f"{len(runs) - MOST_EXPLAINED} more runs were triggered by other runs; ask about one by its time."]
    return sentences + more * (len(runs) > MOST_EXPLAINED)


async def first_attempt(store: Store, run: Execution) -> Execution:
    """Return the first attempt of a run, or the oldest one that the log still has."""
    while run.retry_of is not None and (before := await store.execution(run.retry_of)) is not None:
        run = before
    return run


async def triggered_words(store: Store, run: Execution, when: Callable[[datetime | None], str]) -> str:
    """Return who or what made a run that is not the run of a fire, in a sentence."""
    by = f" by {run.actor}" if run.actor else ""
    if run.cause == "backfill":
        return f"Run {run.id} was made by a backfill{by}, for the fire of {when(run.scheduled_time)}."
    if run.cause == "at_start":
        return f"Run {run.id} was made at the start of a kernel, at {when(run.scheduled_time)}."
    if run.triggered_by is not None:
        parent = await store.execution(run.triggered_by)
        of_job = f" of job {parent.job_id}" if parent is not None else ", which was pruned"
        by = f" by run {run.triggered_by}{of_job}"
    forced = ", with guards skipped" if run.force else ""
    return f"Run {run.id} of {run.job_id} was triggered at {when(run.scheduled_time)}{by}{forced}."


async def _sentence(store: Store, run: Execution, zone: tzinfo) -> str:
    parent = await store.execution(run.triggered_by or "")
    of_job = f" of job {parent.job_id}" if parent is not None else ", which was pruned"
    took = f" after {length(run.execution_time)}" if run.execution_time is not None else ""
    ends = {"success": f"It succeeded{took}", "failed": f"It failed{took} ({run.reason})", "running": "It is running"}
    ends |= {"missed": f"It was missed ({run.reason})", "cancelled": "It was cancelled", "scheduled": "It waits"}
    if run.not_before is not None:
        ends["scheduled"] = f"It waits; it may start from {moment(run.not_before, zone, seconds=True)} on"
    if run.snoozed_until is not None:
        until = moment(run.snoozed_until, zone, seconds=True)
        ends["cancelled"] = f"It snoozed{took} until {until}, and run {run.snoozed_to} takes its place"
    at = moment(run.scheduled_time, zone, seconds=True)
    return f"Run {run.id} was triggered at {at} by run {run.triggered_by}{of_job}. {ends[run.status]}."
