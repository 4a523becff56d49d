"""What the reader deletes of the stream, and what it leaves to another kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from celery_kernels import celery_job, celery_kernel, run_of, until
from gnomon.domain import events
from gnomon.runners.base import Outcome
from gnomon.testing import RecordingStore
from gnomon_celery.channel import Channel
from gnomon_celery.messages import Begun, Line, Lines, Report
from gnomon_celery.reader import StreamReader
from scripted_worker import ScriptedWorker
from servers import RedisServer

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]
CHANNEL = Channel("{test}")


@asynccontextmanager
async def reading(redis: Redis, term: int) -> AsyncIterator[StreamReader]:
    """Read the stream in a term of a log in which everything is durable, for a kernel that knows no run."""

    def durable() -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    reader = StreamReader(redis, CHANNEL, term, {}, durable, lambda _: None)
    await reader.lead()
    tasks = [asyncio.create_task(reader.read()), asyncio.create_task(reader.settle())]
    try:
        yield reader
    finally:
        while any(not task.done() for task in tasks):  # redis-py may swallow a cancellation while it connects
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)


async def unheard(execution_id: str, outcome: Outcome) -> None:
    raise AssertionError(f"{execution_id} has not ended: {outcome}")


async def add(redis: Redis, run: str) -> None:
    begun = Begun(id=run, n=1, worker="w", at=datetime.now(UTC))
    await redis.xadd(CHANNEL.stream, {"m": msgspec.json.encode([begun])})


async def test_a_deposed_kernel_deletes_nothing(redis: Redis, eventually: Eventually) -> None:
    async with reading(redis, 5) as old, reading(redis, 8) as new:
        await add(redis, "of the new kernel")
        await eventually(lambda: old.undeleted == new.undeleted == 1)
        await old.drop_all(["of the new kernel"], unheard)  # its own log says that there is no such run
        await eventually(lambda: old.is_deposed)
        assert await redis.xlen(CHANNEL.stream) == 1
        await new.drop_all(["of the new kernel"], unheard)
        await eventually(lambda: new.undeleted == 0)
        assert await redis.xlen(CHANNEL.stream) == 0


async def test_a_later_term_takes_the_stream_over_and_an_earlier_one_does_not(redis: Redis) -> None:
    async with reading(redis, 8), reading(redis, 5) as earlier:
        assert earlier.is_deposed
        assert await redis.get(CHANNEL.reader) == b"8"


async def test_a_term_that_redis_has_lost_is_set_again(redis: Redis, eventually: Eventually) -> None:
    async with reading(redis, 5) as reader:
        await redis.flushall()
        await add(redis, "unknown")
        await eventually(lambda: reader.undeleted == 1)
        await reader.drop_all(["unknown"], unheard)
        await eventually(lambda: reader.undeleted == 0)
        assert await redis.get(CHANNEL.reader) == b"5"


async def test_what_a_long_run_reports_is_deleted_while_it_runs(
    server: RedisServer, redis: Redis, eventually: Eventually
) -> None:
    store, worker = RecordingStore(), ScriptedWorker(redis)
    async with celery_kernel(server.url, celery_job(), store=store) as kernel:
        run = await run_of(kernel)
        assignment = await worker.take()
        await worker.begin(assignment)
        for number in range(1, 31):
            lines = [Line(number, datetime.now(UTC), "info", f"line {number}")]
            report = Report(id=run, n=worker.number(assignment), fields={"processed_items": number})
            await worker.post(assignment, report, Lines(id=run, n=worker.number(assignment), lines=lines))
        keys = Channel(assignment.channel)

        async def is_empty() -> bool:
            return not await redis.xlen(keys.stream)

        await eventually(is_empty)
        found = await kernel.execution(run)
        assert (found.status, found.progress.processed_items) == ("running", 30)
        assert len(await kernel.log(run)) == 30
        assert len(store.recorded.of(events.Progress)) < 30  # still merged, as in every other runner
        await worker.end(assignment)
        await until(kernel, run, eventually, lambda one: one.status == "success")
