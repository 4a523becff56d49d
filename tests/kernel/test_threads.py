"""Calls in threads: each has an end, whatever job code has set for all threads of the process."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from gnomon import Job
from gnomon.testing import make_kernel
from gnomon.threads import in_thread


def refuse(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture(params=["settrace", "setprofile"])
def hook(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], None]]:
    """Return a function that sets a trace or profile function for all new threads."""
    set_hook = getattr(threading, request.param)
    before = getattr(threading, f"get{request.param.removeprefix('set')}")()
    yield set_hook
    set_hook(before)


async def test_a_call_that_cannot_begin_fails(hook: Callable[[Any], None]) -> None:
    hook(refuse)

    with pytest.raises(RuntimeError, match="ended before its call began: KeyboardInterrupt"):
        await in_thread(lambda: 1, "test")


async def test_no_run_stays_running_when_a_job_sets_a_hook_for_all_threads(hook: Callable[[Any], None]) -> None:
    def hostile() -> None:
        hook(refuse)

    def neighbour() -> None: ...

    async with make_kernel(Job(id="hostile", func=hostile), Job(id="neighbour", func=neighbour)) as kernel:
        runs = [await kernel.wait((await kernel.trigger(job)).execution.id) for job in ("hostile", "neighbour")]
        hook(None)
        runs.append(await kernel.wait((await kernel.trigger("neighbour")).execution.id))

    assert [run.status for run in runs] == ["success", "failed", "success"]
    assert "ended before its call began" in str(runs[1].error_message)
