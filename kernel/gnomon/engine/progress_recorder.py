"""Records what bodies report: progress, at a bounded rate, and the lines that they log."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

from gnomon.domain import events
from gnomon.domain.execution import Execution
from gnomon.engine.body_orders import BodyOrders
from gnomon.engine.journal import Journal
from gnomon.errors import GnomonError, StoreError
from gnomon.logs import get_logger
from gnomon.ports import Clock, Store
from gnomon.runners.context import PROGRESS_RATE, Context
from gnomon.runners.log_buffer import MAX_LINES, LogBuffer, ProgressReader
from gnomon.runners.orders import Answer, BodyOrder

log = get_logger("gnomon.engine.progress_recorder")


class ProgressRecorder:
    """The sink of all contexts: called from any thread, it records on the kernel's. Built on the kernel's loop."""

    def __init__(self, journal: Journal, store: Store, clock: Clock, log_lines: int = MAX_LINES) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._log_lines = log_lines
        self._told: deque[tuple[str, dict[str, Any]]] = deque()
        self._untold: set[Context] = set()
        self._has_untold = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.orders: BodyOrders | None = None

    def context_of(self, execution: Execution, reader: ProgressReader | None) -> Context:
        """Return the context of a run, which reports to this recorder."""
        return Context(execution, self, monotonic=self._clock.monotonic, reader=reader, log_lines=self._log_lines)

    def buffer_after(self, last_number: int) -> LogBuffer:
        """Return the buffer of a run of whose lines the log has those up to a number."""
        return LogBuffer(last_number, self._log_lines)

    def record_progress(self, execution_id: str, told: dict[str, Any]) -> None:
        """Record progress; called by contexts from any thread."""
        # One queue: what a thread has told and what `flush` then takes out of its context must not change places.
        self._told.append((execution_id, told))
        if threading.get_ident() == self._thread:
            self._record_told()
        else:
            self._loop.call_soon_threadsafe(self._record_told)

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        """Carry out an order of a body; called by contexts from any thread."""
        if self.orders is None:
            raise GnomonError("the kernel of this run takes no orders")
        return self.orders.carry_out(context.execution_id, order)

    def flush_later(self, context: Context) -> None:
        """Remember a context with unsent progress that is over its rate limit; called from any thread."""
        if threading.get_ident() == self._thread:
            self._remember(context)
        else:
            self._loop.call_soon_threadsafe(self._remember, context)

    async def conflate(self) -> None:
        """Write what contexts have kept back, again and again until cancelled. A task of the kernel."""
        while True:
            await self._has_untold.wait()
            await self._clock.sleep(1.0 / PROGRESS_RATE)
            self._has_untold.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what contexts have kept back: progress that its rate allows into the log, lines into the store.

        One at a time: who asks while another one writes is to find in the store what that has taken.
        """
        async with self._flushing:
            contexts, self._untold = self._untold, set()
            for context in contexts:
                if context.may_record_progress:
                    context.flush()
                else:
                    self._remember(context)
                await self.keep_lines(context)

    def _remember(self, context: Context) -> None:
        self._untold.add(context)
        self._has_untold.set()

    async def keep_lines(self, context: Context) -> None:
        """Write the lines of a run that the store does not have yet."""
        if context.log_buffer is None:
            return
        lines, oldest = context.log_buffer.unflushed()
        if not lines:
            return
        try:
            await self._store.append_log(context.execution_id, lines, oldest)
        except StoreError as exc:
            log.warning("log lines wait for the store", run=context.execution_id, problem=str(exc))
            self.flush_later(context)
        else:
            context.log_buffer.mark_flushed(lines)

    def _record_told(self) -> None:
        while self._told:
            execution_id, told = self._told.popleft()
            execution = self._journal.live.get(execution_id)
            if execution is None or execution.is_over:
                continue  # told after the end: the end stands
            try:
                self._journal.record(events.Progress, execution_id, execution.job_id, **told)
            except GnomonError as exc:
                log.debug("progress lost", run=execution_id, problem=str(exc))
