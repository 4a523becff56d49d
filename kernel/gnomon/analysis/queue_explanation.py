"""Explain the time of a run in a queue of workers elsewhere."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.domain.events import Event, QueueResumed, QueueStalled, Started
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.domain.statement import Statement, state
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

MOST_HOLDERS = 200
"""Runs of each status among which those that take a slot are searched."""


async def slot_holders(store: Store, job_id: str | None = None) -> list[Execution]:
    """Return the newest runs, of one job or of all, that take a slot: they run, or wait in a queue elsewhere."""
    holders: list[Execution] = []
    for status in ("running", "scheduled"):
        query = ExecutionQuery(job_id=job_id, status=(status,), limit=MOST_HOLDERS, brief=True, counts=False)
        holders += [run for run in (await store.executions(query)).items if run.status == "running" or run.handed_to]
    return holders


def queue_of(run: Execution) -> Statement:
    """Return where a run that was handed over waits, or waited."""
    return state("queue_named", queue=run.queue) if run.queue else state("runner_named", runner=run.handed_to)


def queue_words(run: Execution, started: Started | None = None) -> list[Statement]:
    """Return when a run was handed over, which worker began it and with which code; nothing for one that was not."""
    if run.handed_to is None or run.handed_over_at is None:
        return []
    handed = {"queue": queue_of(run), "handed_at": run.handed_over_at}
    if run.status == "scheduled":
        why = f"{run.warning[0].upper()}{run.warning[1:].rstrip('.')}" if run.warning else None
        return [state("handed_waiting", **handed), *([state("warned", text=why)] if why else [])]
    if run.worker is None:
        return [state("handed_unbegun", **handed)]
    waited_s = (run.timestamp - run.handed_over_at).total_seconds()
    code = (started.code or None) if started is not None else None
    began = {"worker": run.worker or "a worker", "began_at": run.timestamp, "waited_s": waited_s, "code": code}
    return [state("handed_begun", **handed, **began)]


async def stall_words(store: Store, run: Execution, end: datetime) -> list[Statement]:
    """Return why the queue of a run stood still while the run waited in it, until `end`; nothing where it did not."""
    if run.handed_to is None or run.handed_over_at is None:
        return []

    def concerns(event: Event) -> bool:
        if not isinstance(event, QueueStalled | QueueResumed):
            return False
        return (event.runner, event.queue) == (run.handed_to, run.queue or "")

    fact = await newest_kernel_fact(store, end + timedelta(microseconds=1), concerns)
    if isinstance(fact, QueueStalled):
        return [state("queue_still", since_at=fact.at, why=fact.reason.rstrip("."))]
    if isinstance(fact, QueueResumed) and fact.at > run.handed_over_at:
        since = fact.at - timedelta(seconds=fact.seconds)
        return [state("queue_was_still", since_at=since, until_at=fact.at, why=fact.reason.rstrip("."))]
    return []
