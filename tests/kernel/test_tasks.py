"""How the kernel ends its tasks."""

from __future__ import annotations

import asyncio

import pytest

from gnomon.tasks import protected, stop_tasks


async def deaf(swallowed: int, ended: list[int]) -> None:
    """Swallow so many cancellations, as a driver does now and then."""
    for number in range(swallowed + 1):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if number == swallowed:
                ended.append(number)
                raise


@pytest.mark.timeout(30)
async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    ended: list[int] = []
    tasks = [protected(deaf(number, ended)) for number in (0, 1, 3)]
    await asyncio.sleep(0)

    await stop_tasks(tasks, again_s=0.01)

    assert sorted(ended) == [0, 1, 3]
    assert all(task.cancelled() for task in tasks)
    await stop_tasks(tasks)


async def test_a_task_that_has_failed_is_not_waited_for() -> None:
    async def fail() -> None:
        raise ValueError("it failed")

    failed = protected(fail())
    await asyncio.wait((failed,))
    await stop_tasks((failed,))
    assert isinstance(failed.exception(), ValueError)
