"""The runs with which several benchmarks fill a log: the same ones each time, 2 % failed and 1 % missed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon import Event, Execution, Failed, Missed, Scheduled, Started, Store, Succeeded
from gnomon.domain.execution import execution_id
from gnomon.testing.histories import numbered
from gnomon_sqlite.connection import transaction
from gnomon_sqlite.file import log_file
from gnomon_sqlite.views import projection_writer

BATCH = 5_000


def runs(count: int, jobs: Sequence[str], begin: datetime, step: timedelta) -> Iterator[Execution]:
    """Yield ended runs of all jobs in turn, `step` apart; 5 % of them were triggered by 20 actors, 0.1 % began late."""
    chance = random.Random(7)  # noqa: S311 - the same log each time
    for number in range(count):
        job_id, at, draw = jobs[number % len(jobs)], begin + number * step, chance.random()
        status: Any = "failed" if draw < 0.02 else "missed" if draw < 0.03 else "success"
        took = None if status == "missed" else round(chance.uniform(1, 9), 3)
        is_manual = chance.random() < 0.05
        yield Execution(
            id=execution_id(job_id, at),
            job_id=job_id,
            job_name=job_id,
            status=status,
            version=1 if status == "missed" else 3,
            scheduled_time=at,
            timestamp=at,
            updated_at=at + timedelta(seconds=took or 0),
            is_manual=is_manual,
            actor=f"actor-{number % 20}" if is_manual else None,
            delay=None if status == "missed" else 90.0 if number % 1_000 == 7 else 0.001 * (number % 10),
            node="bench",
            runner="async",
            execution_time=took,
            error_message=f"no answer from shard {number % 17}" if status == "failed" else None,
            return_value={"rows": number} if status == "success" else None,
        )


def fill(path: Path, executions: Iterator[Execution]) -> None:
    """Write executions to a new log as the store flushes them; without events, because lists do not read them."""
    with closing(log_file.open_writer(path, "NORMAL")) as log:
        for views in batches(executions):
            with transaction(log):
                projection_writer.put_executions(log, views, {view.id: (view.version, 0) for view in views})


async def append(store: Store, executions: Iterator[Execution]) -> None:
    """Append the events of ended runs to an open log, as a kernel would have."""
    for views in batches(executions):
        batch = numbered(*map(_history, views), after=await store.head())
        await store.append(batch, views, [])


def batches(executions: Iterator[Execution]) -> Iterator[list[Execution]]:
    """Yield executions in lists of BATCH."""
    while views := list(itertools.islice(executions, BATCH)):
        yield views


def _history(run: Execution) -> Iterator[Event]:
    place: dict[str, Any] = {"stream": run.id, "node": run.node, "job_id": run.job_id}
    first = {**place, "version": 1, "at": run.timestamp, "scheduled_time": run.scheduled_time, "job_name": run.job_name}
    if run.status == "missed":
        yield Missed(**first, reason="late")
        return
    yield Scheduled(**first, is_manual=run.is_manual)
    yield Started(**place, version=2, at=run.timestamp, runner="async", delay=run.delay or 0.0)
    end: dict[str, Any] = {**place, "version": 3, "at": run.updated_at, "execution_time": run.execution_time}
    if run.status == "failed":
        yield Failed(**end, reason="exception", error_type="OSError", error_message=run.error_message)
    else:
        yield Succeeded(**end, return_value=run.return_value)
