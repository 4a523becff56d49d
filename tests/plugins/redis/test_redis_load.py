"""A thousand runs that tell as much as they may: pipelined, conflated, and Redis does little for it."""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon import Context, Job
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.testing import make_kernel
from gnomon_redis import RedisPlugin
from gnomon_redis.progress_record import decode

RUNS = 1_000


async def test_a_thousand_runs_flat_out_cost_few_pipelines_and_all_are_right(server: Any, redis: Any) -> None:
    go = asyncio.Event()

    async def chatty(context: Context) -> None:
        await go.wait()
        for number in range(10):
            context.step(f"step {number}")  # a step passes the kernel's own rate at once
            await asyncio.sleep(0.01)

    pipelines: list[int] = []
    under_way, swaps = 0, 1  # the first swap may be before this
    answered = 0  # the kernel's stop may cut the last pipeline off, which is then written again
    # What is not answered in time is written again, and counted twice: here nothing is.
    plugin = RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=60)))
    job = Job(id="chatty", func=chatty, overlap="allow")
    kernel = make_kernel(job, plugins=[plugin], clock=SystemClock(), max_running=RUNS)
    async with kernel:
        assert plugin._tracker is not None
        connection: Any = plugin._tracker._connection
        write = connection.write

        async def counted(writes: Any) -> Any:
            nonlocal under_way, answered
            under_way += 1
            assert under_way == 1
            assert len({one.execution_id for one in writes}) == len(writes)
            pipelines.append(len(writes))
            try:
                refused = await write(writes)
                answered += len(writes)
                return refused
            finally:
                under_way -= 1

        swap_marker = connection.swap_marker

        async def counted_swap(*args: Any) -> Any:
            nonlocal swaps
            swaps += 1
            return await swap_marker(*args)

        connection.write, connection.swap_marker = counted, counted_swap
        triggered = [await kernel.trigger("chatty") for _ in range(RUNS)]
        go.set()
        ended = [await kernel.wait(one.execution.id) for one in triggered]
        events = kernel.health().position

    texts = await redis.mget([f"progress:{execution.id}" for execution in ended])
    for execution, text in zip(ended, texts, strict=True):
        record = decode(text or b"")
        assert (record.status, record.version, record.steps) == (
            "success",
            execution.version,
            execution.progress.steps,
        )
    calls = {name: found["calls"] for name, found in (await redis.info("commandstats")).items()}
    sent = sum(pipelines)
    assert answered <= calls["cmdstat_set"] <= sent + 2 * swaps
    published, kept = calls["cmdstat_publish"], calls["cmdstat_xadd"]
    assert RUNS <= published <= kept <= published + 1  # the cut may fall between the two
    assert kept <= sent < events
    print(f"{events} events, {sent} writes, {len(pipelines)} pipelines")
    assert len(pipelines) < sent / 5
