"""Kernels for tests: in memory, on a clock that the test moves, with a record of every event."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Clock, Store
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock

THREAD_PATIENCE = 1.0
"""Seconds of real time in which a function that runs in a thread is expected to end, unless it blocks."""
THREAD_TURNS = 500
"""How often it is looked for as well, some half a millisecond apart: a process that stands still lets no thread end."""

E = TypeVar("E", bound=Event)
Runnable = Job | Callable[..., Any]


class EventList(list[Event]):
    """Events in the order of the log."""

    def of(self, event_type: type[E], job_id: str | None = None) -> list[E]:
        """Return the events of a type, and of a job if one is named."""
        return [event for event in self if isinstance(event, event_type) and job_id in {None, event.job_id}]

    @property
    def types(self) -> list[str]:
        """The names of the events, such as `scheduled`."""
        return [event.type for event in self]


class RecordingStore(MemoryStore):
    """An in-memory store that lists what is durable in `recorded`; closed and opened again, it has all it had."""

    def __init__(self, recorded: EventList | None = None) -> None:
        super().__init__()
        self.recorded = EventList() if recorded is None else recorded

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        await super().append(events, executions, jobs)
        self.recorded += events


def make_job(body: Runnable, **policies: Any) -> Job:
    """Make a Job of a function with these keys; a Job, or a function declared with @job, is taken as it is."""
    declared = getattr(body, "__gnomon_job__", body)
    if isinstance(declared, Job):
        return declared
    name = re.sub(r"\W", "", getattr(body, "__name__", ""), flags=re.ASCII).lstrip("_")
    keys: dict[str, Any] = {"id": name or "job", "func": body, **policies}
    return Job(**keys)


def make_kernel(
    *jobs: Runnable,
    plugins: Iterable[Any] = (),
    clock: Clock | None = None,
    store: Store | None = None,
    **settings: Any,
) -> Kernel:
    """Make a kernel that is not started yet: in memory, on a virtual clock, leaving without waiting for bodies.

    `plugins` are objects, classes or modules with hooks; `settings` are those of `Kernel`.
    """
    plugin_set = PluginSet()
    for plugin in plugins:
        plugin_set.add(plugin)
    clock = clock or VirtualClock()
    settings = {"drain": timedelta(0), "node": "test", **settings}
    jobs = tuple(make_job(body) for body in jobs)
    kernel = Kernel(store=store or RecordingStore(), jobs=jobs, plugins=plugin_set, clock=clock, **settings)
    if isinstance(clock, VirtualClock):
        clock.is_idle = _settled(kernel)
    return kernel


def _settled(kernel: Kernel) -> Callable[[], bool]:
    """Make what asks whether a kernel is idle and its threads have had time to end: else fires would overlap by chance.

    A thread that blocks, perhaps until its test says so, is waited for once and then left alone.
    """
    seen: dict[str, tuple[float, int]] = {}

    def is_settled() -> bool:
        nonlocal seen
        if not kernel.is_idle:
            return False
        now = time.monotonic()
        before, seen = seen, {}
        for run in kernel.in_threads:
            since, turns = before.get(run, (now, 0))
            seen[run] = since, turns + 1
        return all(now - since > THREAD_PATIENCE and turns > THREAD_TURNS for since, turns in seen.values())

    return is_settled


async def run_job(body: Runnable, /, **kwargs: Any) -> Execution:
    """Run one body to its end, with real threads and time limits, and return the execution: status, value, progress.

    `kwargs` are the arguments of this run. The job's schedule, and attempts after the first one, do not happen.
    """
    from gnomon.clock import SystemClock

    job = make_job(body)
    async with make_kernel(job, clock=SystemClock(), keeps_time=False) as kernel:
        triggered = await kernel.trigger(job.id, kwargs=kwargs, actor="test")
        return await kernel.wait(triggered.execution.id)
