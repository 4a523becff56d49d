"""A kernel of the past: what ran, waited, was paused and held then; it refuses orders."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gnomon import BackgroundKernel, Duration, ExecutionQuery, Job, PastError, UnknownExecutionError, UnknownJobError
from gnomon.testing import VirtualClock, make_kernel
from gnomon.testing.clock import START

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


async def waits() -> None:
    await asyncio.Event().wait()


async def tick() -> int:
    return 1


async def test_the_kernel_of_then_answers_every_question_from_the_log() -> None:
    clock = VirtualClock()
    slow = Job(
        id="slow", func=waits, every=Duration(hours=1), max_instances=1, overlap="queue", timeout=Duration(hours=3)
    )
    async with make_kernel(slow, Job(id="tick", func=tick, every=Duration(hours=1)), clock=clock) as kernel:
        await clock.advance(2 * HOUR + MINUTE)
        running = (await kernel.executions(ExecutionQuery(status=("running",)))).items[0]
        await kernel.pause("tick", actor="ann", reason="works")
        await kernel.hold(actor="otto", reason="move")
        first, then = START + HOUR + MINUTE, clock.now()
        await clock.advance(HOUR)
        await kernel.resume("tick")
        await kernel.release()
        await clock.advance(2 * HOUR)

        early, past = await kernel.at(first), await kernel.at(then)
        slow_then, tick_then = await past.jobs()
        assert (slow_then.running, len(slow_then.waiting), slow_then.next_fire) == ([running.id], 1, START + 3 * HOUR)
        assert (tick_then.state.paused_by, tick_then.state.paused_reason, tick_then.next_fire) == ("ann", "works", None)
        assert (await past.job("slow")).running == (await early.job("slow")).running == [running.id]
        assert not (await early.job("tick")).state.paused
        assert (await past.execution(running.id)).status == "running"
        assert (await kernel.execution(running.id)).status == "failed"
        assert [event.type for event in await past.history(running.id)] == ["scheduled", "started"]

        health = past.health()
        assert (health.running, health.waiting, health.state, health.position) == (
            1,
            1,
            "healthy",
            past.health().position,
        )
        assert health.hold is not None
        assert (health.hold.actor, health.hold.reason) == ("otto", "move")
        assert early.health().hold is None
        assert health.moment is not None
        assert (health.moment.at, health.moment.before.type, health.moment.lost) == (then, "kernel_held", 0)
        assert health.moment.after is not None
        assert (await kernel.events(health.position - 1, 2))[0] == health.moment.before
        assert past.clock.now() == then
        assert await past.kernels() == []
        assert await past.log(running.id) == []
        assert await past.parameters("tick") == await kernel.parameters("tick")
        with pytest.raises(UnknownJobError, match="tick"):
            await past.job("tik")
        later = (await kernel.executions(ExecutionQuery(limit=1))).items[0]
        with pytest.raises(UnknownExecutionError):
            await past.execution(later.id)


@pytest.mark.parametrize(
    ("order", "args"), [("trigger", ("tick",)), ("pause", ("tick",)), ("hold", ()), ("live_runs", ()), ("wait", ())]
)
async def test_the_kernel_of_then_refuses_orders(order: str, args: tuple[Any, ...]) -> None:
    clock = VirtualClock()
    async with make_kernel(Job(id="slow", func=waits), clock=clock) as kernel:
        run = (await kernel.trigger("slow")).execution.id
        past = await kernel.at(clock.now())
        with pytest.raises(PastError, match=r"cannot be changed|had not ended"):
            await getattr(past, order)(*(args or ([run] if order == "wait" else [])))


async def test_a_time_outside_of_the_log_is_refused() -> None:
    clock = VirtualClock()
    async with make_kernel(tick, clock=clock) as kernel:
        with pytest.raises(PastError, match=r"the log begins at .* it knows nothing about"):
            await kernel.at(START - MINUTE)
        with pytest.raises(PastError, match="in the future"):
            await kernel.at(clock.now() + MINUTE)
        with pytest.raises(PastError, match="with an offset"):
            await kernel.at(clock.now().replace(tzinfo=None))


def test_a_kernel_without_a_loop_shows_the_past_by_plain_methods() -> None:
    with BackgroundKernel(jobs=[Job(id="tick", func=tick)]) as kernel:
        run = kernel.wait(kernel.trigger("tick").execution.id)
        past = kernel.at(run.timestamp)

        assert past.execution(run.id).status in {"running", "scheduled"}
        assert past.health().moment is not None
        with pytest.raises(PastError):
            past.pause("tick")


async def test_the_next_fire_of_then_is_the_one_that_the_kernel_had_then() -> None:
    clock = VirtualClock()
    once = Job(id="once", func=tick, at=START + 31 * MINUTE, keep=True)
    jobs = [Job(id="every", func=tick, every=Duration(minutes=7)), Job(id="cron", func=tick, cron="*/9 * * * *"), once]
    async with make_kernel(*jobs, clock=clock) as kernel:
        seen = {}
        for minutes in (5, 7, 11, 9, 30):
            await clock.advance(timedelta(minutes=minutes, seconds=1))
            seen[clock.now()] = {view.job.id: view.next_fire for view in await kernel.jobs()}
        await kernel.skip("every")
        skipped = clock.now()
        seen[skipped] = {view.job.id: view.next_fire for view in await kernel.jobs()}
        await clock.advance(2 * HOUR)

        for moment, fires in seen.items():
            assert {view.job.id: view.next_fire for view in await (await kernel.at(moment)).jobs()} == fires
