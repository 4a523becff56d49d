"""Coroutines that share a task until one of them waits."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from gnomon.engine.task_sharing import take_turns

Body = Callable[[], Coroutine[Any, Any, None]]
seen: ContextVar[str] = ContextVar("seen", default="nothing")


def begin(*bodies: Body) -> list[asyncio.Task[None]]:
    """Run the bodies in shared tasks and return the task of each, in order, as it begins."""
    tasks: list[asyncio.Task[None]] = []

    def give_up(_: Body, exc: BaseException) -> None:
        raise exc

    async def run(body: Body, task: asyncio.Task[None]) -> None:
        assert asyncio.current_task() is task
        tasks.append(task)
        await body()

    take_turns(asyncio.get_running_loop(), iter(bodies), run, give_up)
    return tasks


async def test_those_that_do_not_wait_share_one_task() -> None:
    async def body() -> None:
        pass

    tasks = begin(body, body, body)
    await asyncio.sleep(0)

    assert len(tasks) == 3
    assert len(set(tasks)) == 1


async def test_all_begin_although_each_waits_and_each_has_a_task_of_its_own() -> None:
    done = asyncio.Event()
    ended = 0

    async def body() -> None:
        nonlocal ended
        task = asyncio.current_task()
        await done.wait()
        assert asyncio.current_task() is task
        ended += 1

    tasks = begin(*[body] * 50)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert len(set(tasks)) == 50
    done.set()
    await asyncio.gather(*tasks)
    assert ended == 50


async def test_a_cancelled_one_is_the_only_one_that_is_hit() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")

    async def ends() -> None:
        ended.append("ended")

    tasks = begin(waits, ends)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks)

    assert ended == ["ended", "cancelled"]


async def test_one_that_cancels_its_own_task_and_goes_on_does_not_hit_the_next() -> None:
    ended: list[str] = []

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        ended.append("cancels itself")

    async def waits() -> None:
        await asyncio.sleep(0)
        ended.append("waits")

    begin(cancels_itself, waits)
    for _ in range(4):
        await asyncio.sleep(0)

    assert ended == ["cancels itself", "waits"]


async def test_nobody_sees_the_context_variables_of_another() -> None:
    found: list[str] = []

    async def sets() -> None:
        seen.set("something")
        await asyncio.sleep(0)
        found.append(seen.get())

    async def looks() -> None:
        found.append(seen.get())

    tasks = begin(sets, looks, sets, looks)
    for _ in range(4):
        await asyncio.sleep(0)
    await asyncio.wait(tasks)

    assert sorted(found) == ["nothing", "nothing", "something", "something"]
    assert seen.get() == "nothing"


async def test_a_time_limit_inside_of_a_body_is_its_own() -> None:
    ended: list[str] = []
    is_over = asyncio.Event()

    async def limited() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            ended.append("timed out")
            is_over.set()

    async def other() -> None:
        await is_over.wait()
        ended.append("went on")

    tasks = begin(limited, other)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait(tasks)

    assert ended == ["timed out", "went on"]
