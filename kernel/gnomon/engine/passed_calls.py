"""Passes each call of a kernel to what answers it at the moment: the leader of this process, or the follower."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from gnomon.api import KernelApi
from gnomon.engine.loop_calls import call_on
from gnomon.errors import GnomonError, StoreUnavailableError

SETTLE_LIMIT_S = 30.0
"""Seconds that a call waits while the role changes, such as for a store that is away."""

P = ParamSpec("P")
R = TypeVar("R")


def _passed(
    method: Callable[Concatenate[KernelApi, P], Coroutine[Any, Any, R]], *, again: bool
) -> Callable[Concatenate[PassedCalls, P], Coroutine[Any, Any, R]]:
    """Return a method that passes its call on; with `again`, once more where the role changed while it was answered."""

    @functools.wraps(method)
    async def call(self: PassedCalls, /, *args: P.args, **kwargs: P.kwargs) -> R:
        while True:
            await self.settle()
            part = self.part
            answer: Callable[P, Coroutine[Any, Any, R]] = getattr(part, method.__name__)
            try:
                return await answer(*args, **kwargs)
            except GnomonError:
                if not again or (self.part is part and not self.is_changing) or self.loop is None:
                    raise

    call.__qualname__, call.__module__ = f"Kernel.{method.__name__}", "gnomon.kernel"
    return call


def _order(
    method: Callable[Concatenate[KernelApi, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[PassedCalls, P], Coroutine[Any, Any, R]]:
    return _passed(method, again=False)


def _question(
    method: Callable[Concatenate[KernelApi, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[PassedCalls, P], Coroutine[Any, Any, R]]:
    return _passed(method, again=True)


class PassedCalls(KernelApi):
    """The part of `Kernel` that answers nothing itself. Calls wait while the role changes, which takes a moment."""

    loop: asyncio.AbstractEventLoop | None
    part: KernelApi
    """What answers: it changes with the role."""
    settled: asyncio.Event
    is_changing: bool = False

    async def settle(self) -> None:
        """Wait while the role changes: nothing answers then. StoreUnavailableError where that takes too long."""
        if self.is_changing and (loop := self.loop) is not None:
            await call_on(loop, self._settled())

    async def _settled(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_LIMIT_S):
                await self.settled.wait()
        except TimeoutError:
            found = self.health().problem or "it is still starting to lead"
            raise StoreUnavailableError(f"this kernel has answered nothing for {SETTLE_LIMIT_S:g} s: {found}") from None

    jobs = _question(KernelApi.jobs)
    job = _question(KernelApi.job)
    preview_job = _question(KernelApi.preview_job)
    parameters = _question(KernelApi.parameters)
    order_job = _order(KernelApi.order_job)
    order_jobs = _order(KernelApi.order_jobs)
    add_job = _order(KernelApi.add_job)
    add_jobs = _order(KernelApi.add_jobs)
    change_job = _order(KernelApi.change_job)
    remove_job = _order(KernelApi.remove_job)
    apply_jobs = _order(KernelApi.apply_jobs)
    pause = _order(KernelApi.pause)
    resume = _order(KernelApi.resume)
    describe = _order(KernelApi.describe)
    skip = _order(KernelApi.skip)
    backfill = _order(KernelApi.backfill)
    stop_backfill = _order(KernelApi.stop_backfill)
    pause_jobs = _order(KernelApi.pause_jobs)
    resume_jobs = _order(KernelApi.resume_jobs)
    cancel_runs = _order(KernelApi.cancel_runs)
    hold = _order(KernelApi.hold)
    release = _order(KernelApi.release)
    trigger = _order(KernelApi.trigger)
    trigger_many = _order(KernelApi.trigger_many)
    cancel = _order(KernelApi.cancel)
    fail = _order(KernelApi.fail)
    warn = _order(KernelApi.warn)
    hide = _order(KernelApi.hide)
    execution = _question(KernelApi.execution)
    executions = _question(KernelApi.executions)
    live_runs = _question(KernelApi.live_runs)
    sample = _question(KernelApi.sample)
    wait = _question(KernelApi.wait)
    wait_many = _question(KernelApi.wait_many)
    timing = _question(KernelApi.timing)
    history = _question(KernelApi.history)
    log = _question(KernelApi.log)
    explain = _question(KernelApi.explain)
    explain_run = _question(KernelApi.explain_run)
    audit = _question(KernelApi.audit)
    job_changes = _question(KernelApi.job_changes)
    compare_run = _question(KernelApi.compare_run)
    events = _question(KernelApi.events)
    actions = _question(KernelApi.actions)
    at = _question(KernelApi.at)
    checkpoint = _question(KernelApi.checkpoint)
    save_checkpoint = _order(KernelApi.save_checkpoint)
    claim = _order(KernelApi.claim)
    record_fact = _order(KernelApi.record_fact)
    kernels = _question(KernelApi.kernels)
    step_down = _order(KernelApi.step_down)
    workers = _question(KernelApi.workers)
    report_member = _order(KernelApi.report_member)
    remove_member = _order(KernelApi.remove_member)
    sleep = _question(KernelApi.sleep)
