"""Bodies in child interpreters: real processes, real signals."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon import Duration, Execution, Job, Kernel
from gnomon.jobs.job import Limits

BODIES = Path(__file__).parents[2] / "fixtures" / "bodies"


@pytest.fixture(autouse=True)
def bodies_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BODIES))


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    async with Kernel() as kernel:
        yield kernel


async def start(kernel: Kernel, body: str, **policies: Any) -> str:
    kwargs = policies.pop("kwargs", {})
    policies.setdefault("cancel_grace", Duration(seconds=30))
    job = Job(id=body, func=f"process_bodies:{body}", runner="process", **policies)
    await kernel.add_job(job, replace=True)
    return (await kernel.trigger(body, kwargs=kwargs)).execution.id


async def run(kernel: Kernel, body: str, **policies: Any) -> Execution:
    return await kernel.wait(await start(kernel, body, **policies))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of this process
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_a_process_body_has_its_arguments_and_the_same_context(kernel: Kernel) -> None:
    execution = await run(kernel, "add", kwargs={"a": 40})

    assert execution.status == "success", execution.error_message
    assert execution.return_value["sum"] == 42
    assert execution.return_value["pid"] != os.getpid()
    assert [(step.name, step.status, step.weight) for step in execution.progress.steps] == [
        ("one", "completed", 1.0),
        ("two", "completed", 3.0),
    ]
    assert (execution.progress.processed_items, execution.progress.total_items) == (4, 4)


async def test_everything_that_a_process_body_says_is_kept_with_its_run(kernel: Kernel) -> None:
    execution = await run(kernel, "talk")

    lines = {(line.level, line.text) for line in await kernel.log(execution.id)}
    assert {
        ("info", "from logging"),
        ("warning", "from structlog answer=42"),
        ("stdout", "from print"),
        ("stderr", "from stderr"),
    } <= lines


async def test_an_exception_is_told_with_its_traceback(kernel: Kernel) -> None:
    execution = await run(kernel, "raise_error")

    assert (execution.status, execution.reason) == ("failed", "exception")
    assert (execution.error_type, execution.error_message) == ("ValueError", "no good")
    assert "in raise_error" in (execution.traceback or "")


async def test_a_death_by_signal_is_reported_with_its_name_and_last_lines(kernel: Kernel) -> None:
    execution = await run(kernel, "crash")

    assert (execution.status, execution.reason) == ("failed", "killed")
    assert "SIGSEGV" in (execution.error_message or "")
    assert "last words" in (execution.error_message or "")


async def test_an_exit_without_a_word_is_reported_with_its_code(kernel: Kernel) -> None:
    execution = await run(kernel, "leave_at_once")

    assert execution.status == "failed"
    assert "exited with code 3" in (execution.error_message or "")


async def test_a_memory_limit_is_enforced(kernel: Kernel) -> None:
    execution = await run(kernel, "take_memory", limits=Limits(memory=1024**3))

    assert (execution.status, execution.error_type) == ("failed", "MemoryError")


async def test_a_cpu_limit_is_enforced(kernel: Kernel) -> None:
    execution = await run(kernel, "burn_cpu", limits=Limits(cpu=Duration(seconds=1)))

    assert (execution.status, execution.reason) == ("failed", "killed")
    assert "SIGXCPU" in (execution.error_message or "")


@pytest.mark.parametrize("body", ["sleep_for_ever", "sleep_for_ever_async", "swallow_everything"])
async def test_a_cancelled_process_stops_within_its_grace(kernel: Kernel, tmp_path: Path, body: str) -> None:
    marker = tmp_path / "started"
    execution_id = await start(kernel, body, kwargs={"marker": str(marker)})
    await until(marker.exists)

    await kernel.cancel(execution_id, actor="me")
    execution = await kernel.wait(execution_id)

    assert (execution.status, execution.cancelled_by) == ("cancelled", "me")


async def test_a_body_that_ignores_sigterm_is_gone_after_its_grace(kernel: Kernel, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    grace = Duration(milliseconds=200)
    execution_id = await start(kernel, "ignore_sigterm", kwargs={"marker": str(marker)}, cancel_grace=grace)
    await until(marker.exists)

    await kernel.cancel(execution_id, actor="me")
    execution = await kernel.wait(execution_id)

    assert execution.status == "cancelled"


async def test_a_body_that_ends_in_spite_of_a_request_tells_the_truth(kernel: Kernel, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    execution_id = await start(kernel, "end_in_spite", kwargs={"marker": str(marker)})
    await until(marker.exists)

    await kernel.cancel(execution_id, actor="me")
    execution = await kernel.wait(execution_id)

    assert (execution.status, execution.return_value) == ("success", "finished anyway")
    assert execution.cancel_requested


async def test_a_timeout_ends_a_process(kernel: Kernel, tmp_path: Path) -> None:
    marker = str(tmp_path / "started")
    execution = await run(kernel, "sleep_for_ever", kwargs={"marker": marker}, timeout=Duration(seconds=2))

    assert (execution.status, execution.reason) == ("failed", "timeout")


async def test_what_a_body_leaves_behind_is_killed_with_it(kernel: Kernel, tmp_path: Path) -> None:
    execution = await run(kernel, "leave_a_child", kwargs={"marker": str(tmp_path / "pid")})

    assert execution.status == "success"
    await until(lambda: not is_alive(execution.return_value))


async def test_a_child_that_hangs_at_its_exit_is_ended(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.runners.process.EXIT_TIMEOUT_S", 0.2)

    execution = await run(kernel, "hang_at_exit")

    assert (execution.status, execution.return_value) == ("success", "done")


# --- what a body finds, and the processes that it forks ---


async def test_the_environment_of_a_body_is_the_kernels(kernel: Kernel) -> None:
    execution = await run(kernel, "show_environment")

    assert {**execution.return_value, "LC_CTYPE": ""} == {**os.environ, "LC_CTYPE": ""}  # Python may set that one


@pytest.mark.parametrize("how", ["exit", "raise", "return"])
async def test_only_the_first_process_of_a_body_ends_its_run(kernel: Kernel, how: str) -> None:
    execution = await run(kernel, "forks", kwargs={"how": how})

    assert (execution.status, execution.return_value) == ("success", "the body")
    assert [event.type for event in await kernel.history(execution.id)] == ["scheduled", "started", "succeeded"]


KERNEL_WHOSE_BODY_FORKS = """
import asyncio, sys
sys.path.insert(0, {bodies!r})
from gnomon import Job, Kernel

