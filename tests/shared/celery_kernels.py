"""Kernels whose bodies run in Celery workers, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gnomon import Execution, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.testing import make_kernel
from gnomon_celery import CeleryConfig, CeleryPlugin

Wait = Callable[[Callable[[], Any]], Awaitable[None]]


QUICK: dict[str, Any] = {"heartbeat": Duration(milliseconds=500)}
"""A body without a heartbeat counts as lost after 1.5 s."""


def settings(url: str, **given: Any) -> CeleryConfig:
    """Return a config with which no body counts as lost, however busy the machine is."""
    return CeleryConfig(
        **{"broker": Secret(url), "heartbeat": Duration(minutes=1), "timeout": Duration(seconds=5), **given}
    )


def celery_job(**keys: Any) -> Job:
    return Job(**{"id": "sum", "func": "celery_bodies:add", "runner": "celery", "kwargs": {"a": 1, "b": 2}, **keys})


def celery_kernel(url: str, *jobs: Job, config: dict[str, Any] | None = None, **given: Any) -> Kernel:
    plugin = CeleryPlugin(settings(url, **(config or {})))
    return make_kernel(*jobs, plugins=[plugin], clock=SystemClock(), **given)


async def run_of(kernel: Kernel, job_id: str = "sum") -> str:
    """Trigger a job and return the id of the run."""
    return (await kernel.trigger(job_id)).execution.id


async def until(kernel: Kernel, execution_id: str, wait: Wait, check: Callable[[Execution], Any]) -> None:
    """Wait until something holds for a run; `wait` is the fixture `eventually`."""

    async def holds() -> bool:
        return bool(check(await kernel.execution(execution_id)))

    await wait(holds)
