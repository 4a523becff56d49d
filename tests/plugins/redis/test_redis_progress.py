"""What is in Redis while runs go on and after they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Context, Execution, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.domain import events
from gnomon.domain.execution import fold
from gnomon.durations import Duration
from gnomon.testing import RecordingStore, make_kernel
from gnomon.testing.histories import NOON, append, extend, running
from gnomon_redis import ProgressRecord, RedisPlugin
from gnomon_redis.client import AsyncProgressClient
from gnomon_redis.progress_record import decode

HOUR = timedelta(hours=1)
Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


def plugin(server: Any, **settings: Any) -> RedisPlugin:
    given: dict[str, Any] = {"url": Secret(server.url), "timeout": Duration(seconds=30), **settings}
    return RedisPlugin(RedisPlugin.Config(**given))


def real_kernel(*jobs: Any, plugins: list[Any], **settings: Any) -> Kernel:
    return make_kernel(*jobs, plugins=plugins, clock=SystemClock(), **settings)


def shown(execution: Execution) -> dict[str, Any]:
    """Return what a record contains of an execution, except for what depends on the time."""
    view = execution.progress
    return {
        "job_id": execution.job_id,
        "status": execution.status,
        "version": execution.version,
        "percent": view.percent,
        "message": view.message,
        "step": view.step,
        "steps": view.steps,
        "current_item": view.current_item,
        "processed_items": view.processed_items,
        "total_items": view.total_items,
        "reason": execution.reason,
        "started_at": execution.timestamp if execution.runner else None,
    }


async def record_of(redis: Any, execution_id: str) -> ProgressRecord | None:
    text = await redis.get(f"progress:{execution_id}")
    return None if text is None else decode(text)


async def test_a_run_is_shown_with_all_that_it_told(server: Any, redis: Any, eventually: Eventually) -> None:
    go_on = asyncio.Event()

    async def body(context: Context) -> None:
        context.steps("fetch", ("store", 3.0))
        context.step("fetch")
        context.step("store")
        context.progress(message="half way", processed_items=5, total_items=10, current_item="row 5")
        await go_on.wait()

    job = Job(id="sync", func=body, name="Sync everything")
    async with real_kernel(job, plugins=[plugin(server)]) as kernel:
        execution_id = (await kernel.trigger("sync")).execution.id

        async def is_half_way() -> bool:
            record = await record_of(redis, execution_id)
            return record is not None and record.processed_items == 5

        await eventually(is_half_way)
        running = await record_of(redis, execution_id)
        assert await redis.smembers("progress:live:sync") == {execution_id.encode()}
        assert 0 < await redis.pttl(f"progress:{execution_id}") <= 60_000
        go_on.set()
        ended = await kernel.wait(execution_id)
        await eventually(lambda: kernel.is_idle)

    assert running is not None
    assert (running.status, running.percent, running.message, running.step) == ("running", 62.5, "half way", "store")
    assert (running.current_item, running.total_items, running.job_name) == ("row 5", 10, "Sync everything")
    assert [(step.name, step.status, step.weight) for step in running.steps] == [
        ("fetch", "completed", 1.0),
        ("store", "current", 3.0),
    ]
    assert running.ended_at is None
    assert running.started_at == ended.timestamp
    assert running.estimated_total == pytest.approx(running.elapsed + (running.remaining or 0.0), abs=0.002)
    final = await record_of(redis, execution_id)
    assert final is not None
    assert {name: getattr(final, name) for name in shown(ended)} == shown(ended)
    assert (final.is_over, final.remaining) == (True, 0.0)
    assert final.elapsed == pytest.approx(ended.execution_time, abs=0.001)
    assert 3_000_000 < await redis.pttl(f"progress:{execution_id}") <= 3_600_000
    assert await redis.smembers("progress:live:sync") == set()


async def test_the_remaining_time_is_told_from_past_runs(server: Any, redis: Any, eventually: Eventually) -> None:
    async def body() -> None:
        await asyncio.Event().wait()

    store = RecordingStore()
    await store.open()
    for number in range(3):
        past = running("sync", NOON + number * HOUR)
        await append(store, extend(past, events.Succeeded, execution_time=1800.0))
    async with real_kernel(Job(id="sync", func=body), plugins=[plugin(server)], store=store) as kernel:
        execution_id = (await kernel.trigger("sync")).execution.id

        async def has_estimate() -> bool:
            record = await record_of(redis, execution_id)
            return record is not None and record.estimated_total is not None

        await eventually(has_estimate)
        record = await record_of(redis, execution_id)
    assert record is not None
    assert record.percent is None
    assert record.estimated_total == 1800.0


async def test_each_kind_of_end_is_shown_and_will_expire(server: Any, redis: Any, eventually: Eventually) -> None:
    async def fails(context: Context) -> None:
        context.progress(30, "going")
        raise ValueError("no rows")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async with real_kernel(fails, hangs, plugins=[plugin(server, ttl=Duration(minutes=5))]) as kernel:
        failed = await kernel.wait((await kernel.trigger("fails")).execution.id)
        cancelled = (await kernel.trigger("hangs")).execution
        await eventually(lambda: redis.exists(f"progress:{cancelled.id}"))
        await kernel.cancel(cancelled.id, actor="ann")
        cancelled = await kernel.wait(cancelled.id)
    told = {}
    for name in ("fails", "hangs"):
        for _, fields in await redis.xrange(f"progress:job:{name}"):
            record = decode(fields[b"progress"])
            told[record.execution_id] = record
    assert (told[failed.id].status, told[failed.id].reason, told[failed.id].percent) == ("failed", "exception", 30.0)
    assert told[failed.id].error_message == "no rows"
    assert told[cancelled.id].status == "cancelled"
    for key in (failed.id, cancelled.id, "job:fails", "job:hangs"):
        assert 0 < await redis.pttl(f"progress:{key}") <= 300_000


async def test_a_run_that_tells_nothing_keeps_its_key_for_as_long_as_its_kernel_lives(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    go_on = asyncio.Event()

    async def silent() -> None:
        await go_on.wait()

    impatient = plugin(server, live_ttl=Duration(seconds=3))
    async with real_kernel(silent, plugins=[impatient]) as kernel:
        execution_id = (await kernel.trigger("silent")).execution.id

        async def has_outlived_its_key() -> bool:
            record = await record_of(redis, execution_id)
            return record is not None and record.elapsed > 4

        await eventually(has_outlived_its_key)
        assert 0 < await redis.pttl(f"progress:{execution_id}") <= 3_000
        go_on.set()
        await kernel.wait(execution_id)


async def test_the_stream_of_a_job_is_capped_and_expires(server: Any, redis: Any, eventually: Eventually) -> None:
    async def body() -> None: ...

    capped = plugin(server, stream_length=10, ttl=Duration(minutes=10))
    async with real_kernel(body, plugins=[capped]) as kernel:
        for _ in range(150):
            await kernel.wait((await kernel.trigger("body")).execution.id)
        await eventually(lambda: kernel.is_idle)
    assert 10 <= await redis.xlen("progress:job:body") < 10 + 100  # Redis trims whole nodes of 100
    assert 0 < await redis.ttl("progress:job:body") <= 600


async def test_a_prefix_is_for_all_keys(server: Any, redis: Any) -> None:
    async def body() -> None: ...

    async with real_kernel(body, plugins=[plugin(server, prefix="app1:")]) as kernel:
        ended = await kernel.wait((await kernel.trigger("body")).execution.id)
        log_id = kernel.log_id
    keys = {key.decode() for key in await redis.keys()}
    expected = {f"app1:{name}" for name in (ended.id, "job:body", "ended:body")}
    assert keys - {f"app1:log:{log_id}"} == expected  # the marker is set a moment after the start
    async with AsyncProgressClient(server.url, prefix="app1:") as client:
        found = await client.get(ended.id)
    assert found is not None
    assert found.status == "success"


async def test_a_unix_socket_does_as_well(server: Any, redis: Any) -> None:
    async def body() -> None: ...

    there = RedisPlugin(
        RedisPlugin.Config(url=Secret(f"unix://{server.folder}/redis.sock"), timeout=Duration(seconds=30))
    )
    async with real_kernel(body, plugins=[there]) as kernel:
        ended = await kernel.wait((await kernel.trigger("body")).execution.id)
    assert await redis.exists(f"progress:{ended.id}")


async def test_a_fire_that_never_ran_is_shown(server: Any, redis: Any) -> None:
    from gnomon import hookimpl

    class Closed:
        @hookimpl
        def guard(self, job: Job) -> str:
            return "it is a holiday"

    async def body() -> None: ...

    async with real_kernel(body, plugins=[plugin(server), Closed()]) as kernel:
        missed = (await kernel.trigger("body")).execution
        history = await kernel.history(missed.id)
    record = await record_of(redis, missed.id)
    assert record is not None
    assert {name: getattr(record, name) for name in shown(missed)} == shown(fold(history))
    assert (record.status, record.reason, record.started_at) == ("missed", "guard", None)
