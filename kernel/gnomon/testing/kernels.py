"""Kernels for tests: in memory, on a virtual clock, with a list of all events."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from gnomon.domain.events import Event, KernelEvent
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
from gnomon.ports import Clock, Store
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock

THREAD_PATIENCE_S = 1.0
"""Real time within which a function in a thread is expected to end, unless it blocks."""
THREAD_TURNS = 500
"""Checks, about half a millisecond apart, that must pass as well: in a suspended process no thread can end."""

E = TypeVar("E", bound=Event)
Runnable = Job | Callable[..., Any]


class EventList(list[Event]):
    """Events in log order."""

    def of(self, event_type: type[E], job_id: str | None = None) -> list[E]:
        """Return the events of a type, and only those of `job_id` if it is given."""
        return [event for event in self if isinstance(event, event_type) and job_id in {None, event.job_id}]

    @property
    def types(self) -> list[str]:
        """The names of the event types of jobs and runs, such as `scheduled`, without those of kernels."""
        return [event.type for event in self if not isinstance(event, KernelEvent)]


class RecordingStore(MemoryStore):
    """An in-memory store that lists durable events in `recorded`; its log survives closing and opening it again."""

    def __init__(self, recorded: EventList | None = None) -> None:
        super().__init__()
        self.recorded = EventList() if recorded is None else recorded

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        await super().append(events, executions, jobs)
        self.recorded += events


def make_job(body: Runnable, **policies: Any) -> Job:
    """Return a Job of a function with these keys; a Job, or a function decorated with @job, is used unchanged."""
    declared = getattr(body, "__gnomon_job__", body)
    if isinstance(declared, Job):
        return declared
    name = re.sub(r"\W", "", getattr(body, "__name__", ""), flags=re.ASCII).lstrip("_")
    keys: dict[str, Any] = {"id": name or "job", "func": body, **policies}
    return Job(**keys)


def make_kernel(
    *jobs: Runnable,
    plugins: Mapping[str, Any] | Iterable[Any] = (),
    clock: Clock | None = None,
    store: Store | None = None,
    **settings: Any,
) -> Kernel:
    """Return a kernel that is not started yet: in memory, on a virtual clock, with `drain` 0.

    `plugins` are objects, classes or modules with hooks, whose jobs the kernel serves; their stores are not used.
    `settings` are those of `Kernel`.
    """
    clock = clock or VirtualClock()
    # A busy machine may hold up any loop for a second, and tests compare whole logs: no warnings about that by default.
    settings = {"drain": timedelta(0), "node": "test", "blocked_loop_after": None, **settings}
    jobs = tuple(make_job(body) for body in jobs)
    kernel = Kernel(store=store or RecordingStore(), jobs=jobs, plugins=plugins, clock=clock, **settings)
    if isinstance(clock, VirtualClock):
        clock.is_idle = _settled(kernel)
    return kernel


def _settled(kernel: Kernel) -> Callable[[], bool]:
    """Return a function that checks whether a kernel is idle and its threads have had time to end.

    Without the second condition, fires would overlap by chance. A thread that blocks, perhaps until the test releases
    it, is waited for once.
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
        return all(now - since > THREAD_PATIENCE_S and turns > THREAD_TURNS for since, turns in seen.values())

    return is_settled


async def run_job(body: Runnable, /, **kwargs: Any) -> Execution:
    """Run a body once, with real threads and time limits, and return the execution: status, value, progress.

    `kwargs` are the arguments of this run, whatever the job's `overrides` are. The job's schedule and its retries are
    ignored.
    """
    import msgspec

    from gnomon.clock import SystemClock

    job = make_job(body)
    job = msgspec.structs.replace(job, kwargs={**job.kwargs, **kwargs}, debounce=None)
    async with make_kernel(job, clock=SystemClock(), keeps_time=False) as kernel:
        triggered = await kernel.trigger(job.id, actor="test")
        return await kernel.end_of(triggered.execution.id)  # a body that snoozes has been run, too
