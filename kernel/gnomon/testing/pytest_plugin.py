"""Fixtures for tests of jobs and plugins; pytest discovers them once gnomon is installed.

All names begin with `gnomon_`. The fixtures are synchronous, so they work with every mode of pytest-asyncio, with
anyio, and with `asyncio.run` in a synchronous test:

    async def test_my_job(gnomon_run_job):
        execution = await gnomon_run_job(my_job, market="cn")

        assert execution.status == "success"

    async def test_my_plugin(gnomon_kernel, gnomon_clock, gnomon_events):
        plugin = MyPlugin()
        async with gnomon_kernel(my_job, plugins=[plugin]):
            await gnomon_clock.advance(timedelta(days=1))

        assert len(gnomon_events.of(Succeeded)) == 24
"""

# Nothing of gnomon is imported before a fixture is used: pytest loads this module in every test run on a machine, and
# coverage does not see modules that are imported so early.

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gnomon.domain.execution import Execution
    from gnomon.kernel import Kernel
    from gnomon.testing.clock import VirtualClock
    from gnomon.testing.kernels import EventList


@pytest.fixture
def gnomon_clock() -> VirtualClock:
    """Return a clock that moves only by `await gnomon_clock.advance(...)`, `advance_to(...)` and `jump(...)`."""
    from gnomon.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def gnomon_events() -> EventList:
    """Return the list of the events of all kernels made by `gnomon_kernel`; `of(Type)` selects from it."""
    from gnomon.testing import EventList

    return EventList()


@pytest.fixture
def gnomon_kernel(gnomon_clock: VirtualClock, gnomon_events: EventList) -> Callable[..., Kernel]:
    """Return a function that makes a kernel of jobs and plugins, on the test's clock and in memory.

    `async with gnomon_kernel(job, other, plugins=[plugin], max_running=3) as kernel:` starts and stops it. Functions
    become jobs that run when triggered. A second kernel continues with the log of the first one: a restart.
    """
    from gnomon.testing import RecordingStore, make_kernel

    store = RecordingStore(gnomon_events)
    return functools.partial(make_kernel, clock=gnomon_clock, store=store)


@pytest.fixture
def gnomon_run_job() -> Callable[..., Awaitable[Execution]]:
    """Return a coroutine function that runs a job's body once, with these arguments, and returns the Execution.

    `await gnomon_run_job(job, market="cn")`; threads and time limits are real, the schedule is ignored.
    """
    from gnomon.testing import run_job

    return run_job
