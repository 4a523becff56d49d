"""The plugin: its configuration, the runner, and the keys that it adds to jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from gnomon import GnomonError, KernelApi
from gnomon.errors import UnknownExecutionError
from gnomon.hookspecs import hookimpl
from gnomon.runners.base import Runner
from gnomon.tasks import protected
from gnomon_celery.config import CeleryConfig, JobOptions
from gnomon_celery.connection_check import check_connection
from gnomon_celery.runner import CeleryRunner

PARKED_S = 2.0
"""How long what a worker reports of a run waits for the run, before the log is asked whether it is over."""


class CeleryPlugin:
    """Runs the bodies of jobs with `runner = "celery"` in Celery workers.

    It runs with the kernel that leads: that one sends tasks, and reads what the workers report.
    """

    role = "leader"
    JobOptions = JobOptions
    Config = CeleryConfig

    def __init__(self, config: CeleryConfig) -> None:
        self.config = config
        self._runner = CeleryRunner(config)

    @property
    def problem(self) -> str | None:
        """Why bodies cannot be sent to workers, or are not heard of, or None."""
        return self._runner.problem

    @hookimpl
    def register_runners(self, register: Callable[[Runner], None]) -> None:
        """Provide the runner."""
        register(self._runner)

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
        """Drop what workers report of runs that are over, while the kernel runs."""
        task = protected(self._drop_ended(kernel), "gnomon celery parked")
        try:
            yield
        finally:
            task.end()
            await asyncio.wait([task])

    @hookimpl
    async def try_connection(self) -> str:
        """Connect to the broker and to the channel as a start would."""
        return await check_connection(self.config)

    async def _drop_ended(self, kernel: KernelApi) -> None:
        while True:
            await asyncio.sleep(PARKED_S)
            over = []
            for execution_id in self._runner.parked(PARKED_S):
                with contextlib.suppress(GnomonError):  # asked again
                    if await _is_over(kernel, execution_id):
                        over.append(execution_id)
            self._runner.drop(over)


async def _is_over(kernel: KernelApi, execution_id: str) -> bool:
    try:
        return (await kernel.execution(execution_id)).is_over
    except UnknownExecutionError:
        return True
