"""A runner on a bench: what RunnerContract puts in the place of a kernel, and what a run has reported to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.domain import execution as executions
from gnomon.domain.events import HandedOver, Scheduled, Started
from gnomon.domain.execution import Execution
from gnomon.domain.own_copies import own_view
from gnomon.domain.records import LogLine
from gnomon.durations import Duration
from gnomon.errors import UnknownJobError
from gnomon.jobs.body import make_body
from gnomon.jobs.job import Job
from gnomon.runners.base import DurableLog, Outcome, Run, Runner
from gnomon.runners.context import Context
from gnomon.runners.log_buffer import LogBuffer
from gnomon.runners.log_capture import install_capture
from gnomon.runners.orders import Answer, BodyOrder, TriggerOrder
from gnomon.tasks import protected

BODIES = "gnomon.testing.runner_bodies"
CANCEL_GRACE = Duration(seconds=30)
_terms = itertools.count(1)
PATIENCE_S = 60.0
"""Seconds within which everything must have happened that a test waits for."""
KNOWN_JOB = "report"
"""The job that a body may trigger; every other one is unknown."""


async def within_patience(fact: Callable[[], Any]) -> Any:
    """Wait until a function returns something that is true, and return that; TimeoutError after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := fact()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
    return found


def log_of_bench(log_id: str | None = None, *, keeps: bool = True) -> DurableLog:
    """Return a log as a runner sees it. With `keeps` false nothing becomes durable, as while the store is away."""

    def durable() -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if keeps:
            future.set_result(None)
        return future

    async def late(execution_id: str, outcome: Outcome) -> None:
        pass

    return DurableLog(log_id or secrets.token_hex(12), 0, durable, late)


class Placed:
    """What a remote runner has reported about a body before it ran: the placement of one run."""

    def __init__(self, execution: Execution, runner: str, queue: str) -> None:
        self.begun_by: list[tuple[str, datetime]] = []
        self.reasons: list[str | None] = []
        self._execution = execution
        if execution.handed_over_at is None:
            self._record(HandedOver, runner=runner, queue=queue)

    def waits(self, reason: str | None) -> None:
        """Note why the body does not begin."""
        self.reasons.append(reason)

    def begun(self, worker: str, at: datetime, code: str | None = None) -> None:
        """Note that the body has begun."""
        self.begun_by.append((worker, at))
        if self._execution.status == "scheduled":
            self._record(Started, at=at, runner=self._execution.handed_to or "", worker=worker, code=code)

    def _record(self, event: type[HandedOver | Started], **facts: Any) -> None:
        execution = self._execution
        header = {"stream": execution.id, "version": execution.version + 1, "node": "bench", "job_id": execution.job_id}
        execution.apply(event(**{"at": datetime.now(UTC), **header, **facts}))


