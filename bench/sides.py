"""The two sides of a burst and of a steady load: Gnomon on SQLite, and APScheduler without persistence."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from gnomon import Job, Kernel
from gnomon_sqlite import SqliteStore
from measure import percentile

Prepare = Callable[[AsyncIOScheduler], Callable[[], None]]
starts: list[float] = []


async def body() -> None:
    """Record the start time."""
    starts.append(time.time())


class TimedStore(SqliteStore):
    """Records when its last append became durable, and the number of events."""

    committed_at = 0.0
    events = 0

    async def append(self, events: Sequence[Any], *views: Any) -> None:
        """Append and record the time."""
        await super().append(events, *views)
        self.committed_at = time.time()
        self.events += len(events)


def triggers(jobs: int, due: datetime, every: float, spread: float = 0.0) -> list[IntervalTrigger]:
    """Return the triggers of both sides: recurring, all due at one instant or spread evenly over `spread` seconds.

    They count from the day before: Gnomon takes a start within the process's own time for one that APScheduler filled
    in, and counts from its own anchor instead, which is the same for all jobs.
    """
    first, shift = due - timedelta(days=1), timedelta(seconds=spread / jobs)
    return [IntervalTrigger(seconds=every, start_date=first + number * shift, timezone="UTC") for number in range(jobs)]


def lateness(due: datetime, ended: float, cpu: float) -> dict[str, float]:
    """Summarize a burst, in seconds after the common due time."""
    late = sorted(start - due.timestamp() for start in starts)
    return {
        "ran": len(late),
        "first_s": late[0] if late else 0.0,
        "p50_s": percentile(late, 50) if late else 0.0,
        "p99_s": percentile(late, 99) if late else 0.0,
        "all_started_s": late[-1] if late else 0.0,
        "all_done_s": ended - due.timestamp(),
        "cpu_us_per_run": cpu / max(len(late), 1) * 1e6,
    }


async def until(due: datetime) -> None:
    """Sleep until just before the due time; raise if it has passed, because the burst can no longer be measured."""
    left = (due - datetime.now(UTC)).total_seconds()
    if left <= 0.05:
        raise TooLateError
    await asyncio.sleep(left - 0.05)


class TooLateError(Exception):
    """The jobs could not be added before they were due."""


def with_lead(jobs: int, measured: Callable[[datetime], Mapping[str, float]]) -> Mapping[str, float]:
    """Measure with jobs due as soon as they can be added; retry with a longer lead time if that was too short."""
    lead = 0.5 + jobs / 4_000
    while True:
        try:
            return measured(datetime.now(UTC) + timedelta(seconds=lead))
        except TooLateError:
            lead *= 1.6


def gnomon_burst(jobs: int, max_running: int | None = None) -> Mapping[str, float]:
    """Run a burst with Gnomon on SQLite with synchronous=FULL."""
    return with_lead(jobs, lambda due: asyncio.run(_gnomon_burst(jobs, due, max_running)))


async def _gnomon_burst(jobs: int, due: datetime, max_running: int | None) -> Mapping[str, float]:
    starts.clear()
    hourly = [Job(id=f"job-{n}", func=body, trigger=trigger) for n, trigger in enumerate(triggers(jobs, due, 3600))]
    limit = {} if max_running is None else {"max_running": max_running}
    with tempfile.TemporaryDirectory() as folder:
        store = TimedStore(Path(folder) / "burst.db")
        async with Kernel(store=store, jobs=hourly, **limit) as kernel:
            await until(due)
            before = time.process_time()
            while len(starts) < jobs or kernel.health().backlog:  # noqa: ASYNC110 - polls health as operators do
                await asyncio.sleep(0.005)
            cpu = time.process_time() - before
            return lateness(due, store.committed_at, cpu)


def bare_burst(jobs: int, grace: int | None = None, prepare: Prepare | None = None) -> Mapping[str, float]:
    """Run a burst with APScheduler; `prepare` may add a listener."""
    return with_lead(jobs, lambda due: asyncio.run(_bare_burst(jobs, due, grace, prepare)))


async def _bare_burst(jobs: int, due: datetime, grace: int | None, prepare: Prepare | None) -> Mapping[str, float]:
    starts.clear()
    scheduler = AsyncIOScheduler(timezone="UTC")
    close = prepare(scheduler) if prepare is not None else None
    for n, trigger in enumerate(triggers(jobs, due, 3600)):
        scheduler.add_job(body, trigger, id=f"job-{n}", misfire_grace_time=grace)
    scheduler.start()
    await until(due)
    before, quiet = time.process_time(), 0
    # Skipped jobs never start: the burst is over when the loop, which it blocks for seconds, was idle for one.
    while len(starts) < jobs and quiet < 200:
        count = len(starts)
        await asyncio.sleep(0.005)
        quiet = quiet + 1 if len(starts) == count and time.time() > due.timestamp() else 0
    ended, cpu = time.time(), time.process_time() - before
    scheduler.shutdown()
    if close is not None:
        close()
    return lateness(due, max(starts, default=ended), cpu)


def committing_listener(scheduler: AsyncIOScheduler) -> Callable[[], None]:
    """Add a simple listener that commits each event to SQLite; return the function that closes it."""
    folder = tempfile.TemporaryDirectory()
    log = sqlite3.connect(Path(folder.name) / "events.db", isolation_level=None)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("PRAGMA synchronous = FULL")
    log.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL, job_id TEXT, code INTEGER)")

    def listen(event: Any) -> None:
        log.execute("INSERT INTO events (at, job_id, code) VALUES (?, ?, ?)", (time.time(), event.job_id, event.code))

    scheduler.add_listener(listen, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED)

    def close() -> None:
        log.close()
        folder.cleanup()

    return close
