"""Nothing is kept of runs that are over, however they ended: the garbage collector does not look into all objects."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

from gnomon import Context, Duration, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.testing import EventList, VirtualClock, make_kernel
from remote_bodies import OneLog, run_of

RUNS = 5


def quick() -> None: ...


async def quick_async() -> None: ...


def fail() -> None:
    raise ValueError("no")


async def wait() -> None:
    await asyncio.Event().wait()


def outlast() -> None:
    time.sleep(0.05)


def contexts() -> int:
    """Return how many contexts of runs there are; each is kept by its run, and has no reference to it."""
    gc.collect()
    return sum(type(one) is Context for one in gc.get_objects())  # others may have a __class__ that raises


async def until_no_more(than: int) -> None:
    async with asyncio.timeout(30):
        while contexts() > than:  # noqa: ASYNC110 - tasks that were cancelled end in their next turns
            await asyncio.sleep(0.01)


async def run_all(kernel: Kernel, job_id: str) -> list[str]:
    return [(await kernel.trigger(job_id)).execution.id for _ in range(RUNS)]


@pytest.mark.parametrize(
    "keys",
    [
        {"func": quick},
        {"func": quick_async, "timeout": "1h"},
        {"func": quick, "timeout": "1h", "silence": "1h"},
        {"func": fail, "timeout": "1h"},
        {"func": outlast, "timeout": "10ms", "cancel_grace": "10ms"},
        {"func": wait, "timeout": "10ms", "cancel_grace": "10ms"},
    ],
)
async def test_runs_here_leave_nothing_when_they_have_ended(keys: dict[str, Any]) -> None:
    before = contexts()
    job = Job(**{"id": "job", "overlap": "allow", "max_instances": RUNS, **keys})
    # What is logged is kept by pytest, with the frames of its traceback.
    async with make_kernel(job, clock=SystemClock(), log_failures=False) as kernel:
        await kernel.wait_many(await run_all(kernel, "job"))
        await until_no_more(before)


@pytest.mark.parametrize("how", ["cancelled", "left"])
async def test_runs_here_leave_nothing_when_they_are_stopped(how: str) -> None:
    before = contexts()
    job = Job(id="job", func=wait, overlap="allow", max_instances=RUNS, timeout=Duration(hours=1))
    async with make_kernel(job, clock=SystemClock()) as kernel:
        runs = await run_all(kernel, "job")
        assert contexts() == before + RUNS
        if how == "cancelled":
            for run in runs:
                await kernel.cancel(run)
            await kernel.wait_many(runs)
            await until_no_more(before)
    await until_no_more(before)


async def test_runs_elsewhere_leave_nothing(gnomon_clock: VirtualClock, gnomon_events: EventList) -> None:
    before, log = contexts(), OneLog(gnomon_clock, gnomon_events)
    job = run_of(overlap="allow", max_instances=3 * RUNS, timeout="1h", silence="1h")
    async with log.kernel(job) as kernel:
        ended = [await log.handed_over(kernel, begins=True) for _ in range(RUNS)]
        cancelled = [await log.handed_over(kernel) for _ in range(RUNS)]
        for run in ended:
            log.there.end(run)
        for run in cancelled:
            await kernel.cancel(run)
        await kernel.wait_many([*ended, *cancelled])
        log.there.runs.clear()
        await until_no_more(before)
        for _ in range(RUNS):
            await log.handed_over(kernel, begins=True)
        assert contexts() == before + RUNS
    log.there.runs.clear()
    await until_no_more(before)


async def test_a_run_that_began_in_time_is_not_kept_until_its_grace_is_over(
    gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    before, log = contexts(), OneLog(gnomon_clock, gnomon_events)
    async with log.kernel(run_of(every="1m", grace="1d")) as kernel:
        await gnomon_clock.advance(60.0)
        await log.until(lambda: log.there.sent)
        (run,) = log.there.sent
        log.there.begin(run, gnomon_clock.now())
        log.there.end(run)
        await kernel.wait(run)
        log.there.runs.clear()
        await until_no_more(before)