class Reports:
    """What the contexts of runs report: the sink of all of them, called from any thread."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, dict[str, Any]]] = []
        self.orders: list[BodyOrder] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:
        """Note the fields of a progress event."""
        self.fields.append((execution_id, fields))

    def flush_later(self, context: Context) -> None:
        """Return at once: progress is recorded as it comes, and lines are read from the context."""

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        """Carry out an order as a kernel does: it is awaited on the loop, and waited for in other threads."""
        work = self._carry_out(context.execution_id, order)
        if threading.get_ident() == self._thread:
            return Answer(future=protected(work, "order of a body"))
        future: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return Answer(future.result(PATIENCE_S))

    async def _carry_out(self, execution_id: str, order: BodyOrder) -> Triggered:
        self.orders.append(order)
        assert isinstance(order, TriggerOrder)
        if order.job_id != KNOWN_JOB:
            raise UnknownJobError(order.job_id)
        triggered = new_execution(order.job_id, **order.kwargs)
        triggered.triggered_by = execution_id
        return Triggered(triggered, resumed=False, is_new=True)

    def last(self, execution_id: str) -> dict[str, Any]:
        """Return the latest value of each field that a run has reported."""
        merged: dict[str, Any] = {}
        for reported, fields in self.fields:
            if reported == execution_id:
                merged |= fields
        return merged

    def values(self, execution_id: str, field: str) -> list[Any]:
        """Return the values of a field of a run, in order, each once."""
        found = [fields[field] for reported, fields in self.fields if reported == execution_id and field in fields]
        return list(dict.fromkeys(found))


class Bench:
    """A runner in its lifespan, in place of a kernel. `here` is a directory that the bodies see as well."""

    def __init__(self, runner: Runner, here: Path, job_keys: dict[str, Any]) -> None:
        self.runner = runner
        self.here = here
        self.reports = Reports()
        self.placed: dict[str, Placed] = {}
        self.is_over = False
        self._job_keys = job_keys
        self._tasks: set[asyncio.Task[Outcome]] = set()
        install_capture()

    def make_run(self, body: str, /, *, is_adopted: bool = False, **kwargs: Any) -> Run:
        """Return a run of a body of this contract, called with these arguments.

        One that `is_adopted` was handed over by an earlier kernel, which may have died before the runner sent it.
        """
        keys: dict[str, Any] = {"cancel_grace": CANCEL_GRACE, **self._job_keys}
        job = Job(id="contract", func=f"{BODIES}:{body}", runner=self.runner.name, **keys)
        return self._placed(new_execution(job.id, **kwargs), job, is_adopted=is_adopted)

    def adopt(self, earlier: Run) -> Run:
        """Return a run that an earlier kernel has left, with what the log has of it: its events and its lines."""
        run = self._placed(own_view(earlier.execution), earlier.job, is_adopted=True)
        if lines := lines_of(earlier):
            run.context.log_buffer = LogBuffer(lines[-1].number)
        return run

    def _placed(self, execution: Execution, job: Job, *, is_adopted: bool) -> Run:
        context = Context(execution, self.reports, rate=1e9)
        placement: Placed | None = None
        if self.runner.is_remote:
            placement = self.placed[execution.id] = Placed(execution, self.runner.name, self.runner.queue_of(job))
        return Run(execution, job, make_body(job), context, placement, is_adopted)

    def start(self, run: Run) -> asyncio.Task[Outcome]:
        """Start a run in a task, as a kernel does."""
        task = protected(self.runner.run(run), f"run {run.execution.id}")
        self._tasks.add(task)
        return task

    async def outcome(self, run: Run) -> Outcome:
        """Run a body to its end."""
        return await ended(self.start(run))

    def cancel(self, run: Run) -> None:
        """Request that a run stops, in the order in which a kernel does it."""
        run.context.request_cancel()
        if run.placement is not None and not self.placed[run.execution.id].begun_by:
            self.runner.withdraw(run.execution.id)
        self.runner.cancel(run.execution.id)

    # --- what bodies and tests show each other ---

    def allow(self, name: str = "body") -> None:
        """Allow the bodies `wait` of this name to end."""
        (self.here / f"{name}.go").touch()

    def witnesses(self, file: str) -> list[str]:
        """Return the ids of the runs that a body has noted in a file, such as "body.begun"."""
        path = self.here / file
        return path.read_text(encoding="ascii").split() if path.exists() else []

    async def witnessed(self, file: str, number: int = 1) -> list[str]:
        """Wait until so many bodies have noted themselves in a file."""
        found: list[str] = await within_patience(
            lambda: noted if len(noted := self.witnesses(file)) >= number else None
        )
        return found

    async def begun(self, run: Run) -> None:
        """Wait until a remote runner has reported that the body has begun."""
        await within_patience(lambda: self.placed[run.execution.id].begun_by)

    async def leave(self) -> None:
        """End the tasks of all runs, as a kernel that stops does."""
        self.is_over = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def on_bench(
    runner: Runner, here: Path, log: DurableLog | None = None, job_keys: dict[str, Any] | None = None
) -> AsyncIterator[Bench]:
    """Enter the lifespan of a runner for another term of a log, and leave it as a kernel that stops does."""
    async with runner.lifespan(msgspec.structs.replace(log or log_of_bench(), term=next(_terms))):
        bench = Bench(runner, here, job_keys or {})
        try:
            yield bench
        finally:
            await bench.leave()


async def ended(task: asyncio.Task[Outcome]) -> Outcome:
    """Wait for the outcome of a run."""
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.shield(task)


def new_execution(job_id: str, **kwargs: Any) -> Execution:
    """Return a manual run that was accepted just now."""
    now = datetime.now(UTC)
    stream = secrets.token_hex(12)
    accepted = Scheduled(
        stream=stream,
        version=1,
        at=now,
        node="bench",
        job_id=job_id,
        scheduled_time=now,
        is_manual=True,
        kwargs=msgspec.json.decode(msgspec.json.encode(kwargs)),
    )
    return executions.begin(accepted)


def lines_of(run: Run) -> list[LogLine]:
    """Return the log lines of a run, as far as they have come."""
    return run.context.log_buffer.unflushed()[0] if run.context.log_buffer is not None else []


async def new_sign_of_life(run: Run) -> None:
    """Wait until a body has given another sign of life."""
    before = run.context.last_sign_of_life
    await within_patience(lambda: run.context.last_sign_of_life > before)
