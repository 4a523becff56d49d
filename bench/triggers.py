"""Tasks submitted one by one until all are done, against Huey, which also keeps its queue in SQLite.

python bench/triggers.py [--tasks 1000] [--pairs 9]

This is not a like-for-like comparison: Huey can run tasks in another process and keeps only the last result; Gnomon
runs them in this process and keeps three events per task. Both acknowledge a task once it is stored.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from huey import SqliteHuey

from gnomon import Job, Kernel
from gnomon_sqlite import SqliteStore
from measure import alternate, arguments, median, quartiles, ratios, report
from sides import body, starts

CALLERS = 50
"""Concurrent requests to Gnomon, as in a web server; Huey's calls block, so they are sequential."""


def gnomon(tasks: int) -> Mapping[str, float]:
    """Trigger a job `tasks` times."""
    return asyncio.run(_gnomon(tasks))


async def _gnomon(tasks: int) -> Mapping[str, float]:
    starts.clear()
    job = Job(id="task", func=body, overlap="allow")
    with tempfile.TemporaryDirectory() as folder:
        async with Kernel(store=SqliteStore(Path(folder) / "queue.db"), jobs=[job], max_running=tasks) as kernel:
            left = iter(range(tasks))

            async def call() -> None:
                for _ in left:
                    await kernel.trigger("task")

            before = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(CALLERS)))
            while len(starts) < tasks or kernel.health().backlog:  # noqa: ASYNC110 - polls health as operators do
                await asyncio.sleep(0.001)
            return {"tasks_per_s": tasks / (time.perf_counter() - before)}


def huey(tasks: int) -> Mapping[str, float]:
    """Enqueue `tasks` tasks while two workers run them."""
    done: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteHuey("bench", filename=str(Path(folder) / "huey.db"), fsync=True)

        @queue.task()
        def task() -> None:
            done.append(time.perf_counter())

        consumer = queue.create_consumer(workers=2, periodic=False, initial_delay=0.001, max_delay=0.01)
        consumer.start()
        before = time.perf_counter()
        for _ in range(tasks):
            task()
        while len(done) < tasks:
            time.sleep(0.001)
        spent = time.perf_counter() - before
        consumer.stop(graceful=True)
        queue.storage.close()
    return {"tasks_per_s": tasks / spent}


def main() -> None:
    """Measure and print the results."""
    asked = arguments("Tasks by hand, against Huey.", tasks=1_000, pairs=9)
    pairs = alternate(lambda: gnomon(asked.tasks), lambda: huey(asked.tasks), asked.pairs)
    ratio = quartiles(ratios(pairs, "tasks_per_s"))
    report(
        f"{asked.tasks} triggers",
        f"Gnomon accepts and runs {median([pair[0] for pair in pairs], 'tasks_per_s'):,.0f} triggers per second from "
        f"{CALLERS} callers, {ratio['median']} times the rate of Huey on SQLite with one blocking caller "
        f"({median([pair[1] for pair in pairs], 'tasks_per_s'):,.0f}).",
        pairs=len(pairs),
        ratio_gnomon_to_huey=ratio,
    )


if __name__ == "__main__":
    main()
