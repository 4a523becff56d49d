"""Looks into running bodies: real threads, tasks and processes that wait, hold a lock, recurse, or burn CPU."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import (
    Context,
    Duration,
    ExecutionOverError,
    Job,
    Kernel,
    Outcome,
    Run,
    Runner,
    UnknownExecutionError,
    hookimpl,
)
from gnomon.domain.body_sample import MOST_FRAMES, BodySample, BodyStack, StackFrame
from gnomon.engine import body_samples
from gnomon.runners import child_samples
from gnomon.runners.stack_frames import LARGEST_SOURCE, with_sources

BODIES = Path(__file__).parents[2] / "fixtures" / "bodies"
ON_LINUX = sys.platform == "linux"


@pytest.fixture(autouse=True)
def bodies_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BODIES))


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    async with Kernel(drain=timedelta(0)) as kernel:
        yield kernel


async def until(fact: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - what is waited for is outside of this loop
            await asyncio.sleep(0.01)


async def started(kernel: Kernel, here: Path, body: str, runner: str | None, **policies: Any) -> str:
    """Start a body of `sampled_bodies`, and wait until it has come to where it stops; return the id of its run."""
    marker = here / body
    policies.setdefault("cancel_grace", Duration(milliseconds=1))
    await kernel.add_job(Job(id=body, func=f"sampled_bodies:{body}", runner=runner, **policies))
    execution = (await kernel.trigger(body, kwargs={"marker": str(marker)})).execution
    await until(marker.exists)
    return execution.id


async def found(kernel: Kernel, run: str, is_there: Callable[[BodySample], bool]) -> BodySample:
    """Return the first sample of a body at that place; it notes that it is there just before."""
    async with asyncio.timeout(60):
        while not is_there(sample := await kernel.sample(run)):  # noqa: ASYNC110 - the body is elsewhere
            await asyncio.sleep(0.01)
    return sample


def names(stack: BodyStack) -> list[str]:
    return [frame.function for frame in stack.frames]


def ends_in(*functions: str) -> Callable[[BodySample], bool]:
    return lambda sample: bool(sample.stacks) and names(sample.stacks[0])[-len(functions) :] == list(functions)


@pytest.mark.parametrize("runner", ["thread", "process"])
async def test_a_body_that_waits_for_a_lock_shows_the_line_and_its_source(
    kernel: Kernel, tmp_path: Path, runner: str
) -> None:
    run = await started(kernel, tmp_path, "wait_for_lock", runner)

    sample = await found(kernel, run, lambda one: one.stacks[0].frames[-1].source == "lock.acquire()")

    (frame,) = sample.stacks[0].frames
    assert (frame.function, Path(frame.file).name) == ("wait_for_lock", "sampled_bodies.py")
    assert (BODIES / "sampled_bodies.py").read_text().splitlines()[frame.line - 1].strip() == frame.source
    assert (sample.runner, sample.problem, sample.is_shared) == (runner, None, runner == "thread")
    assert sample.at is not None
    assert sample.process is not None
    assert (sample.process.pid == os.getpid()) is (runner == "thread")
    if ON_LINUX:
        assert sample.process.memory
        assert (sample.process.peak_memory or 0) >= sample.process.memory


@pytest.mark.parametrize("runner", ["thread", "process"])
async def test_of_a_deep_recursion_the_middle_is_left_out(kernel: Kernel, tmp_path: Path, runner: str) -> None:
    run = await started(kernel, tmp_path, "deep", runner)

    sample = await kernel.sample(run)

    stack = sample.stacks[0]
    assert len(stack.frames) == MOST_FRAMES
    assert stack.left_out == 501 - MOST_FRAMES
    assert set(names(stack)) <= {"deep", "Path.touch"}
    assert stack.frames[0].source == stack.frames[49].source == "return deep(marker, depth - 1)"


@pytest.mark.parametrize("runner", ["async", "thread", "process"])
async def test_a_chain_of_awaits_is_followed_to_what_it_waits_for(kernel: Kernel, tmp_path: Path, runner: str) -> None:
    run = await started(kernel, tmp_path, "chain", runner)

    sample = await found(kernel, run, ends_in("_items", "sleep"))

    assert names(sample.stacks[0]) == ["chain", *["_link"] * 4, "_items", "sleep"]
    assert [frame.source for frame in sample.stacks[0].frames[4:6]] == [
        "async for _ in _items(marker):",
        "await asyncio.sleep(HOUR_S)",
    ]
    assert (sample.cpu_s is None) is (runner == "async")  # it shares its thread with the kernel


@pytest.mark.parametrize("runner", ["async", "process"])
async def test_the_tasks_for_which_a_body_waits_are_shown(kernel: Kernel, tmp_path: Path, runner: str) -> None:
    run = await started(kernel, tmp_path, "gather", runner)

    sample = await found(kernel, run, lambda one: len(one.stacks) >= 3 and names(one.stacks[1])[-1] == "Event.wait")

    body, inner, other = sample.stacks[:3]
    assert names(body) == ["gather"]
    assert (inner.name, names(inner)) == ("the inner task", ["_named", "Event.wait"])
    assert names(other) == ["_idle", "sleep"]


async def test_a_coroutine_that_a_plain_function_returned_is_looked_into(kernel: Kernel, tmp_path: Path) -> None:
    run = await started(kernel, tmp_path, "returns_coroutine", "thread")

    sample = await found(kernel, run, ends_in("sleep"))

    assert names(sample.stacks[0]) == ["_idle_after", "sleep"]


async def test_the_threads_that_a_process_has_started_are_shown(kernel: Kernel, tmp_path: Path) -> None:
    run = await started(kernel, tmp_path, "wait_with_threads", "process")

    sample = await found(kernel, run, lambda one: len(one.stacks) == 3)

    assert names(sample.stacks[0]) == ["wait_with_threads"]
    assert {stack.name for stack in sample.stacks[1:]} == {"helper 0", "helper 1"}
    assert all("_help" in names(stack) for stack in sample.stacks[1:])


@pytest.mark.parametrize("runner", ["thread", "process"])
async def test_the_cpu_time_since_the_start_grows_while_a_body_burns_it(
    kernel: Kernel, tmp_path: Path, runner: str
) -> None:
    run = await started(kernel, tmp_path, "burn", runner)

    first = await kernel.sample(run)
    later = await found(kernel, run, lambda one: (one.cpu_s or 0) > (first.cpu_s or 0) + 0.05)

    assert later.process is not None
    assert (later.memory_growth is None) is (runner == "thread" or not ON_LINUX)
    await kernel.cancel(run)


@pytest.mark.skipif(not ON_LINUX, reason="only there a signal shows where code is that holds the interpreter's lock")
async def test_a_body_in_c_code_that_holds_the_lock_is_found_by_a_signal(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_samples, "ANSWER_LIMIT_S", 0.2)
    run = await started(kernel, tmp_path, "backtrack", "process")

    sample = await found(kernel, run, lambda one: bool(one.stacks) and "match" in names(one.stacks[0]))

    assert names(sample.stacks[0])[0] == "backtrack"
    assert 're.match(r"(a+)+$"' in sample.stacks[0].frames[0].source
    assert "holds the interpreter's lock" in (sample.problem or "")
    assert (sample.cpu_s or 0) > 0
    assert (await kernel.execution(run)).status == "running"


@pytest.mark.skipif(not ON_LINUX, reason="only there a stopped process is asked by a signal")
async def test_a_process_that_is_stopped_says_that_it_did_not_answer(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await started(kernel, tmp_path, "wait_for_lock", "process")
    process = (await kernel.sample(run)).process
    assert process is not None
    monkeypatch.setattr(child_samples, "ANSWER_LIMIT_S", 0.2)
    monkeypatch.setattr("gnomon.runners.stack_dump.DUMP_LIMIT_S", 0.2)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await until(lambda: _states(process.pid) == {"T"})
        sample = await kernel.sample(run)
    finally:
        os.kill(process.pid, signal.SIGCONT)

    assert (sample.stacks, sample.is_shared) == ([], False)
    assert "did not answer within" in (sample.problem or "")
    assert sample.process is not None
    assert sample.process.memory


def _states(pid: int) -> set[str]:
    """Return the states of the threads of a process; T is a stopped one."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}


