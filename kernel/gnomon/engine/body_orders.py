"""Carries out what bodies ask of their kernel: triggers and new jobs, linked to the run that asked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any

from gnomon.api import KernelApi
from gnomon.engine.contained_calls import contained
from gnomon.engine.job_table import JobTable
from gnomon.errors import GnomonError
from gnomon.runners.orders import AddJobOrder, Answer, BodyOrder, TriggerOrder
from gnomon.tasks import protected, submit


class BodyOrders:
    """Passes orders of bodies to the commands of the kernel. Built on the kernel's loop; called from any thread."""

    def __init__(self, kernel: KernelApi, jobs: JobTable) -> None:
        self._kernel = kernel
        self._jobs = jobs
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._given: set[asyncio.Task[Any]] = set()

    def carry_out(self, execution_id: str, order: BodyOrder) -> Answer[Any]:
        """Start an order of a run. On the loop the answer is to be awaited; elsewhere this waits for it."""
        work = self._start(execution_id, order)
        if threading.get_ident() == self._thread:
            task = protected(work, "order of a body")
            self._given.add(task)  # nothing else may hold it, if the body does not await the answer
            task.add_done_callback(self._given.discard)
            return Answer(future=task)
        try:
            future = submit(work, self._loop)
        except RuntimeError as exc:  # the loop is closed
            work.close()
            raise GnomonError("the kernel has stopped, and takes no orders of this run any more") from exc
        try:
            return Answer(future.result())
        except concurrent.futures.CancelledError:
            raise GnomonError("the kernel stopped before it had answered the order of this run") from None

    def _start(self, execution_id: str, order: BodyOrder) -> Coroutine[Any, Any, Any]:
        if isinstance(order, AddJobOrder):
            reason = f"added by run {execution_id}"
            return contained(self._kernel.add_job(order.job, reason=reason, **order.options, **order.keys))
        return contained(self._trigger(execution_id, order))

    async def _trigger(self, execution_id: str, order: TriggerOrder) -> Any:
        if order.written and (registered := self._jobs.get(order.job_id)) is not None:
            order.check_written(registered.body.types)
        return await self._kernel.trigger(
            order.job_id, kwargs=order.kwargs, resume=False, triggered_by=execution_id, **order.options
        )
