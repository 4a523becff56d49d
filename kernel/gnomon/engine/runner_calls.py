"""Calls of runners, which may be foreign code: what they raise is logged and concerns only their own runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from gnomon.domain.execution import Execution
from gnomon.errors import GnomonError
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.runners.base import DurableLog, Runner
from gnomon.safe_text import safe_str, safe_traceback, type_name
from gnomon.tasks import end, protected
from gnomon.text import shorten, writable

log = get_logger("gnomon.engine.runner_calls")

START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
"""Real time that a lifespan may take to be entered, and to be left."""
QUEUE_LIMIT = 256
"""Characters kept of the name of a queue."""


@contextlib.asynccontextmanager
async def living(runners: Iterable[Runner], durable_log: DurableLog) -> AsyncIterator[None]:
    """Enter the lifespans of runners, and leave them at the end; GnomonError where one cannot be entered."""
    async with contextlib.AsyncExitStack() as stack:
        for runner in runners:
            await stack.enter_async_context(_living(runner, durable_log))
        yield


@contextlib.asynccontextmanager
async def _living(runner: Runner, durable_log: DurableLog) -> AsyncIterator[None]:
    """Enter and leave the lifespan of a runner in one task, as task groups in it need."""
    is_ready, may_leave = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with runner.lifespan(durable_log):
            is_ready.set()
            await may_leave.wait()

    life = protected(live(), f"lifespan of runner {runner.name}")
    entering = asyncio.ensure_future(is_ready.wait())
    try:
        await asyncio.wait((life, entering), timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if not is_ready.is_set():
            cause = life.exception() if life.done() and not life.cancelled() else None
            why = f"{type_name(cause)}: {safe_str(cause)}" if cause is not None else f"not within {START_LIMIT_S:g} s"
            raise GnomonError(f"the runner {runner.name!r} could not be started: {why}") from cause
        yield
    finally:
        entering.cancel()
        may_leave.set()
        done, _ = await asyncio.wait((life,), timeout=STOP_LIMIT_S)
        if not done:
            log.error("a runner does not stop", runner=runner.name, waited_s=STOP_LIMIT_S)
            end(life)
        elif is_ready.is_set() and not life.cancelled() and (exc := life.exception()) is not None:
            log.error("a runner failed", runner=runner.name, problem=safe_traceback(exc))


def queue_of(runner: Runner, job: Job) -> str:
    """Return the name of the queue for runs of a job; an empty text where the runner cannot tell it."""
    try:
        return shorten(writable(str(runner.queue_of(job))), QUEUE_LIMIT)
    except Exception as exc:  # noqa: BLE001 - the run goes on without the name
        log.error("a runner cannot tell a queue", runner=runner.name, job=job.id, problem=safe_traceback(exc))
        return ""


def stop(runner: Runner, execution_id: str, *, has_begun: bool) -> None:
    """Request that a body stops, or does not begin."""
    if not has_begun:
        withdraw(runner, execution_id)
    _request(runner, runner.cancel, execution_id)


def withdraw(runner: Runner, execution_id: str) -> None:
    """Request that a body does not begin."""
    _request(runner, runner.withdraw, execution_id)


def _request(runner: Runner, call: Callable[[str], None], execution_id: str) -> None:
    try:
        call(execution_id)
    except Exception as exc:  # noqa: BLE001 - the kernel goes on, and ends the run after its grace
        log.error("a runner cannot stop a run", runner=runner.name, run=execution_id, problem=safe_traceback(exc))


def adoption_problem(runner: Runner | None, execution: Execution) -> str | None:
    """Return why a run that an earlier kernel handed over cannot go on, as the end of a sentence; None if it can."""
    if runner is None:
        return "which this kernel does not have"
    try:
        return None if runner.adopt(execution) else "which knows nothing of it"
    except Exception as exc:  # noqa: BLE001 - one runner must not stop the start of the kernel
        log.error("a runner cannot adopt a run", runner=runner.name, run=execution.id, problem=safe_traceback(exc))
        return f"which could not adopt it: {type_name(exc)}: {safe_str(exc)}"
