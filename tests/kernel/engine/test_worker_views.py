"""Workers and queues as the kernel shows them: what runners report, and the runs that wait in the queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from elsewhere_runner import Elsewhere, ElsewherePlugin, job_elsewhere, trigger_elsewhere
from gnomon import Kernel
from gnomon.domain.workers import QueueState, WorkerState, WorkerView
from gnomon.engine import worker_views
from gnomon.testing import VirtualClock

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
ONLINE = WorkerState(name="a", node="node-1", pid=7, queues=["reports"], concurrency=4, active=1, seen=SEEN)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def kernel(gnomon_kernel: Callable[..., Kernel], elsewhere: Elsewhere) -> AsyncIterator[Kernel]:
    async with gnomon_kernel(
        job_elsewhere("report", "reports"), job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(elsewhere)]
    ) as kernel:
        yield kernel


async def test_a_kernel_that_runs_all_bodies_itself_has_no_workers(gnomon_kernel: Callable[..., Kernel]) -> None:
    async with gnomon_kernel() as kernel:
        assert await kernel.workers() == WorkerView()


async def test_workers_and_queues_have_the_name_of_their_runner(kernel: Kernel, elsewhere: Elsewhere) -> None:
    gone = WorkerState(name="0", state="gone")
    elsewhere.view = WorkerView(workers=[ONLINE, gone], queues=[QueueState(name="reports", workers=1, length=3)])

    view = await kernel.workers()

    assert [(one.runner, one.name, one.state) for one in view.workers] == [
        ("elsewhere", "0", "gone"),
        ("elsewhere", "a", "online"),
    ]
    assert view.workers[1].seen == SEEN
    assert view.queues == [QueueState(name="reports", runner="elsewhere", workers=1, length=3)]
    assert view.problems == []


async def test_runs_that_were_handed_over_and_have_not_begun_wait_in_their_queue(
    kernel: Kernel, elsewhere: Elsewhere, gnomon_clock: VirtualClock
) -> None:
    elsewhere.view = WorkerView(workers=[ONLINE], queues=[QueueState(name="reports", workers=1)])
    first = await trigger_elsewhere(kernel, elsewhere, "report")
    at = gnomon_clock.now()
    await gnomon_clock.advance(60)
    second = await trigger_elsewhere(kernel, elsewhere, "report")
    await trigger_elsewhere(kernel, elsewhere, "mail")

    mails, reports = (await kernel.workers()).queues
    assert (reports.name, reports.waiting, reports.oldest, reports.problem) == ("reports", 2, at, None)
    assert (mails.name, mails.runner, mails.workers, mails.waiting) == ("mails", "elsewhere", 0, 1)
    assert mails.problem == (
        "1 run waits in queue 'mails' of runner 'elsewhere', and no worker takes bodies from it: "
        "start a worker with this queue"
    )

    elsewhere.begin(first)
    assert [queue.waiting for queue in (await kernel.workers()).queues] == [1, 1]
    await kernel.cancel(second)
    await kernel.wait(second)
    assert [queue.waiting for queue in (await kernel.workers()).queues] == [1, 0]


async def test_a_runner_that_cannot_list_its_workers_is_a_problem_and_hides_nothing(
    kernel: Kernel, elsewhere: Elsewhere
) -> None:
    await trigger_elsewhere(kernel, elsewhere, "mail")
    elsewhere.view = RuntimeError("no connection to redis://broker")

    view = await kernel.workers()

    assert view.problems == [
        "the workers of runner 'elsewhere' cannot be listed: no connection to redis://broker",
    ]
    assert [queue.waiting for queue in view.queues] == [1]


async def test_a_runner_that_does_not_answer_is_not_waited_for(
    kernel: Kernel, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_views, "ANSWER_LIMIT_S", 0.01)
    elsewhere.hangs = True

    view = await kernel.workers()

    assert view.problems == ["the workers of runner 'elsewhere' cannot be listed: no answer within 0.01 s"]


async def test_health_names_a_queue_in_which_runs_wait_for_a_worker(
    gnomon_kernel: Callable[..., Kernel],
    elsewhere: Elsewhere,
    gnomon_clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_views, "LOOK_INTERVAL_S", 0.001)

    async def until(is_so: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(30):
            while not is_so(running.health().problems.get("workers")):  # noqa: ASYNC110 - a component looks
                await asyncio.sleep(0.001)

    async with gnomon_kernel(job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(elsewhere)]) as running:
        await trigger_elsewhere(running, elsewhere, "mail")
        assert running.health().state == "healthy"  # a worker may be starting

        await gnomon_clock.advance(worker_views.PATIENCE)
        await until(lambda problem: problem is not None)
        health = running.health()
        assert (health.state, health.problems["workers"]) == ("degraded", health.problem)
        assert "1 run waits in queue 'mails' of runner 'elsewhere', and no worker takes" in health.problems["workers"]

        elsewhere.view = WorkerView(workers=[ONLINE], queues=[QueueState(name="mails", workers=1)])
        await until(lambda problem: problem is None)
        assert running.health().state == "healthy"
        elsewhere.view = OSError("broken pipe")
        await until(lambda problem: problem is not None)
        assert "cannot be listed: broken pipe" in running.health().problems["workers"]


async def test_a_follower_asks_the_kernel_that_leads(tmp_path: Any, elsewhere: Elsewhere) -> None:
    from gnomon_sqlite import SqliteStore

    elsewhere.view = WorkerView(workers=[ONLINE], queues=[QueueState(name="mails", workers=1)])
    path = tmp_path / "log.db"
    async with (
        Kernel(
            store=SqliteStore(path), jobs=[job_elsewhere("mail", "mails")], plugins=[ElsewherePlugin(elsewhere)]
        ) as leader,
        Kernel(store=SqliteStore(path), role="follower") as follower,
    ):
        assert await follower.workers() == await leader.workers() != WorkerView()
