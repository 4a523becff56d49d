"""Start many jobs that are due at one instant, with bodies of 1 ms: how soon, and how free does the loop stay.

    python bench/burst.py [JOBS] [MAX_RUNNING]

Runs on a SQLite log with synchronous=FULL in a temporary folder, prints one JSON line and one sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from gnomon import ExecutionQuery, Job, Kernel
from gnomon_sqlite import SqliteStore

starts: list[float] = []


async def body() -> None:
    """Take the time at which it starts, and a millisecond."""
    starts.append(time.time())
    await asyncio.sleep(0.001)


async def burst(jobs: int, max_running: int, folder: Path) -> dict[str, float]:
    """Run the burst; times are milliseconds after the instant at which all jobs are due."""
    due = datetime.now(UTC) + timedelta(seconds=3 + jobs / 5_000)
    all_jobs = [Job(id=f"job-{number}", func=body, at=due) for number in range(jobs)]
    async with Kernel(store=SqliteStore(folder / "burst.db"), jobs=all_jobs, max_running=max_running) as kernel:
        if datetime.now(UTC) >= due:
            sys.exit("the jobs could not be added before they were due: take fewer")
        await asyncio.sleep((due - datetime.now(UTC)).total_seconds() - 0.2)
        lags: list[float] = []
        watching = asyncio.create_task(watch(lags))
        while (health := kernel.health()).running or health.waiting or health.backlog or len(starts) < jobs:  # noqa: ASYNC110 - it polls what operators poll
            await asyncio.sleep(0.05)
        done = time.time()
        watching.cancel()
        missed = (await kernel.executions(ExecutionQuery(status=("missed",), limit=1))).total
    late = sorted((start - due.timestamp()) * 1000 for start in starts)
    centiles = statistics.quantiles(late, n=100)
    return {
        "jobs": jobs,
        "ran": len(starts),
        "missed": missed,
        "first_start_ms": round(late[0], 1),
        "p50_ms": round(centiles[49], 1),
        "p99_ms": round(centiles[98], 1),
        "all_committed_ms": round((done - due.timestamp()) * 1000, 1),
        "loop_lag_p99_ms": round(statistics.quantiles(lags, n=100)[98], 2),
    }


async def watch(lags: list[float]) -> None:
    """Measure how much later than asked the loop comes back, in milliseconds."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - before - 0.001) * 1000)


def main() -> None:
    """Measure once and print it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    jobs, max_running = (int(argument) for argument in (*sys.argv[1:], "50000", "100")[:2])
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(burst(jobs, max_running, Path(folder)))
    print(json.dumps(found))
    print(
        f"Of {found['jobs']} jobs due at once {found['ran']} ran and {found['missed']} were missed; the first started "
        f"after {found['first_start_ms']} ms, and the loop's lag was {found['loop_lag_p99_ms']} ms (p99)."
    )


if __name__ == "__main__":
    main()
