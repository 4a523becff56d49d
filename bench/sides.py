"""The two sides of a burst and of a steady load: Gnomon on SQLite, and APScheduler that persists nothing."""

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
from measure import centile

Prepare = Callable[[AsyncIOScheduler], Callable[[], None]]
starts: list[float] = []


async def body() -> None:
    """Do nothing but tell when it started."""
    starts.append(time.time())


class TimedStore(SqliteStore):
    """Knows when its last append was durable, and how much it has taken."""

    committed_at = 0.0
    events = 0

    async def append(self, events: Sequence[Any], *views: Any) -> None:
        """Append, and take the time."""
        await super().append(events, *views)
        self.committed_at = time.time()
        self.events += len(events)


def triggers(jobs: int, due: datetime, every: float, spread: float = 0.0) -> list[IntervalTrigger]:
    """Make the triggers that both sides get: recurring ones, all due at one instant, or spread evenly over a time."""
    shift = timedelta(seconds=spread / jobs)
    return [IntervalTrigger(seconds=every, start_date=due + number * shift, timezone="UTC") for number in range(jobs)]


def lateness(due: datetime, ended: float, cpu: float) -> dict[str, float]:
    """Sum up a burst: seconds after the instant at which all were due."""
    late = sorted(start - due.timestamp() for start in starts)
    return {
        "ran": len(late),
        "first_s": late[0] if late else 0.0,
        "p50_s": centile(late, 50) if late else 0.0,
        "p99_s": centile(late, 99) if late else 0.0,
        "all_started_s": late[-1] if late else 0.0,
        "all_done_s": ended - due.timestamp(),
        "cpu_us_per_run": cpu / max(len(late), 1) * 1e6,
    }


async def until(due: datetime) -> None:
    """Sleep until just before all are due; a burst that is due already cannot be measured."""
    left = (due - datetime.now(UTC)).total_seconds()
    if left <= 0.05:
        raise TooLateError
    await asyncio.sleep(left - 0.05)


class TooLateError(Exception):
    """The jobs could not be added before they were due."""


def with_lead(jobs: int, measured: Callable[[datetime], Mapping[str, float]]) -> Mapping[str, float]:
    """Measure with jobs that are due as soon as they can be added; where that takes longer, with a longer lead."""
    lead = 0.5 + jobs / 4_000
    while True:
        try:
            return measured(datetime.now(UTC) + timedelta(seconds=lead))
        except TooLateError:
            lead *= 1.6


def gnomon_burst(jobs: int, max_running: int | None = None) -> Mapping[str, float]:
    """Let Gnomon run a burst on SQLite with synchronous=FULL."""
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
            while len(starts) < jobs or kernel.health().backlog:  # noqa: ASYNC110 - it polls what operators poll
                await asyncio.sleep(0.005)
            cpu = time.process_time() - before
            return lateness(due, store.committed_at, cpu)


def bare_burst(jobs: int, grace: int | None = None, prepare: Prepare | None = None) -> Mapping[str, float]:
    """Let APScheduler run a burst; `prepare` may give it a listener."""
    return with_lead(jobs, lambda due: asyncio.run(_bare_burst(jobs, due, grace, prepare)))


async def _bare_burst(jobs: int, due: datetime, grace: int | None, prepare: Prepare | None) -> Mapping[str, float]:
    starts.clear()
    scheduler = AsyncIOScheduler(timezone="UTC")
    let_go = prepare(scheduler) if prepare is not None else None
    for n, trigger in enumerate(triggers(jobs, due, 3600)):
        scheduler.add_job(body, trigger, id=f"job-{n}", misfire_grace_time=grace)
    scheduler.start()
    await until(due)
    before, quiet = time.process_time(), 0
    # What it drops never starts: it is over when the loop, which a burst blocks for seconds, has been free for one.
    while len(starts) < jobs and quiet < 200:
        count = len(starts)
        await asyncio.sleep(0.005)
        quiet = quiet + 1 if len(starts) == count and time.time() > due.timestamp() else 0
    ended, cpu = time.time(), time.process_time() - before
    scheduler.shutdown()
    if let_go is not None:
        let_go()
    return lateness(due, max(starts, default=ended), cpu)


def committing_listener(scheduler: AsyncIOScheduler) -> Callable[[], None]:
    """Give APScheduler what one writes first: a listener that commits each event to SQLite."""
    folder = tempfile.TemporaryDirectory()
    log = sqlite3.connect(Path(folder.name) / "events.db", isolation_level=None)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("PRAGMA synchronous = FULL")
    log.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL, job_id TEXT, code INTEGER)")

    def listen(event: Any) -> None:
        log.execute("INSERT INTO events (at, job_id, code) VALUES (?, ?, ?)", (time.time(), event.job_id, event.code))

    scheduler.add_listener(listen, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED)

    def let_go() -> None:
        log.close()
        folder.cleanup()

    return let_go
