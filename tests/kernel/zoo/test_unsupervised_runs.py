"""A runner that raises is a defect of the kernel: the run ends with the reason internal, and its slot is free."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Failed, Job, Kernel, Succeeded
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.base import Outcome, Run
from gnomon.testing import EventList, VirtualClock
from gnomon.testing.clock import START

DUE = START + timedelta(minutes=1)


async def body() -> str:
    return "done"


@pytest.mark.parametrize(
    "error", [ValueError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
async def test_a_run_that_cannot_be_supervised_fails_and_frees_its_slot(
    gnomon_kernel: Callable[..., Kernel],
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    runs_body = AsyncRunner.run
    is_broken = True

    async def run(self: AsyncRunner, run: Run) -> Outcome:
        if run.execution.job_id == "broken" and is_broken:
            raise error("by a defect")
        return await runs_body(self, run)

    monkeypatch.setattr(AsyncRunner, "run", run)
    jobs: list[Any] = [Job(id=name, func=body, at=DUE) for name in ("a_before", "broken", "z_after")]
    async with gnomon_kernel(*jobs, max_running=3) as kernel:
        await gnomon_clock.advance_to(DUE)
        await gnomon_clock.until(lambda: len(gnomon_events.of(Failed) + gnomon_events.of(Succeeded)) == 3)
        is_broken = False
        again = await kernel.wait((await kernel.trigger("broken")).execution.id)
        health = kernel.health()

    (failed,) = gnomon_events.of(Failed)
    assert (failed.job_id, failed.reason) == ("broken", "internal")
    assert f"{error.__name__}: by a defect" in (failed.error_message or "")
    assert {event.job_id for event in gnomon_events.of(Succeeded)} == {"a_before", "z_after", "broken"}
    assert (again.status, health.state, health.running) == ("success", "healthy", 0)
