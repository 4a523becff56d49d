"""Gnomon as a work queue: callers that wait for the end of each run, and lists of orders.

python bench/work_queue.py [--tasks 2000] [--callers 50] [--pairs 7]

Two comparisons, each with two sides in one process: a caller that triggers and waits against one that only triggers,
and one call of `trigger_many` with `wait_many` against callers that trigger and wait one by one.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gnomon import Job, Kernel, RunOrder
from gnomon_sqlite import SqliteStore
from measure import alternate, arguments, median, quartiles, ratios, report
from sides import body, starts

Work = Callable[[Kernel, int], Awaitable[None]]


def run(work: Work, tasks: int) -> Mapping[str, float]:
    """Run so many tasks, and return how many are done in a second, from the first call to the last event on disk."""
    return asyncio.run(_run(work, tasks))


async def _run(work: Work, tasks: int) -> Mapping[str, float]:
    starts.clear()
    job = Job(id="task", func=body, overlap="allow")
    with tempfile.TemporaryDirectory() as folder:
        async with Kernel(store=SqliteStore(Path(folder) / "queue.db"), jobs=[job], max_running=tasks) as kernel:
            before = time.perf_counter()
            await work(kernel, tasks)
            while len(starts) < tasks or kernel.health().backlog:  # noqa: ASYNC110 - polls health as operators do
                await asyncio.sleep(0.001)
            return {"tasks_per_s": tasks / (time.perf_counter() - before)}


def calling(callers: int, *, waits: bool) -> Work:
    """Trigger one run after the other in each of the callers, with or without waiting for its end."""

    async def work(kernel: Kernel, tasks: int) -> None:
        left = iter(range(tasks))

        async def call() -> None:
            for _ in left:
                accepted = await kernel.trigger("task")
                if waits:
                    await kernel.wait(accepted.execution.id)

        await asyncio.gather(*(call() for _ in range(callers)))

    return work


async def in_a_list(kernel: Kernel, tasks: int) -> None:
    """Order all runs in one call, and wait for all of them in another."""
    accepted = await kernel.trigger_many([RunOrder("task") for _ in range(tasks)])
    await kernel.wait_many([one.execution.id for one in accepted])


def main() -> None:
    """Measure and print the results."""
    asked = arguments("Gnomon as a work queue.", tasks=2_000, callers=50, pairs=7)
    one_by_one, counted = calling(asked.callers, waits=True), calling(asked.callers, waits=False)
    waits = alternate(lambda: run(one_by_one, asked.tasks), lambda: run(counted, asked.tasks), asked.pairs)
    lists = alternate(lambda: run(in_a_list, asked.tasks), lambda: run(one_by_one, asked.tasks), asked.pairs)
    one, many, alone = (
        f"{median([pair[side] for pair in pairs], 'tasks_per_s'):,.0f}"
        for pairs, side in ((waits, 0), (lists, 0), (waits, 1))
    )
    waiting, listed = (quartiles(ratios(pairs, "tasks_per_s")) for pairs in (waits, lists))
    report(
        f"{asked.tasks} orders, {asked.callers} callers",
        f"{asked.callers} callers that trigger a run and wait for its end get {one} runs per second, "
        f"{waiting['median']} times those of callers that only trigger ({alone}). A list of {asked.tasks} orders gets "
        f"{listed['median']} times as many ({many}).",
        pairs=len(waits),
        ratio_waiting_to_triggering=waiting,
        ratio_list_to_one_by_one=listed,
    )


if __name__ == "__main__":
    main()
