"""Records for readers of the progress tracker of TradingAgents-CN."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
import pytest

from gnomon import Context, Job
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.testing import make_kernel
from gnomon_redis import RedisPlugin
from gnomon_redis.client import AsyncProgressClient
from gnomon_redis.progress_record import decode
from gnomon_web import WebPlugin

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


class OldStep(msgspec.Struct, kw_only=True):
    """A step, as the old pages draw it."""

    name: str
    description: str
    status: Literal["pending", "current", "completed", "failed", "skipped"]
    weight: float
    start_time: float | None
    end_time: float | None


class OldRecord(msgspec.Struct, kw_only=True):
    """A record, as the old pages read it."""

    task_id: str
    analysts: list[str]
    research_depth: str
    llm_provider: str
    status: Literal["pending", "running", "completed", "failed"]
    progress_percentage: float
    current_step: int
    total_steps: int
    current_step_name: str
    current_step_description: str
    last_message: str
    start_time: float
    last_update: float
    elapsed_time: float
    remaining_time: float
    estimated_total_time: float
    steps: list[OldStep]
    completed: bool = False
    failed: bool = False
    failed_reason: str = ""
    completed_time: float | None = None


def plugin(server: Any, **settings: Any) -> RedisPlugin:
    return RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=30), **settings))


def web() -> WebPlugin:
    return WebPlugin(WebPlugin.Config(port=0, dialect="tradingagents"))


@pytest.mark.parametrize("configured", ["redis", "web"])
async def test_a_record_has_the_fields_of_both_trackers_while_it_runs_and_at_its_end(
    server: Any, redis: Any, eventually: Eventually, configured: str
) -> None:
    go_on = asyncio.Event()

    async def analyse(ctx: Context) -> None:
        ctx.step("fetch")
        ctx.step("check")
        ctx.progress(message="checking")
        await go_on.wait()
        ctx.step("store")

    plugins = [plugin(server, dialect="tradingagents")] if configured == "redis" else [plugin(server), web()]
    job = Job(id="analyse", func=analyse, steps=["fetch", "check", "store"])
    async with make_kernel(job, plugins=plugins, clock=SystemClock()) as kernel:
        run = (await kernel.trigger("analyse")).execution.id

        async def record() -> OldRecord | None:
            text = await redis.get(f"progress:{run}")
            return msgspec.json.decode(text, type=OldRecord) if text else None

        async def is_checking() -> bool:
            found = await record()
            return found is not None and found.current_step_name == "check"

        async def is_over() -> bool:
            found = await record()
            return found is not None and found.completed

        await eventually(is_checking)
        running = await record()
        raw = json.loads(await redis.get(f"progress:{run}"))
        go_on.set()
        await kernel.wait(run)
        await eventually(is_over)
        over = await record()
        async with AsyncProgressClient(server.url) as client:
            ours = await client.get(run)

    assert running is not None
    assert (running.task_id, running.status, running.current_step, running.total_steps) == (run, "running", 1, 3)
    assert [step.status for step in running.steps] == ["completed", "current", "pending"]
    assert running.steps[1].start_time is not None
    assert running.start_time <= running.last_update
    assert (running.completed, running.failed) == (False, False)
    assert {"execution_id", "job_id", "percent", "step", "elapsed", "remaining", "version"} <= raw.keys()
    assert {"name", "status", "started_at"} <= raw["steps"][0].keys()
    assert over is not None
    assert (over.status, over.progress_percentage, over.current_step, over.remaining_time) == ("completed", 100, 2, 0)
    assert over.completed_time is not None
    assert ours is not None
    assert (ours.execution_id, ours.status, ours.step) == (run, "success", "store")


async def test_a_failed_run_has_its_cause_and_a_plain_record_says_execution_status_only_in_texts(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    async def breaks() -> None:
        raise ValueError("no execution_status")

    for settings in ({"dialect": "tradingagents"}, {}):
        await redis.flushall()
        async with make_kernel(breaks, plugins=[plugin(server, **settings)], clock=SystemClock()) as kernel:
            run = (await kernel.trigger("breaks")).execution.id
            await kernel.wait(run)

            async def is_over(run: str = run) -> bool:
                text = await redis.get(f"progress:{run}")
                return text is not None and decode(text).is_over

            await eventually(is_over)
            raw = json.loads(await redis.get(f"progress:{run}"))
        assert decode(json.dumps(raw).encode()).status == "failed"
        if settings:
            assert (raw["failed"], raw["failed_reason"], raw["status"]) == (True, "no execution_status", "failed")
        else:
            assert {"task_id", "failed", "progress_percentage", "execution_status"}.isdisjoint(raw)