@pytest.mark.parametrize("runner", ["thread", "process"])
async def test_secrets_of_the_run_are_hidden_in_lines_of_source(kernel: Kernel, tmp_path: Path, runner: str) -> None:
    run = await started(kernel, tmp_path, "hide", runner)

    sample = await found(kernel, run, lambda one: one.stacks[0].frames[-1].source.startswith("time.sleep"))

    assert sample.stacks[0].frames[-1].source == 'time.sleep(0.001)  # "***"'
    await kernel.cancel(run)


async def test_a_body_goes_on_while_many_look_into_it(kernel: Kernel, tmp_path: Path) -> None:
    run = await started(kernel, tmp_path, "wait_until_cancelled", "process", cancel_grace=Duration(seconds=30))

    samples = await asyncio.gather(*(kernel.sample(run) for _ in range(20)))
    await kernel.cancel(run)

    assert all(names(sample.stacks[0])[0] == "wait_until_cancelled" for sample in samples)
    assert len({id(sample) for sample in samples}) < len(samples), "several callers have the answer of one look"
    assert (await kernel.wait(run)).status in {"success", "cancelled"}


async def test_a_run_that_waits_for_a_slot_has_no_body_yet(kernel: Kernel, tmp_path: Path) -> None:
    await started(kernel, tmp_path, "wait_until_cancelled", "thread", max_instances=1)
    waiting = (await kernel.trigger("wait_until_cancelled", kwargs={"marker": "-"})).execution.id

    sample = await kernel.sample(waiting)

    assert (sample.stacks, sample.process) == ([], None)
    assert "has not begun" in (sample.problem or "")
    for run in (await kernel.job("wait_until_cancelled")).running:
        await kernel.cancel(run)


