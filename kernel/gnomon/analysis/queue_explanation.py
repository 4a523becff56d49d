"""Explain the time of a run in a queue of workers elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from gnomon.domain.events import Event, QueueResumed, QueueStalled, Started
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact
from gnomon.text import length

MOST_HOLDERS = 200
"""Runs of each status among which those that take a slot are searched."""


async def slot_holders(store: Store, job_id: str | None = None) -> list[Execution]:
    """Return the newest runs, of one job or of all, that take a slot: they run, or wait in a queue elsewhere."""
    holders: list[Execution] = []
    for status in ("running", "scheduled"):
        query = ExecutionQuery(job_id=job_id, status=(status,), limit=MOST_HOLDERS, brief=True, counts=False)
        holders += [run for run in (await store.executions(query)).items if run.status == "running" or run.handed_to]
    return holders


def queue_words(run: Execution, when: Callable[[datetime | None], str], started: Started | None = None) -> list[str]:
    """Return when a run was handed over, which worker began it and with which code; nothing for one that was not."""
    if run.handed_to is None or run.handed_over_at is None:
        return []
    queue = f"queue {run.queue}" if run.queue else f"runner {run.handed_to}"
    handed_over = f"It was handed over to {queue} at {when(run.handed_over_at)}"
    if run.status == "scheduled":
        why = [f"{run.warning[0].upper()}{run.warning[1:].rstrip('.')}."] if run.warning else []
        return [f"{handed_over}, and no worker has begun it.", *why]
    if run.worker is None:
        return [f"{handed_over}, and no worker began it."]
    waited = length(run.timestamp - run.handed_over_at)
    code = f", with {started.code}" if started is not None and started.code else ""
    return [f"{handed_over}, and {run.worker or 'a worker'} began it at {when(run.timestamp)}, {waited} later{code}."]


async def stall_words(store: Store, run: Execution, end: datetime, when: Callable[[datetime | None], str]) -> list[str]:
    """Return why the queue of a run stood still while the run waited in it, until `end`; nothing where it did not."""
    if run.handed_to is None or run.handed_over_at is None:
        return []

    def concerns(event: Event) -> bool:
        if not isinstance(event, QueueStalled | QueueResumed):
            return False
        return (event.runner, event.queue) == (run.handed_to, run.queue or "")

    fact = await newest_kernel_fact(store, end + timedelta(microseconds=1), concerns)
    if isinstance(fact, QueueStalled):
        return [f"The queue has stood still since {when(fact.at)}: {fact.reason.rstrip('.')}."]
    if isinstance(fact, QueueResumed) and fact.at > run.handed_over_at:
        since = fact.at - timedelta(seconds=fact.seconds)
        return [f"The queue stood still from {when(since)} to {when(fact.at)}: {fact.reason.rstrip('.')}."]
    return []
