"""What happens to runs while the broker, the channel or the kernel is away."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from celery_kernels import QUICK, celery_job, celery_kernel, run_of, until
from gnomon import Kernel
from gnomon.domain import events
from gnomon.durations import Duration
from gnomon.testing import RecordingStore
from gnomon_celery.channel import Channel
from gnomon_celery.messages import Line, Lines, Report
from scripted_worker import ScriptedWorker
from servers import RedisServer

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


async def test_runs_wait_for_a_broker_that_is_away(idle_server: RedisServer, eventually: Eventually) -> None:
    store = RecordingStore()
    async with celery_kernel(idle_server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        await eventually(lambda: store.recorded.of(events.QueueStalled))
        (waits,) = store.recorded.of(events.QueueStalled)
        assert waits.reason.startswith(f"the broker redis://127.0.0.1:{idle_server.port}/0 cannot be reached")
        assert problem_of(kernel)
        idle_server.start()
        async with Redis.from_url(idle_server.url) as redis:
            worker = ScriptedWorker(redis)
            assignment = await worker.take()
            await worker.begin(assignment)
            await worker.end(assignment, value=3)
            assert (await kernel.end_of(run)).return_value == 3


async def test_a_fire_that_could_not_be_sent_within_its_grace_is_missed(idle_server: RedisServer) -> None:
    job = celery_job(every="1s", grace="1s", catch_up="none", overlap="allow", start=datetime.now(UTC))
    store = RecordingStore()
    async with celery_kernel(idle_server.url, job, store=store) as kernel:
        while not (missed := store.recorded.of(events.Missed)):
            await kernel.clock.sleep(0.05)
    assert missed[0].reason == "capacity"
    assert "cannot be reached" in str(missed[0].detail)


async def test_a_wrong_password_is_said_and_not_shown(idle_server: RedisServer, eventually: Eventually) -> None:
    idle_server.start("--requirepass", "right")
    url = f"redis://:wr0ng@127.0.0.1:{idle_server.port}/0"
    store = RecordingStore()
    async with celery_kernel(url, celery_job(), store=store) as kernel:
        await run_of(kernel)
        await eventually(lambda: store.recorded.of(events.QueueStalled))
        (waits,) = store.recorded.of(events.QueueStalled)
        assert "rejects the user or the password: check `broker`" in waits.reason
        assert "wr0ng" not in f"{waits.reason} {kernel.health()}"


async def test_a_queue_without_workers_is_said(server: RedisServer, redis: Redis, eventually: Eventually) -> None:
    store = RecordingStore()
    job = celery_job(options={"queue": "reports"})
    async with celery_kernel(server.url, job, store=store) as kernel:
        run = await run_of(kernel)
        await ScriptedWorker(redis, queue="other").announce()
        await eventually(lambda: store.recorded.of(events.QueueStalled))
        assert [one.reason for one in store.recorded.of(events.QueueStalled)] == [
            "no worker takes tasks from queue 'reports'"
        ]
        worker = ScriptedWorker(redis, queue="reports")
        assignment = await worker.take()
        await worker.begin(assignment)
        await worker.end(assignment)
        await kernel.end_of(run)


async def test_a_run_survives_a_channel_that_stands_still(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    config = {"timeout": Duration(milliseconds=500)}
    async with celery_kernel(server.url, celery_job(), config=config) as kernel:
        worker = ScriptedWorker(redis)
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        await until(kernel, run, eventually, lambda one: one.status == "running")
        server.send(signal.SIGSTOP)
        await eventually(lambda: problem_of(kernel))
        server.send(signal.SIGCONT)
        await worker.beat(assignment)
        await eventually(lambda: problem_of(kernel) is None)
        await worker.end(assignment, value=3)
        assert (await kernel.end_of(run)).return_value == 3


async def test_a_redis_that_lost_everything_is_read_from_its_start(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    async with celery_kernel(
        server.url, celery_job(), celery_job(id="second"), config={"heartbeat": Duration(seconds=2)}
    ) as kernel:
        worker = ScriptedWorker(redis)
        first = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        await until(kernel, first, eventually, lambda one: one.status == "running")
        server.kill()
        server.start()
        second = await run_of(kernel, "second")
        taken = await worker.take()
        await worker.begin(taken)
        await worker.end(taken, value=4)
        assert (await kernel.end_of(second)).return_value == 4
        assert (await kernel.end_of(first)).reason == "lost"


async def test_a_message_that_its_broker_has_lost_is_sent_again(server: RedisServer, redis: Redis) -> None:
    worker = ScriptedWorker(redis)
    async with worker.present(), celery_kernel(server.url, celery_job(), config=QUICK) as kernel:
        run = await run_of(kernel)
        await worker.take()  # and nothing is heard of it
        again = await worker.take()
        assert again.execution.id == run
        await worker.begin(again)
        await worker.end(again)
        assert (await kernel.end_of(run)).status == "success"


@pytest.mark.parametrize("can_be_sent", [True, False])
async def test_a_lost_message_of_a_job_that_has_moved_to_a_thread_is_sent_again_or_its_run_is_lost(
    can_be_sent: bool, server: RedisServer, redis: Redis
) -> None:
    store, worker = RecordingStore(), ScriptedWorker(redis)
    async with celery_kernel(server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        await worker.take()  # and nothing is heard of it
    moved = celery_job(runner="thread", **({} if can_be_sent else {"func": lambda **_: None}))
    async with worker.present(), celery_kernel(server.url, moved, store=store, config=QUICK) as kernel:
        if can_be_sent:
            again = await worker.take()
            await worker.begin(again)
            await worker.end(again)
            assert (await kernel.end_of(run)).status == "success"
            return
        ended = await kernel.end_of(run)
        assert (ended.status, ended.reason) == ("failed", "lost")
        assert "no worker could import the function that its job has now" in (ended.error_message or "")


async def test_a_run_whose_beginning_was_lost_ends_as_lost(server: RedisServer, redis: Redis) -> None:
    worker = ScriptedWorker(redis)
    async with worker.present(), celery_kernel(server.url, celery_job(), config=QUICK) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await redis.set(Channel(assignment.channel).claim(run), f"1-abc {worker.name}")
        ended = await kernel.end_of(run)
        assert (ended.status, ended.reason, ended.worker) == ("failed", "lost", worker.name)


async def test_what_happens_while_no_kernel_runs_is_taken_over_by_the_next(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    store, worker = RecordingStore(), ScriptedWorker(redis)
    jobs = [celery_job(id=name) for name in ("ended", "goes_on", "queued", "began")]
    async with celery_kernel(server.url, *jobs, store=store) as kernel:
        runs = {}
        taken = {}
        for job in jobs:
            runs[job.id] = await run_of(kernel, job.id)
            taken[job.id] = await worker.take()
        for name in ("ended", "goes_on"):
            await worker.begin(taken[name])
            await until(kernel, runs[name], eventually, lambda one: one.status == "running")
        lines = [Line(1, datetime.now(UTC), "info", "before")]
        await worker.post(taken["goes_on"], Lines(id=runs["goes_on"], n=worker.number(taken["goes_on"]), lines=lines))
        await eventually(lambda: has_lines(kernel, runs["goes_on"], 1))
    await worker.begin(taken["began"])
    for name in ("ended", "goes_on"):
        report = Report(id=runs[name], n=worker.number(taken[name]), fields={"message": "meanwhile"})
        await worker.post(taken[name], report)
    more = [Line(2, datetime.now(UTC), "info", "meanwhile")]
    await worker.post(taken["goes_on"], Lines(id=runs["goes_on"], n=worker.number(taken["goes_on"]), lines=more))
    await worker.end(taken["ended"], value="result")
    async with celery_kernel(server.url, *jobs, store=store) as kernel:
        ended = await kernel.end_of(runs["ended"])
        assert (ended.status, ended.return_value, ended.progress.message) == ("success", "result", "meanwhile")
        await until(kernel, runs["began"], eventually, lambda one: one.status == "running")
        again = set[str]()
        while runs["queued"] not in again:
            again.add((await worker.take()).execution.id)
        # The other one is sent once more unless its beginning is read before: its claim makes that harmless.
        assert again <= {runs["queued"], runs["began"]}
        await worker.begin(taken["queued"])
        for name in ("goes_on", "queued", "began"):
            await worker.end(taken[name], value=name)
            assert (await kernel.end_of(runs[name])).return_value == name
        assert [line.text for line in await kernel.log(runs["goes_on"])] == ["before", "meanwhile"]
        keys = Channel(taken["ended"].channel)

        async def is_empty() -> bool:
            return not await redis.xlen(keys.stream)

        await eventually(is_empty)
    started = [event.stream for event in store.recorded.of(events.Started)]
    assert sorted(started) == sorted(runs.values())


async def test_a_body_whose_worker_died_while_no_kernel_ran_is_lost(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    store, worker = RecordingStore(), ScriptedWorker(redis)
    async with celery_kernel(server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        await worker.begin(await worker.take())
        await until(kernel, run, eventually, lambda one: one.status == "running")
    async with celery_kernel(server.url, celery_job(), store=store, config=QUICK) as kernel:
        ended = await kernel.end_of(run)
        assert (ended.status, ended.reason) == ("failed", "lost")


async def test_a_worker_that_was_cut_off_is_asked_to_stop_and_its_late_result_is_recorded(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    store, worker = RecordingStore(), ScriptedWorker(redis)
    async with celery_kernel(server.url, celery_job(), store=store, config=QUICK) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        assert (await kernel.end_of(run)).reason == "lost"

        assert await worker.beat(assignment) == [run]
        await worker.end(assignment, value=3)
        await until(kernel, run, eventually, lambda one: one.late_result == "succeeded")
        assert (await kernel.execution(run)).reason == "lost"
        (late,) = store.recorded.of(events.LateResult)
        assert (late.stream, late.return_value, late.execution_time) == (run, 3, 0.5)
        stream = Channel(assignment.channel).stream
        await eventually(lambda: _is_empty(redis, stream))
        assert await redis.hlen(Channel(assignment.channel).cancel) == 0


async def _is_empty(redis: Redis, stream: str) -> bool:
    return not await redis.xlen(stream)


async def test_reports_of_runs_that_are_over_are_dropped(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        worker = ScriptedWorker(redis)
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        await worker.end(assignment, value=1)
        await kernel.end_of(run)
        await worker.end(assignment, value=2)
        keys = Channel(assignment.channel)

        async def is_empty() -> bool:
            return not await redis.xlen(keys.stream)

        await eventually(is_empty)
        assert (await kernel.execution(run)).return_value == 1


@pytest.mark.parametrize("text", [b"no json", b'[{"type":"later","id":"x","n":1}]', b'{"m":1}', b"[]"])
async def test_what_is_not_a_message_holds_nothing_up(
    server: RedisServer, redis: Redis, text: bytes, eventually: Eventually
) -> None:
    async with celery_kernel(server.url, celery_job()) as kernel:
        worker = ScriptedWorker(redis)
        run = await run_of(kernel)
        assignment = await worker.take()
        keys = Channel(assignment.channel)
        await redis.xadd(keys.stream, {"m": text})
        await redis.xadd(keys.stream, {"other": text})
        await worker.begin(assignment)
        await worker.end(assignment)
        assert (await kernel.end_of(run)).status == "success"

        async def is_empty() -> bool:
            return not await redis.xlen(keys.stream)

        await eventually(is_empty)


def problem_of(kernel: Kernel) -> str | None:
    (plugin,) = kernel.health().plugins
    return plugin.problem


async def has_lines(kernel: Any, run: str, count: int) -> bool:
    return len(await kernel.log(run)) == count
