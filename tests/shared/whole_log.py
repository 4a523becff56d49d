"""A log with something of everything, and everything that can be read from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gnomon import Store
from gnomon.domain.events import JobPaused
from gnomon.domain.records import ActionQuery, Checkpoint, ExecutionQuery, LogLine
from gnomon.testing.histories import NOON, SECOND, append, extend, failed, job_added, running, succeeded


async def various(store: Store, runs: int = 4) -> None:
    """Write a log with something of everything."""
    job = job_added("sync")
    await append(store, job)
    await append(store, extend(job, JobPaused, actor="me")[-1:])
    for n in range(runs):
        await append(store, succeeded(at=NOON + n * SECOND), failed("bad", NOON + n * SECOND))
    await append(store, running("slow", NOON))
    stream = (await store.read())[2].stream
    await store.append_log(stream, [LogLine(k, NOON, "info", f"line {k}") for k in (1, 2, 3)])
    await store.save_checkpoint("stats", Checkpoint(4, b"a view"))


async def everything(store: Store) -> dict[str, Any]:
    """Return all that can be read."""
    events = await store.read()
    page = await store.executions(ExecutionQuery(limit=1000))
    streams = sorted({event.stream for event in events if not event.stream.startswith("job:")})
    return {
        "events": events,
        "executions": page,
        "of one job": await store.executions(ExecutionQuery(limit=1000, job_id="sync")),
        "failed": await store.executions(ExecutionQuery(limit=1000, status=("failed",))),
        "by text": await store.executions(ExecutionQuery(limit=1000, text="boom")),
        "one by one": [await store.execution(stream) for stream in streams],
        "streams": [await store.stream(stream) for stream in sorted({event.stream for event in events})],
        "jobs": await store.jobs(),
        "actions": await store.actions(ActionQuery()),
        "job events": await store.job_events("sync", NOON - timedelta(days=1), NOON + timedelta(days=1)),
        "lines": [await store.log(stream) for stream in streams],
        "checkpoint": await store.checkpoint("stats"),
    }
