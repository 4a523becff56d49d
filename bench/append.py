"""Sustained committed events per second, against raw sqlite3 writing the same rows to the same tables and indexes.

python bench/append.py [--seconds 30] [--jobs 1000] [--normal 0]

Both sides write what bursts of `jobs` runs produce: three events and a view per run, in commits of about 600 events.
The raw side starts from prepared rows, so it only executes and commits.
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
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.file import log_file
from measure import alternate, arguments, median, quartiles, ratios, report

RUNS = 200
"""Runs that start in one commit; those of the previous commit end in it."""
Batch = tuple[Sequence[Event], Sequence[Execution], Sequence[JobState]]
BEGUN = datetime(2026, 12, 1, tzinfo=UTC)


def batches(jobs: int) -> Iterator[Batch]:
    """Yield batches like those of the journal: each starts runs and ends those of the previous batch."""
    position, active = 0, list[Execution]()
    states = {f"job-{n}": JobState(job_id=f"job-{n}", anchor=BEGUN) for n in range(jobs)}
    for number in range(1_000_000):
        new: list[Event] = []
        views, changed = {}, []
        for n in range(RUNS):
            fire = BEGUN + timedelta(seconds=(number * RUNS + n) // jobs)
            job_id = f"job-{(number * RUNS + n) % jobs}"
            place = {"stream": execution.execution_id(job_id, fire), "at": fire, "node": "bench", "job_id": job_id}
            new.append(events.Scheduled(position=position + 1, version=1, scheduled_time=fire, **place))
            new.append(events.Started(position=position + 2, version=2, runner="async", worker="pid 1", **place))
            position += 2
            view = execution.begin(new[-2])
            view.apply(new[-1])
            views[view.id] = view
            states[job_id].apply(new[-2])
            changed.append(states[job_id].__copy__())
        started = list(views.values())
        for view in active:
            position += 1
            place = {"stream": view.id, "at": view.timestamp, "node": "bench", "job_id": view.job_id}
            new.append(events.Succeeded(position=position, version=3, execution_time=0.001, **place))
            view.apply(new[-1])
            views[view.id] = view
        active = started
        yield new, [view.__copy__() for view in views.values()], changed


class Recorded(sqlite3.Connection):
    """A connection that records its statements."""

    executed: list[tuple[str, Any]]

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # type: ignore[override]
        """Record and execute a statement."""
        self.executed.append((sql, parameters))
        return super().execute(sql, parameters)


def statements(appended: Sequence[Batch], folder: Path) -> list[tuple[str, Any]]:
    """Return the statements of the store, from the first append until all views are flushed."""
    return asyncio.run(_statements(appended, folder))


async def _statements(appended: Sequence[Batch], folder: Path) -> list[tuple[str, Any]]:
    connect, recorded = log_file.connect, {sqlite3.Connection: Recorded}
    log_file.connect = lambda path, mode, kind: connect(path, mode, recorded.get(kind, kind))  # type: ignore[assignment]
    Recorded.executed = []
    try:
        async with SqliteStore(folder / "recorded.db") as store:
            Recorded.executed.clear()
            for batch in appended:
                await store.append(*batch)
    finally:
        log_file.connect = connect
    return Recorded.executed


def gnomon(appended: Sequence[Batch], synchronous: log_file.Synchronous) -> Mapping[str, float]:
    """Append through the store until all views are flushed."""
    return asyncio.run(_gnomon(appended, synchronous))


async def _gnomon(appended: Sequence[Batch], synchronous: log_file.Synchronous) -> Mapping[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "append.db", synchronous=synchronous) as store:
            before = time.perf_counter()
            for batch in appended:
                await store.append(*batch)
        return {"events_per_s": sum(len(batch[0]) for batch in appended) / (time.perf_counter() - before)}


def raw(
    appended: Sequence[Batch], executed: Sequence[tuple[str, Any]], synchronous: log_file.Synchronous
) -> Mapping[str, float]:
    """Execute the recorded statements with plain sqlite3."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_file.open_writer(Path(folder) / "raw.db", synchronous)
        before = time.perf_counter()
        for sql, parameters in executed:
            log.execute(sql, parameters)
        log.close()
        spent = time.perf_counter() - before
    return {"events_per_s": sum(len(batch[0]) for batch in appended) / spent}


def main() -> None:
    """Measure and print."""
    asked = arguments("Sustained appends.", events=150_000, jobs=1_000, pairs=9, normal=0)
    synchronous: log_file.Synchronous = "NORMAL" if asked.normal else "FULL"
    appended, more = [], batches(asked.jobs)
    while sum(len(batch[0]) for batch in appended) < asked.events:
        appended.append(next(more))
    with tempfile.TemporaryDirectory() as folder:
        executed = statements(appended, Path(folder))
    pairs = alternate(lambda: gnomon(appended, synchronous), lambda: raw(appended, executed, synchronous), asked.pairs)
    share = quartiles(ratios(pairs, "events_per_s"))
    report(
        f"append, synchronous={synchronous}",
        f"The SQLite store commits {median([pair[0] for pair in pairs], 'events_per_s'):,.0f} events per second with "
        f"their views, {share['median']} of the rate of plain sqlite3 with the same statements "
        f"({median([pair[1] for pair in pairs], 'events_per_s'):,.0f}), synchronous={synchronous}.",
        pairs=len(pairs),
        share_of_raw_sqlite=share,
    )


if __name__ == "__main__":
    main()
