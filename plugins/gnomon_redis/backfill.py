"""Looks up what new events do not contain: runs that started before this kernel, past durations, unwritten ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from gnomon import ExecutionQuery, GnomonError, KernelApi, UnknownExecutionError
from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.events import ExecutionEvent
from gnomon.domain.records import Checkpoint
from gnomon_redis.past_durations import PastDurations
from gnomon_redis.progress_state import ProgressState

log = structlog.stdlib.get_logger("gnomon.redis")

CHECKPOINT = "redis:progress"
"""The checkpoint with the position up to which everything is in Redis."""
EVENTS_PAGE, EXECUTIONS_PAGE = 1_000, 200
INTERVAL_S = 5.0
"""Between two checkpoints, and before the next attempt while the store is unavailable."""


class Backfill:
    """Queries the kernel beside the tracker and never in a hook, so that a slow store does not delay known records."""

    def __init__(
        self,
        kernel: KernelApi,
        progress: ProgressState,
        past_durations: PastDurations,
        ttl: timedelta,
        on_change: Callable[[], None],
    ) -> None:
        self._kernel = kernel
        self._progress = progress
        self._past_durations = past_durations
        self._ttl = ttl
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._start = progress.position
        self._has_caught_up = False
        self._saved_position = 0

    def wake(self) -> None:
        """Start a lookup if runs or jobs are unknown."""
        if self._progress.unknown_runs or self._progress.unknown_jobs:
            self._wake.set()

    async def run(self) -> None:
        """Query unknown runs and jobs and save the checkpoint, until cancelled."""
        self._wake.set()
        while True:
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                if not self._has_caught_up:
                    await self._catch_up()
                await self._look_up()
                await self.save_checkpoint()
            except GnomonError as exc:
                log.debug("the store cannot be queried now", problem=str(exc), next_try_s=INTERVAL_S)
                await asyncio.sleep(INTERVAL_S)
                self._wake.set()

    async def save_checkpoint(self) -> None:
        """Save the position up to which everything is in Redis, for the next kernel."""
        position = self._progress.written_position
        if self._has_caught_up and not self._progress.unknown_runs and position > self._saved_position:
            await self._kernel.save_checkpoint(CHECKPOINT, Checkpoint(position))
            self._saved_position = position

    async def _catch_up(self) -> None:
        """Find the runs that an earlier kernel did not write to Redis, and those that wait to start."""
        checkpoint = await self._kernel.checkpoint(CHECKPOINT)
        after = checkpoint.position if checkpoint else self._start
        oldest = self._kernel.clock.now() - self._ttl
        while after < self._start and (page := await self._kernel.events(after, EVENTS_PAGE)):
            for event in page:
                if isinstance(event, ExecutionEvent) and event.at > oldest:
                    self._progress.mark_unknown(event)
            after = page[-1].position
        await self._adopt_waiting()
        self._has_caught_up = True

    async def _adopt_waiting(self) -> None:
        cursor = None
        while True:
            query = ExecutionQuery(status=("scheduled",), limit=EXECUTIONS_PAGE, cursor=cursor)
            page = await self._kernel.executions(query)
            for execution in page.items:
                self._progress.adopt(execution, execution.version, self._kernel.clock.now())
            self._on_change()
            if (cursor := page.next) is None:
                return

    async def _look_up(self) -> None:
        await self._look_up_runs()
        while self._progress.unknown_jobs:
            job_id = next(iter(self._progress.unknown_jobs))
            query = ExecutionQuery(job_id=job_id, status=("success",), limit=TYPICAL_RUNS)
            self._past_durations.load(job_id, (await self._kernel.executions(query)).items)
            self._progress.unknown_jobs.discard(job_id)
            self._progress.refresh(job_id)
            self._on_change()

    async def _look_up_runs(self) -> None:
        while self._progress.unknown_runs:
            execution_id = next(iter(self._progress.unknown_runs))
            try:
                state = await self._kernel.execution(execution_id)
            except UnknownExecutionError:  # it has been pruned since
                del self._progress.unknown_runs[execution_id]
                continue
            self._progress.adopt(state, self._progress.unknown_runs[execution_id], self._kernel.clock.now())
            self._on_change()
