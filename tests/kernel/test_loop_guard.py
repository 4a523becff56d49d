"""What ends the program in which a kernel is embedded: its own code and its operator, and no job."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

import hostile_tasks
from gnomon import Job, Kernel
from gnomon.loop_guard import run_protected


class Ended(SystemExit):
    """Raised by the program's own handler of SIGTERM."""


def ended(*_: object) -> NoReturn:
    raise Ended


@pytest.fixture
def on_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, ended)
    yield
    signal.signal(signal.SIGTERM, before)


async def live(*bodies: Callable[..., Any]) -> None:
    """Trigger bodies, as jobs of an embedded kernel, and wait for what ends the program."""
    jobs = [Job(id=f"job{number}", func=body) for number, body in enumerate(bodies)]
    async with Kernel(jobs=jobs, blocked_loop_after=None) as kernel:
        for job in jobs:
            await kernel.trigger(job.id)
        await asyncio.sleep(3600)


def run_until_complete(main: Any) -> None:
    """Run as programs do that know no asyncio.run: Ctrl-C raises KeyboardInterrupt wherever it arrives."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(main)
    try:
        loop.run_until_complete(task)
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


async def sigterm_in_a_body() -> None:
    signal.raise_signal(signal.SIGTERM)


async def sigterm_in_a_task() -> None:
    await asyncio.create_task(sigterm_in_a_body())


async def sigterm_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
    await asyncio.sleep(3600)


SIGNALLED = (sigterm_in_a_body, sigterm_in_a_task, sigterm_in_a_callback)


@pytest.mark.usefixtures("on_sigterm")
@pytest.mark.parametrize("body", SIGNALLED, ids=lambda body: body.__name__)
@pytest.mark.parametrize("run", [asyncio.run, run_until_complete, run_protected], ids=lambda run: run.__name__)
def test_a_signal_ends_the_program_whatever_code_it_interrupts(run: Callable[..., None], body: Any) -> None:
    with pytest.raises(Ended):
        run(live(body))


async def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(3600)


@pytest.mark.parametrize("run", [asyncio.run, run_until_complete, run_protected], ids=lambda run: run.__name__)
def test_ctrl_c_ends_the_program(run: Callable[..., None]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(live(interrupt))


@pytest.mark.parametrize("run", [asyncio.run, run_until_complete], ids=lambda run: run.__name__)
@pytest.mark.parametrize("where", ["task", "callback"])
def test_code_of_the_program_itself_ends_it(run: Callable[..., None], where: str) -> None:
    async def end() -> None:
        sys.exit(3)

    async def main() -> None:
        async with Kernel():
            if where == "callback":
                asyncio.get_running_loop().call_soon(sys.exit, 3)
            else:
                task = asyncio.create_task(end())
                task.add_done_callback(asyncio.Task.exception)
            await asyncio.sleep(3600)
        del task

    with pytest.raises(SystemExit):
        run(main())


def test_a_program_that_is_a_kernel_ends_by_its_own_end_only() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.call_soon(sys.exit, 3)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            assert type(task) is not asyncio.Task
        return 7

    async def ends() -> None:
        sys.exit(5)

    assert run_protected(main()) == 7
    with pytest.raises(SystemExit, match="5"):
        run_protected(ends())


async def test_the_loop_of_the_program_is_its_own_again() -> None:
    loop = asyncio.get_running_loop()
    before = dict(loop.__dict__)

    async with AsyncExitStack() as first, AsyncExitStack() as second:
        await first.enter_async_context(Kernel())
        await second.enter_async_context(Kernel())
        loop.set_exception_handler(loop.get_exception_handler())  # only code of jobs is refused
        await first.aclose()
        assert "stop" in loop.__dict__, "the second kernel still guards it"

    assert loop.__dict__.keys() == before.keys()


OTHER_LOOPS = ("wait_for", "group", "call_soon", "call_soon_threadsafe", "call_later", "future_callback", "reader")


@pytest.mark.parametrize(("name", "value"), [("slow_callback_duration", "x"), ("_clock_resolution", None)])
async def test_a_loop_that_fails_because_a_body_broke_an_attribute_continues(name: str, value: Any) -> None:
    loop = asyncio.get_running_loop()
    was_debugging, before = loop.get_debug(), getattr(loop, name)

    async def breaks() -> None:
        loop.set_debug(True)
        setattr(loop, name, value)
        await asyncio.sleep(0.001)

    async def neighbour() -> str:
        return "ran"

    try:
        async with Kernel(jobs=[Job(id="breaks", func=breaks), Job(id="neighbour", func=neighbour)]) as kernel:
            with capture_logs() as logs:
                await kernel.wait((await kernel.trigger("breaks")).execution.id)
                done = await kernel.wait((await kernel.trigger("neighbour")).execution.id)
    finally:
        loop.set_debug(was_debugging)

    assert (done.status, getattr(loop, name)) == ("success", before)
    (line,) = [line for line in logs if line["event"] == "the event loop failed: attributes were restored"]
    assert line["attributes"] == [name]


@pytest.mark.parametrize("ending", hostile_tasks.ENDINGS)
@pytest.mark.parametrize("name", OTHER_LOOPS)
async def test_loops_other_than_those_of_asyncio_are_guarded_too(
    name: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.loop_guard.RUN_ONCE", "not_a_method_of_other_loops")
    body = (hostile_tasks.AWAITED | hostile_tasks.FORGOTTEN)[name]

    async def hostile() -> None:
        await body(hostile_tasks.ENDINGS[ending])

    async with Kernel(jobs=[Job(id="job", func=hostile)], blocked_loop_after=None) as kernel:
        run = await kernel.wait((await kernel.trigger("job")).execution.id)
        assert kernel.health().state == "healthy"

    assert run.status == ("failed" if name in hostile_tasks.AWAITED else "success")