async def main():
    async with Kernel(jobs=[Job(id="forks", func="process_bodies:{body}", kwargs={{"how": {how!r}}})]) as kernel:
        execution = await kernel.wait((await kernel.trigger("forks")).execution.id)
        print(execution.status, execution.return_value, file=sys.stderr)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["exit", "raise", "return"])
@pytest.mark.parametrize("body", ["forks", "forks_async"])
def test_a_process_that_a_body_forks_from_the_kernel_is_no_second_kernel(body: str, how: str) -> None:
    script = KERNEL_WHOSE_BODY_FORKS.format(bodies=str(BODIES), body=body, how=how)
    command = [sys.executable, "-W", "ignore", "-c", script]

    kernel = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)

    assert kernel.stderr.splitlines() == [b"success the body"]


async def test_lines_of_a_forked_process_do_not_damage_those_of_the_body(kernel: Kernel) -> None:
    execution = await run(kernel, "logs_from_a_forked_process")

    texts = [line.text.partition(" ")[0] for line in await kernel.log(execution.id, limit=1000)]
    assert execution.status == "success", execution.error_message
    assert {"forked", "body"} >= set(texts)
    assert len(texts) > 50


@pytest.mark.parametrize("how", ["basicConfig", "shutdown", "clear", "structlog"])
async def test_a_process_body_that_reconfigures_logging_keeps_its_lines(kernel: Kernel, how: str) -> None:
    execution = await run(kernel, "reconfigures_logging", kwargs={"how": how})

    lines = [(line.level, line.text) for line in await kernel.log(execution.id)]
    assert {("warning", "after it"), ("warning", "after it, too")} <= set(lines)


