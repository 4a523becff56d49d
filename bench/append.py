"""Committed events a second, sustained, against raw sqlite3 that writes the same rows into the same tables and indexes.

python bench/append.py [--seconds 30] [--jobs 1000] [--normal 0]

Both sides write what bursts of `jobs` runs lead to: three events and a view for each run, in commits of some 600
events. The raw side has all of it as rows beforehand, so it does nothing but execute and commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon_sqlite import SqliteStore, log_file
from measure import alternate, arguments, median, quartiles, ratios, report

RUNS = 200
"""Runs that begin in one commit; those of the commit before end in it."""
Batch = tuple[Sequence[Event], Sequence[Execution], Sequence[JobState]]
BEGUN = datetime(2026, 12, 1, tzinfo=UTC)


def batches(jobs: int) -> Iterator[Batch]:
    """Make batch after batch as the journal does: begin runs, and end those of the batch before."""
    position, going = 0, list[Execution]()
    states = {f"job-{n}": JobState(job_id=f"job-{n}", anchor=BEGUN) for n in range(jobs)}
    for number in range(1_000_000):
        told: list[Event] = []
        views, changed = {}, []
        for n in range(RUNS):
            fire = BEGUN + timedelta(seconds=(number * RUNS + n) // jobs)
            job_id = f"job-{(number * RUNS + n) % jobs}"
            place = {"stream": execution.execution_id(job_id, fire), "at": fire, "node": "bench", "job_id": job_id}
            told.append(events.Scheduled(position=position + 1, version=1, scheduled_time=fire, **place))
            told.append(events.Started(position=position + 2, version=2, runner="async", worker="pid 1", **place))
            position += 2
            view = execution.begin(told[-2])
            view.apply(told[-1])
            views[view.id] = view
            states[job_id].apply(told[-2])
            changed.append(states[job_id].__copy__())
        begun = list(views.values())
        for view in going:
            position += 1
            place = {"stream": view.id, "at": view.timestamp, "node": "bench", "job_id": view.job_id}
            told.append(events.Succeeded(position=position, version=3, execution_time=0.001, **place))
            view.apply(told[-1])
            views[view.id] = view
        going = begun
        yield told, [view.__copy__() for view in views.values()], changed


class Recorded(sqlite3.Connection):
    """Remembers what is executed."""

    told: list[tuple[str, Any]]

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # type: ignore[override]
        """Execute, and remember it."""
        self.told.append((sql, parameters))
        return super().execute(sql, parameters)


def statements(told: Sequence[Batch], folder: Path) -> list[tuple[str, Any]]:
    """Record what the store executes, from the first append until all views are flushed."""
    return asyncio.run(_statements(told, folder))


async def _statements(told: Sequence[Batch], folder: Path) -> list[tuple[str, Any]]:
    connect, recorded = log_file.connect, {sqlite3.Connection: Recorded}
    log_file.connect = lambda path, mode, kind: connect(path, mode, recorded.get(kind, kind))  # type: ignore[assignment]
    Recorded.told = []
    try:
        async with SqliteStore(folder / "recorded.db") as store:
            Recorded.told.clear()
            for batch in told:
                await store.append(*batch)
    finally:
        log_file.connect = connect
    return Recorded.told


def gnomon(told: Sequence[Batch], synchronous: log_file.Synchronous) -> Mapping[str, float]:
    """Append through the store, until all views are flushed."""
    return asyncio.run(_gnomon(told, synchronous))


async def _gnomon(told: Sequence[Batch], synchronous: log_file.Synchronous) -> Mapping[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "append.db", synchronous=synchronous) as store:
            before = time.perf_counter()
            for batch in told:
                await store.append(*batch)
        return {"events_per_s": sum(len(batch[0]) for batch in told) / (time.perf_counter() - before)}


def raw(
    told: Sequence[Batch], executed: Sequence[tuple[str, Any]], synchronous: log_file.Synchronous
) -> Mapping[str, float]:
    """Execute what was recorded, with sqlite3 and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_file.open_writer(Path(folder) / "raw.db", synchronous)
        before = time.perf_counter()
        for sql, parameters in executed:
            log.execute(sql, parameters)
        log.close()
        spent = time.perf_counter() - before
    return {"events_per_s": sum(len(batch[0]) for batch in told) / spent}


def main() -> None:
    """Measure and print."""
    asked = arguments("Sustained appends.", events=150_000, jobs=1_000, pairs=9, normal=0)
    synchronous: log_file.Synchronous = "NORMAL" if asked.normal else "FULL"
    told, some = [], batches(asked.jobs)
    while sum(len(batch[0]) for batch in told) < asked.events:
        told.append(next(some))
    with tempfile.TemporaryDirectory() as folder:
        executed = statements(told, Path(folder))
    pairs = alternate(lambda: gnomon(told, synchronous), lambda: raw(told, executed, synchronous), asked.pairs)
    share = quartiles(ratios(pairs, "events_per_s"))
    report(
        f"append, synchronous={synchronous}",
        f"The SQLite store commits {median([pair[0] for pair in pairs], 'events_per_s'):,.0f} events a second with "
        f"their views, {share['median']} of what sqlite3 alone does with the very same statements "
        f"({median([pair[1] for pair in pairs], 'events_per_s'):,.0f}), synchronous={synchronous}.",
        pairs=len(pairs),
        share_of_raw_sqlite=share,
    )


if __name__ == "__main__":
    main()
