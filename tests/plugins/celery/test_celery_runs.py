"""A kernel and a worker that a test plays: what is sent, what is read, and what is left in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from celery_kernels import QUICK, celery_job, celery_kernel, run_of, until
from gnomon.domain import events
from gnomon.runners.orders import TriggerOrder
from gnomon.testing import RecordingStore
from gnomon_celery.channel import Channel
from gnomon_celery.messages import Died, Line, Lines, Ordered, Report
from scripted_worker import ScriptedWorker

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@pytest.fixture
def worker(redis: Redis) -> ScriptedWorker:
    return ScriptedWorker(redis)


async def is_empty(redis: Redis, channel: str) -> bool:
    keys = Channel(channel)
    return not await redis.xlen(keys.stream) and not await redis.zcard(keys.alive)


async def test_a_body_runs_in_a_worker_from_its_task_to_its_result(
    server: Any, redis: Redis, worker: ScriptedWorker, eventually: Eventually
) -> None:
    store = RecordingStore()
    async with celery_kernel(server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        assert assignment.execution.id == run
        assert (assignment.func, assignment.execution.kwargs) == ("celery_bodies:add", {"a": 1, "b": 2})
        assert worker.taken[0]["headers"]["id"] == run
        assert (await kernel.execution(run)).status == "scheduled"
        await worker.begin(assignment)
        await until(kernel, run, eventually, lambda one: one.status == "running")
        await worker.end(assignment, value=3)
        ended = await kernel.end_of(run)
        assert (ended.status, ended.return_value, ended.worker, ended.execution_time) == (
            "success", 3, worker.name, 0.5,
        )  # fmt: skip
        await eventually(lambda: is_empty(redis, assignment.channel))
    types = [event.type for event in store.recorded if event.stream == run]
    assert types == ["scheduled", "handed_over", "started", "succeeded"]


async def test_messages_that_are_posted_twice_count_once(
    server: Any, redis: Redis, worker: ScriptedWorker, eventually: Eventually
) -> None:
    store = RecordingStore()
    async with celery_kernel(server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        lines = Lines(
            id=run,
            n=worker.number(assignment),
            lines=[Line(number, datetime.now(UTC), "info", f"line {number}", "body") for number in (1, 2)],
        )
        report = Report(id=run, n=worker.number(assignment), fields={"percent": 50.0, "message": "half way"})
        await worker.post(assignment, lines, report, times=3)
        await until(kernel, run, eventually, lambda one: one.progress.percent == 50)
        await worker.end(assignment)
        await kernel.end_of(run)
        texts = [line.text for line in await kernel.log(run)]
        assert texts == ["line 1", "line 2"]
        assert len(store.recorded.of(events.Progress)) == 1
        await eventually(lambda: is_empty(redis, assignment.channel))


async def test_an_order_is_carried_out_once_and_answered(
    server: Any, redis: Redis, worker: ScriptedWorker, eventually: Eventually
) -> None:
    async with celery_kernel(server.url, celery_job(), celery_job(id="other", runner="thread")) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        order = Ordered(id=run, n=worker.number(assignment), number=1, order=TriggerOrder(job_id="other"))
        await worker.post(assignment, order, times=2)
        answered = await worker.answer(assignment, 1)
        assert answered.failure is None
        other = answered.result["execution"]["id"]
        assert (await kernel.execution(other)).triggered_by == run
        unknown = Ordered(id=run, n=worker.number(assignment), number=2, order=TriggerOrder(job_id="none"))
        await worker.post(assignment, unknown)
        refused = await worker.answer(assignment, 2)
        assert refused.failure is not None
        assert refused.failure.kind == "UnknownJobError"
        await worker.end(assignment)
        await kernel.end_of(run)
        await kernel.end_of(other)
        await eventually(lambda: is_empty(redis, assignment.channel))


async def test_a_run_that_is_cancelled_in_its_queue_does_not_begin(
    server: Any, redis: Redis, worker: ScriptedWorker
) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await kernel.cancel(run, actor="test")
        assert (await kernel.end_of(run)).status == "cancelled"
        assert await worker.begin(assignment) == "withdrawn"


async def test_a_body_that_runs_is_asked_to_stop(
    server: Any, redis: Redis, worker: ScriptedWorker, eventually: Eventually
) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        await until(kernel, run, eventually, lambda one: one.status == "running")
        await kernel.cancel(run, actor="test")

        async def is_asked() -> bool:
            return await worker.beat(assignment) == [run]

        await eventually(is_asked)
        await worker.end(assignment, cancelled=True, error_type="RunCancelled")
        assert (await kernel.end_of(run)).status == "cancelled"


async def test_a_body_without_heartbeats_is_lost_and_retried(
    server: Any, redis: Redis, worker: ScriptedWorker, eventually: Eventually
) -> None:
    job = celery_job(retry={"attempts": 2, "delay": 0})
    async with celery_kernel(server.url, job, config=QUICK) as kernel:
        run = await run_of(kernel)
        await worker.begin(await worker.take())
        ended = await kernel.end_of(run)
        assert (ended.status, ended.reason) == ("failed", "lost")
        assert worker.name in str(ended.error_message)
        again = await worker.take()
        assert again.execution.retry_of == run


async def test_a_process_that_died_is_reported_at_once(server: Any, redis: Redis, worker: ScriptedWorker) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        died = Died(id=run, n=0, worker=worker.name, message="the process was killed by SIGKILL", had_begun=True)
        await worker.post(assignment, died, is_running=False)
        ended = await kernel.end_of(run)
        assert (ended.status, ended.reason, ended.error_type) == ("failed", "killed", "ProcessDied")


async def test_a_message_that_died_with_its_process_is_sent_again(
    server: Any, redis: Redis, worker: ScriptedWorker
) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        died = Died(id=run, n=0, worker=worker.name, message="the process was killed by SIGKILL", had_begun=False)
        await worker.post(assignment, died, is_running=False)
        again = await worker.take()
        assert again.execution.id == run
        await worker.begin(again)
        await worker.end(again, value=3)
        assert (await kernel.end_of(run)).return_value == 3


async def test_jobs_choose_their_queue_and_priority(server: Any, redis: Redis) -> None:
    job = celery_job(options={"queue": "reports"}, priority=6)
    async with celery_kernel(server.url, job) as kernel:
        worker = ScriptedWorker(redis, queue="reports")
        run = await run_of(kernel)
        assignment = await worker.take()
        assert assignment.execution.id == run
        assert worker.taken[0]["properties"]["priority"] == 3  # Celery prefers the lowest
        assert (await kernel.execution(run)).queue == "reports"
        await worker.begin(assignment)
        await worker.end(assignment)
        await kernel.end_of(run)