async def test_what_is_not_unicode_passes_as_it_does_from_a_thread(kernel: Kernel) -> None:
    seen = []
    for runner in ("thread", "process"):
        await kernel.add_job(Job(id=runner, func="process_bodies:tells_surrogates", runner=runner))
        execution = await kernel.wait((await kernel.trigger(runner)).execution.id)
        lines = [(line.level, line.text, line.logger) for line in await kernel.log(execution.id)]
        progress = execution.progress
        steps = [step.name for step in progress.steps]
        seen.append((execution.status, lines, progress.message, progress.current_item, steps))

    assert seen[0] == seen[1]
    assert seen[0][:2] == ("success", [("warning", "text \\udcff \\x00", "logger \\udcff")])


KERNEL = """
import asyncio, sys
sys.path.insert(0, {bodies!r})
from gnomon import Job, Kernel

async def main():
    async with Kernel(jobs=[Job(id="w", func="process_bodies:wait_with_a_child", runner="process")]) as kernel:
        triggered = await kernel.trigger("w", kwargs={{"marker": {marker!r}}})
        await kernel.wait(triggered.execution.id)

asyncio.run(main())
"""


async def test_no_child_is_left_behind_when_the_kernel_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    script = KERNEL.format(bodies=str(BODIES), marker=str(marker))
    kernel = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        await until(lambda: marker.exists() and bool(marker.read_text()))
        grandchild = int(marker.read_text())
        child = int(Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[1])

        kernel.send_signal(signal.SIGKILL)
        kernel.wait()

        await until(lambda: not is_alive(child) and not is_alive(grandchild))
    finally:
        kernel.kill()
        kernel.wait()


KERNEL_THAT_FORKS = """
import asyncio, os, sys, time
sys.path.insert(0, {bodies!r})
from gnomon import Job, Kernel

def fork():
    if (child := os.fork()) == 0:
        time.sleep(3600)
        os._exit(0)
    return child

async def main():
    jobs = [Job(id="w", func="process_bodies:wait_with_a_child", runner="process"), Job(id="fork", func=fork)]
    async with Kernel(jobs=jobs) as kernel:
        waiting = await kernel.trigger("w", kwargs={{"marker": {marker!r}}})
        while not os.path.exists({marker!r}):
            await asyncio.sleep(0.01)
        forked = await kernel.wait((await kernel.trigger("fork")).execution.id)
        with open({forked!r}, "w") as file:
            file.write(f"{{forked.return_value}}\\n")
        await kernel.wait(waiting.execution.id)

asyncio.run(main())
"""


async def test_a_fork_of_the_killed_kernel_keeps_no_child_alive(tmp_path: Path) -> None:
    marker, forked = tmp_path / "pid", tmp_path / "forked"
    script = KERNEL_THAT_FORKS.format(bodies=str(BODIES), marker=str(marker), forked=str(forked))
    kernel = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stderr=subprocess.DEVNULL)
    fork = 0
    try:
        await until(lambda: forked.exists() and forked.read_text().endswith("\n"))
        grandchild, fork = int(marker.read_text()), int(forked.read_text())
        child = int(Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[1])

        kernel.send_signal(signal.SIGKILL)
        kernel.wait()

        await until(lambda: not is_alive(child) and not is_alive(grandchild))
        assert is_alive(fork)
    finally:
        kernel.kill()
        kernel.wait()
        if fork:
            os.kill(fork, signal.SIGKILL)
