"""A hundred thousand jobs: the duration of the start, the memory per job, and the idle load.

Also jobs that orders add, which the log brings back: how many a second, and the duration of the next start.

python bench/many_jobs.py [--jobs 100000] [--seconds 5]
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from datetime import timedelta
from pathlib import Path

from gnomon import Job, Kernel
from gnomon_sqlite import SqliteStore
from measure import arguments, report, short
from sides import body

BATCH = 10_000
"""Jobs of one order."""


def define(count: int) -> list[Job]:
    """Return jobs that run once a day."""
    return [Job(id=f"job-{n}", func=body, every=timedelta(days=1)) for n in range(count)]


async def start(count: int, folder: Path, idle: int) -> tuple[float, float]:
    """Start a kernel with `count` jobs; return the seconds, and the share of a core that it uses when idle."""
    jobs, before = define(count), time.perf_counter()
    async with Kernel(store=SqliteStore(folder / "jobs.db"), jobs=jobs):
        spent = time.perf_counter() - before
        await asyncio.sleep(min(1, idle))
        busy = time.process_time()
        await asyncio.sleep(idle)
        return spent, (time.process_time() - busy) / max(idle, 1)


async def added(count: int, folder: Path) -> tuple[float, float]:
    """Add `count` jobs in batches; return how many a second are durable, and the seconds of the next start."""
    jobs = define(count)
    async with Kernel(store=SqliteStore(folder / "added.db")) as kernel:
        before = time.perf_counter()
        for first in range(0, count, BATCH):
            await kernel.add_jobs(jobs[first : first + BATCH])
        rate = count / (time.perf_counter() - before)
    before = time.perf_counter()
    async with Kernel(store=SqliteStore(folder / "added.db")):
        return rate, time.perf_counter() - before


async def memory(count: int, folder: Path) -> float:
    """Return the bytes that a started kernel holds per job, without its definition and trigger."""
    jobs = define(count)
    gc.collect()
    tracemalloc.start()
    async with Kernel(store=SqliteStore(folder / "memory.db"), jobs=jobs):
        await asyncio.sleep(1)  # until the views of its start are flushed
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / count


def main() -> None:
    """Measure and print the results."""
    asked = arguments("Many jobs.", jobs=100_000, seconds=5)
    with tempfile.TemporaryDirectory() as folder:
        first, _ = asyncio.run(start(asked.jobs, Path(folder), 0))
        again, idle = asyncio.run(start(asked.jobs, Path(folder), asked.seconds))
        added_a_second, added_start = asyncio.run(added(asked.jobs, Path(folder)))
        held = asyncio.run(memory(min(asked.jobs, 20_000), Path(folder)))
    report(
        f"{asked.jobs} jobs",
        f"A kernel with {asked.jobs:,} jobs starts within {short(first)} s the first time and {short(again)} s later, "
        f"holds {short(held):,.0f} bytes per job in addition to its definition, and uses {short(idle * 100)}% of a "
        f"core when idle. Orders add {short(added_a_second):,.0f} jobs a second in batches, and a kernel with "
        f"{asked.jobs:,} of these starts within {short(added_start)} s.",
        first_start_s=short(first),
        start_s=short(again),
        bytes_a_job=short(held),
        idle_percent=short(idle * 100),
        added_a_second=short(added_a_second),
        added_start_s=short(added_start),
    )


if __name__ == "__main__":
    main()
