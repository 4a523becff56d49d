"""`shell` as a job of the process runner: a command under a guard, under a child interpreter, under a kernel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon import Duration, Job, Kernel


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    async with Kernel() as kernel:
        yield kernel


async def start(kernel: Kernel, *argv: str, **policies: Any) -> str:
    kwargs = {"argv": list(argv)}
    await kernel.add_job(Job(id="sh", func="gnomon_chores:shell", runner="process", kwargs=kwargs, **policies))
    return (await kernel.trigger("sh")).execution.id


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of this process
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_its_result_and_its_lines_come_home(kernel: Kernel) -> None:
    execution = await kernel.wait(await start(kernel, "sh", "-c", "echo out; echo err >&2"))

    lines = [(line.level, line.text) for line in await kernel.log(execution.id)]
    assert execution.status == "success", execution.error_message
    assert (execution.return_value["exit_code"], execution.return_value["stdout"]) == (0, "out\n")
    assert {("info", "out"), ("warning", "err")} <= set(lines)


async def test_a_command_that_fails_fails_the_run_with_its_last_words(kernel: Kernel) -> None:
    execution = await kernel.wait(await start(kernel, "sh", "-c", "echo no such table >&2; exit 3"))

    assert (execution.status, execution.reason) == ("failed", "exception")
    assert "no such table" in (execution.error_message or "")


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
async def test_a_cancelled_command_leaves_nothing_behind(kernel: Kernel, tmp_path: Path, trap: str) -> None:
    pids = tmp_path / "pids"
    script = f"{trap}sleep 3600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    run = await start(kernel, "sh", "-c", script, cancel_grace=Duration(seconds=1))
    await until(pids.exists)

    await kernel.cancel(run, actor="me")
    execution = await kernel.wait(run)

    assert execution.status == "cancelled"
    await until(lambda: all(is_gone(int(pid)) for pid in pids.read_text().split()))


async def test_a_look_inside_shows_that_the_body_waits_for_its_command(kernel: Kernel, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    run = await start(kernel, "sh", "-c", f"touch {begun}; exec sleep 1000", cancel_grace=Duration(seconds=1))
    await until(begun.exists)

    sample = await kernel.sample(run)
    await kernel.cancel(run, actor="me")

    functions = [frame.function for frame in sample.stacks[0].frames]
    assert (functions[0], sample.problem, sample.is_shared) == ("shell", None, False)
    assert "MonitoredProcess.exit_code" in functions
    assert (await kernel.wait(run)).status == "cancelled"
