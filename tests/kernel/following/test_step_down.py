"""A kernel that leads hands its log to one that follows, and follows itself; it refuses where none could lead."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon import ActRefused, Duration, Job, Kernel, KernelLed, KernelStopped, current
from gnomon.domain.records import ActionQuery
from gnomon.errors import StepDownError
from gnomon_sqlite import SqliteStore

PATIENCE_S = 60.0
OTHER = """
import asyncio, sys
from gnomon import Duration, Job, Kernel
from gnomon_sqlite import SqliteStore

async def main():
    tick = Job(id="tick", func="time:time", every=Duration(hours=1))
    async with Kernel(store=SqliteStore(sys.argv[1]), node="other", role=sys.argv[2], jobs=[tick]):
        print("runs", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def other_kernel(log: Path, role: str = "auto") -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a kernel on the log in another process, which is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER, str(log), role, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"runs\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)


async def until_followed(kernel: Kernel) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await kernel.kernels()) < 2:  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)


def leads(kernel: Kernel) -> bool:
    return kernel.health().role == "leader" and not kernel.health().is_starting


async def test_a_kernel_that_steps_down_follows_the_one_that_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    tick = Job(id="tick", func="time:time", every=Duration(hours=1))
    async with Kernel(store=SqliteStore(path), node="first", jobs=[tick]) as kernel, other_kernel(path) as other:
        await until_followed(kernel)
        answer = await kernel.step_down(actor="ann", reason="a new machine")
        assert answer.successors == [f"process {other.pid} on other"]
        assert (answer.running, answer.within_s) == ([], 30.0)
        await until(lambda: kernel.health().leader == f"process {other.pid} on other")
        assert kernel.health().role == "follower"

        run = (await kernel.trigger("tick", actor="ann")).execution  # an order to the new leader
        assert (await kernel.wait(run.id)).node == "other"
        facts = [event for event in await kernel.events() if isinstance(event, KernelLed | KernelStopped)]
        assert [(fact.type, fact.node) for fact in facts] == [
            ("kernel_led", "first"),
            ("kernel_stopped", "first"),
            ("kernel_led", "other"),
        ]
        (stop,) = [fact for fact in facts if isinstance(fact, KernelStopped)]
        assert (stop.actor, stop.reason) == ("ann", "it stepped down: a new machine")
        acts = (await kernel.actions(ActionQuery(actor="ann"))).items
        assert ("step_down", "it stepped down: a new machine") in [(act.action, act.detail) for act in acts]

        other.send_signal(signal.SIGKILL)
        await until(lambda: leads(kernel))


async def test_a_follower_passes_on_that_the_leader_is_to_step_down(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with other_kernel(path) as other, Kernel(store=SqliteStore(path), node="second") as kernel:
        await until(lambda: kernel.health().leader is not None)
        answer = await kernel.step_down(actor="ann")
        assert answer.leader == f"process {other.pid} on other"
        await until(lambda: leads(kernel))
        assert [one.actor for one in await kernel.events() if isinstance(one, KernelStopped)] == ["ann"]


async def test_bodies_end_as_at_a_clean_stop(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    began, seen = asyncio.Event(), []

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(current().execution_id)
            raise

    job = Job(id="endless", func=endless)
    async with (
        Kernel(store=SqliteStore(path), jobs=[job], drain=timedelta(0)) as kernel,
        other_kernel(path) as other,
    ):
        await until_followed(kernel)
        run = (await kernel.trigger("endless")).execution
        await began.wait()
        answer = await kernel.step_down(actor="ann")
        assert answer.running == [run.id]
        await until(lambda: kernel.health().leader == f"process {other.pid} on other")
        ended = await kernel.wait(run.id)

    assert (seen, ended.status) == ([run.id], "cancelled")


async def test_a_kernel_does_not_step_down_where_none_could_lead(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Kernel(store=SqliteStore(path), node="first") as kernel, other_kernel(path, "follower"):
        await until_followed(kernel)
        with pytest.raises(StepDownError, match='no kernel with the role "auto" follows it, so nothing would fire'):
            await kernel.step_down(actor="ann", reason="a new machine")
        assert leads(kernel)
        (refused,) = [one for one in await kernel.events() if isinstance(one, ActRefused)]
        assert (refused.actor, refused.action) == ("ann", "step_down")


async def test_a_kernel_does_not_step_down_that_would_not_follow(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Kernel(store=SqliteStore(path), role="leader") as kernel, other_kernel(path):
        await until_followed(kernel)
        with pytest.raises(StepDownError, match='it has the role "leader", so it would not follow; stop it instead'):
            await kernel.step_down()
    async with Kernel() as kernel:
        with pytest.raises(StepDownError, match="no other process can open the log"):
            await kernel.step_down()
