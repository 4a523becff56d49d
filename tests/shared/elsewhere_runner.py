"""A remote runner whose bodies begin and end when their test says so, and the plugin that provides it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from gnomon import Kernel, hookimpl
from gnomon.domain.workers import WorkerView
from gnomon.jobs.job import Job
from gnomon.runners.base import DurableLog, Outcome, Run, Runner


class Elsewhere(Runner):
    """Runs that wait until their test begins them. `view` is what it reports about its workers."""

    name = "elsewhere"
    is_remote = True

    def __init__(self) -> None:
        self.view: WorkerView | Exception | None = WorkerView()
        self.runs: dict[str, tuple[Run, asyncio.Event]] = {}
        self.hangs = False

    async def run(self, run: Run) -> Outcome:
        done = asyncio.Event()
        self.runs[run.execution.id] = run, done
        await done.wait()
        return Outcome(0.0, cancelled=True)

    def begin(self, execution_id: str, at: datetime | None = None) -> None:
        run, _ = self.runs[execution_id]
        assert run.placement is not None
        run.placement.begun("a", at or run.execution.scheduled_time)

    def cancel(self, execution_id: str) -> None:
        self.runs[execution_id][1].set()

    def withdraw(self, execution_id: str) -> None:
        self.runs[execution_id][1].set()

    def queue_of(self, job: Job) -> str:
        return job.tags[0]

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:
        yield

    async def workers(self) -> WorkerView | None:
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.view, Exception):
            raise self.view
        return self.view


class ElsewherePlugin:
    """Provides a runner."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @hookimpl
    def register_runners(self, register: Callable[[Runner], None]) -> None:
        register(self.runner)


def job_elsewhere(job_id: str, queue: str) -> Job:
    return Job(id=job_id, func="time:time", runner="elsewhere", tags=[queue], overlap="allow")


async def trigger_elsewhere(kernel: Kernel, elsewhere: Elsewhere, job_id: str) -> str:
    """Trigger a job, and return its run as soon as the runner has it."""
    execution_id = (await kernel.trigger(job_id)).execution.id
    async with asyncio.timeout(30):
        while execution_id not in elsewhere.runs:  # noqa: ASYNC110 - the kernel starts it
            await asyncio.sleep(0)
    return execution_id
