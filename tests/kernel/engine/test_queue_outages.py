"""Many runs that wait in a queue for one reason: one fact says so, and one that they do not wait any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gnomon import Kernel, QueueResumed, QueueStalled
from gnomon.analysis.explain import explain
from gnomon.engine import worker_views
from gnomon.testing import EventList, VirtualClock
from remote_bodies import Elsewhere, OneLog, run_of

RUNS = 60
NOBODY, AWAY = "no worker takes tasks from queue 'default'", "the broker cannot be reached"


@pytest.fixture
def log(gnomon_clock: VirtualClock, gnomon_events: EventList) -> OneLog:
    return OneLog(gnomon_clock, gnomon_events)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_views, "LOOK_INTERVAL_S", 0.001)


def show(there: Elsewhere, reason: str | None, *runs: str) -> None:
    for run_id in runs:
        placement = there.runs[run_id].placement
        assert placement is not None
        placement.waits(reason)


async def resumed(events: EventList, count: int) -> list[QueueResumed]:
    """Wait in real time until a component of the kernel has looked at the queues."""
    async with asyncio.timeout(60):
        while len(found := events.of(QueueResumed)) < count:  # noqa: ASYNC110 - a component looks
            await asyncio.sleep(0.001)
    return list(found)


async def words(kernel: Kernel, run_id: str, clock: VirtualClock) -> str:
    await asyncio.shield(kernel._leader._journal.durable())
    run = await kernel.execution(run_id)
    return " ".join((await explain(kernel._store, "job", run.scheduled_time, clock.now())).sentences)


async def test_runs_that_wait_for_one_reason_have_one_fact_and_each_run_is_explained(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    there = log.there
    every_second = run_of(every=timedelta(seconds=1), max_instances=RUNS, overlap="allow")
    async with log.kernel(every_second, max_running=RUNS) as kernel:
        await gnomon_clock.advance(timedelta(seconds=RUNS))
        await kernel.pause("job")
        await log.until(lambda: len(there.runs) == RUNS)
        runs = list(there.runs)
        show(there, NOBODY, *runs)
        await gnomon_clock.advance(timedelta(minutes=1))
        show(there, NOBODY, *runs)
        assert f": {NOBODY}." in await words(kernel, runs[-1], gnomon_clock)
        assert not gnomon_events.of(QueueResumed)

        await kernel.cancel(runs[0], actor="ann")
        await kernel.wait(runs[0])
        show(there, None, runs[1])
        for run_id in runs[2:]:
            there.begin(run_id, gnomon_clock.now())
        (over,) = await resumed(gnomon_events, 1)
        assert NOBODY in await words(kernel, runs[-1], gnomon_clock)
        show(there, AWAY, runs[1])
        for run_id in runs[1:]:
            there.end(run_id)
        await kernel.wait_many(runs)
        await resumed(gnomon_events, 2)

    stalled = gnomon_events.of(QueueStalled)
    assert [(one.runner, one.queue, one.reason) for one in stalled] == [
        ("elsewhere", "default", NOBODY),
        ("elsewhere", "default", AWAY),
    ]
    assert (over.runner, over.queue, over.reason, over.seconds) == ("elsewhere", "default", NOBODY, 60.0)
    assert "warned" not in gnomon_events.types


async def test_the_next_kernel_says_again_that_a_queue_stands_still(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with log.kernel(run_of()) as kernel:
        run_id = await log.handed_over(kernel)
        show(log.there, NOBODY, run_id)
    async with log.kernel(run_of()) as kernel:
        await log.until(lambda: run_id in log.there.runs)
        show(log.there, NOBODY, run_id)
        log.there.begin(run_id, gnomon_clock.now())
        log.there.end(run_id)
        await kernel.wait(run_id)
        await resumed(gnomon_events, 1)
    assert [one.reason for one in gnomon_events.of(QueueStalled)] == [NOBODY, NOBODY]