async def test_a_run_that_is_over_and_one_that_is_unknown_are_refused(kernel: Kernel) -> None:
    kernel_job = Job(id="short", func=time.time)
    await kernel.add_job(kernel_job, temporary=True)
    run = (await kernel.trigger("short")).execution.id
    await kernel.wait(run)

    with pytest.raises(ExecutionOverError, match="already ended"):
        await kernel.sample(run)
    for unknown in ("0" * 24, "", "half \udcff"):
        with pytest.raises(UnknownExecutionError):
            await kernel.sample(unknown)


async def test_a_body_that_outlives_its_run_is_still_looked_into(kernel: Kernel) -> None:
    go = threading.Event()

    def stubborn() -> None:
        go.wait()

    await kernel.add_job(Job(id="stubborn", func=stubborn, runner="thread"), temporary=True)
    run = (await kernel.trigger("stubborn")).execution.id
    await found(kernel, run, ends_in("Event.wait", "Condition.wait"))
    await kernel.fail(run, "known to be dead")

    sample = await kernel.sample(run)

    assert "stubborn" in names(sample.stacks[0])[0]
    go.set()


class _Runner(Runner):
    """Runs nothing: its bodies wait for `go`. `answer` is what a look finds, or raises."""

    name = "foreign"

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.answer: Any = None

    async def run(self, run: Run) -> Outcome:
        await self.go.wait()
        return Outcome(0.0)

    def cancel(self, execution_id: str) -> None:
        self.go.set()

    async def sample(self, execution_id: str) -> BodySample | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "hang":
            await asyncio.Event().wait()
        return None


class _Plugin:
    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @hookimpl
    def register_runners(self, register: Callable[[Runner], None]) -> None:
        register(self.runner)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "does not look into bodies"),
        (RuntimeError("no way in"), "could not look: RuntimeError: no way in"),
        ("hang", "did not answer within"),
    ],
)
async def test_a_runner_that_cannot_look_is_a_problem_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, answer: Any, problem: str
) -> None:
    monkeypatch.setattr(body_samples, "ANSWER_LIMIT_S", 0.05)
    runner = _Runner()
    runner.answer = answer
    async with Kernel(plugins=[_Plugin(runner)], drain=timedelta(0)) as kernel:
        await kernel.add_job(Job(id="far", func=time.time, runner="foreign"), temporary=True)
        run = (await kernel.trigger("far")).execution.id

        sample = await found(kernel, run, lambda one: "begun" not in (one.problem or ""))

        assert problem in (sample.problem or "")
        assert (sample.runner, sample.stacks) == ("foreign", [])
        runner.go.set()
        with contextlib.suppress(ExecutionOverError):
            await kernel.wait(run)


async def test_an_async_body_that_works_shows_where_it_waits_and_its_own_tasks(kernel: Kernel) -> None:
    ready = asyncio.Event()

    async def helper() -> None:
        ready.set()
        await asyncio.Event().wait()

    async def body(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(helper(), name="helper")

    await kernel.add_job(Job(id="grouped", func=body), temporary=True)
    run = (await kernel.trigger("grouped")).execution.id
    await asyncio.wait_for(ready.wait(), 60)

    sample = await kernel.sample(run)

    assert "TaskGroup.__aexit__" in names(sample.stacks[0])
    if sys.version_info >= (3, 12):  # before, a task does not tell to which run it belongs
        assert [stack.name for stack in sample.stacks[1:]] == ["helper"]
    await kernel.cancel(run)


async def test_only_regular_files_are_read_as_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large.py").write_bytes(b"x = 1\n" + b"#" * LARGEST_SOURCE)
    (tmp_path / "small.py").write_text("y = 2\n")
    files = [
        "/dev/zero",
        tmp_path / "fifo",
        tmp_path / "large.py",
        "<string>",
        "nul\0",
        tmp_path,
        tmp_path / "small.py",
    ]
    frames = [StackFrame("f", str(file), 1) for file in files]

    (stack,) = with_sources([BodyStack(name="the body", frames=frames)])

    assert [frame.source for frame in stack.frames] == [""] * 6 + ["y = 2"]


@pytest.mark.skipif(not ON_LINUX, reason="only there is a file for dumps")
async def test_a_process_runs_where_there_can_be_no_file_for_dumps(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(name: str, flags: int) -> int:
        raise PermissionError(name)

    monkeypatch.setattr(os, "memfd_create", forbidden)
    await kernel.add_job(Job(id="time", func="time:time", runner="process"))

    assert (await kernel.wait((await kernel.trigger("time")).execution.id)).status == "success"
