"""Looks up what new events do not contain: runs that started before this kernel, past durations, unwritten ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from gnomon import ExecutionQuery, GnomonError, KernelApi, UnknownExecutionError
from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.events import ExecutionEvent
from gnomon.domain.records import Checkpoint
from gnomon.logs import get_logger
from gnomon_redis.past_durations import PastDurations
from gnomon_redis.progress_state import ProgressState
from gnomon_redis.tracker import Tracker, decode_marker

log = get_logger("gnomon.redis")

CHECKPOINT = "redis:progress"
"""The checkpoint with the position up to which everything is in Redis."""
EVENTS_PAGE, EXECUTIONS_PAGE = 1_000, 200
MOST_DUE, ROOM_CHECK_S = 1_000, 0.02
"""Runs that may wait to be written while older ones are read from the log, and how often to look."""
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
        tracker: Tracker,
    ) -> None:
        self._kernel = kernel
        self._progress = progress
        self._past_durations = past_durations
        self._ttl = ttl
        self._tracker = tracker
        self._wake = asyncio.Event()
        self._start = progress.position
        self._has_caught_up = False
        self._saved: Checkpoint | None = None
        self._must_refill = False

    def wake(self) -> None:
        """Start a lookup if runs or jobs are unknown."""
        if self._progress.unknown_runs or self._progress.unknown_jobs:
            self._wake.set()

    def refill(self) -> None:
        """Read again from the log what ended within the `ttl`: Redis has lost it, or this kernel never had it."""
        self._must_refill = True
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
                if self._must_refill:
                    await self._refill()
                await self._look_up()
                await self.save_checkpoint()
            except GnomonError as exc:
                log.debug("the store cannot be queried now", problem=str(exc), next_try_s=INTERVAL_S)
                await asyncio.sleep(INTERVAL_S)
                self._wake.set()

    async def save_checkpoint(self) -> None:
        """Save the position up to which everything is in Redis, for the next kernel."""
        marker = self._tracker.marker
        if not self._has_caught_up or self._must_refill or self._progress.unknown_runs or marker is None:
            return
        # The marker's position and not a later one: what the server may lose is what came after it.
        checkpoint = Checkpoint(marker.position, msgspec.json.encode(marker))
        if checkpoint.position and checkpoint != self._saved:
            await self._kernel.save_checkpoint(CHECKPOINT, checkpoint)
            self._saved = checkpoint

    async def _catch_up(self) -> None:
        """Find the runs that an earlier kernel did not write to Redis, and those that wait to start."""
        checkpoint = await self._kernel.checkpoint(CHECKPOINT)
        self._tracker.expect(decode_marker(checkpoint.view) if checkpoint else None)
        await self._read(checkpoint.position if checkpoint else self._start, self._start)
        await self._adopt_waiting()
        self._has_caught_up = True

    async def _refill(self) -> None:
        """Write again what ended within the `ttl`, as far as it is not in memory."""
        self._must_refill = False
        oldest = self._kernel.clock.now() - self._ttl
        first, last = 0, self._progress.position
        while first < last:  # the first event of that time: positions grow with the time
            middle = (first + last) // 2
            page = await self._kernel.events(middle, 1)
            if page and page[0].at < oldest:
                first = page[0].position
            else:
                last = middle
        await self._read(first, self._progress.position)

    async def _read(self, after: int, until: int) -> None:
        """Adopt the runs of the events between two positions that are not older than the `ttl`."""
        oldest = self._kernel.clock.now() - self._ttl
        while after < until and (page := await self._kernel.events(after, EVENTS_PAGE)):
            for event in page:
                is_known = self._progress.is_tracking(event.stream)
                if isinstance(event, ExecutionEvent) and event.at > oldest and not is_known:
                    self._progress.mark_unknown(event)
            after = page[-1].position
            await self._look_up_runs()

    async def _wait_for_room(self) -> None:
        """Wait until most of what is due has been written: only so many ended runs are kept in memory."""
        while self._progress.due_count > MOST_DUE and not self._tracker.is_failing:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(ROOM_CHECK_S)

    async def _adopt_waiting(self) -> None:
        cursor = None
        while True:
            query = ExecutionQuery(status=("scheduled",), limit=EXECUTIONS_PAGE, cursor=cursor)
            page = await self._kernel.executions(query)
            for execution in page.items:
                self._progress.adopt(execution, execution.version, self._kernel.clock.now())
            self._tracker.wake()
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
            self._tracker.wake()

    async def _look_up_runs(self) -> None:
        while self._progress.unknown_runs:
            await self._wait_for_room()
            execution_id = next(iter(self._progress.unknown_runs))
            try:
                state = await self._kernel.execution(execution_id)
            except UnknownExecutionError:  # it has been pruned since
                del self._progress.unknown_runs[execution_id]
                continue
            self._progress.adopt(state, self._progress.unknown_runs[execution_id], self._kernel.clock.now())
            self._tracker.wake()
