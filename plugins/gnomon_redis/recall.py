"""What events alone do not tell: runs that began before this kernel, past runs of jobs, what was not written before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from gnomon import ExecutionQuery, GnomonError, Kernel, UnknownExecutionError
from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.events import ExecutionEvent
from gnomon.domain.records import Checkpoint
from gnomon_redis.book import Book
from gnomon_redis.pasts import Pasts

log = structlog.stdlib.get_logger("gnomon.redis")

CHECKPOINT = "redis:progress"
"""Holds the position up to which everything is in Redis."""
PAGE, PAGE_OF_LIST = 1_000, 200
PAUSE = 5.0
"""Seconds between two checkpoints, and until a store that is away is asked again."""


class Recall:
    """Asks the kernel, beside the writer and never in a hook: a slow store must not hold back what is known."""

    def __init__(self, kernel: Kernel, book: Book, pasts: Pasts, ttl: timedelta, tell: Callable[[], None]) -> None:
        self._kernel = kernel
        self._book = book
        self._pasts = pasts
        self._ttl = ttl
        self._tell = tell
        self._wake = asyncio.Event()
        self._start = book.position
        self._caught_up = False
        self._kept = 0

    def wake(self) -> None:
        """Look whether the book lacks anything."""
        if self._book.unknown or self._book.unknown_jobs:
            self._wake.set()

    async def run(self) -> None:
        """Look up what the book lacks, and keep the checkpoint, for ever."""
        self._wake.set()
        while True:
            try:
                async with asyncio.timeout(PAUSE):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                if not self._caught_up:
                    await self._catch_up()
                await self._look_up()
                await self.keep()
            except GnomonError as exc:
                log.debug("the store is asked again", problem=str(exc))
                await asyncio.sleep(PAUSE)
                self._wake.set()

    async def keep(self) -> None:
        """Keep how far everything is in Redis, for the next kernel."""
        position = self._book.safe_position
        if self._caught_up and not self._book.unknown and position > self._kept:
            await self._kernel.save_checkpoint(CHECKPOINT, Checkpoint(position))
            self._kept = position

    async def _catch_up(self) -> None:
        """Note the runs that an earlier kernel did not bring to Redis, and those that wait to begin."""
        checkpoint = await self._kernel.checkpoint(CHECKPOINT)
        after = checkpoint.position if checkpoint else self._start
        oldest = self._kernel.clock.now() - self._ttl
        while after < self._start and (page := await self._kernel.events(after, PAGE)):
            for event in page:
                if isinstance(event, ExecutionEvent) and event.at > oldest:
                    self._book.miss(event)
            after = page[-1].position
        await self._find_waiting()
        self._caught_up = True

    async def _find_waiting(self) -> None:
        cursor = None
        while True:
            query = ExecutionQuery(status=("scheduled",), limit=PAGE_OF_LIST, cursor=cursor)
            page = await self._kernel.executions(query)
            for execution in page.items:
                self._book.adopt(execution, execution.version, self._kernel.clock.now())
            self._tell()
            if (cursor := page.next) is None:
                return

    async def _look_up(self) -> None:
        await self._look_up_runs()
        while self._book.unknown_jobs:
            job_id = next(iter(self._book.unknown_jobs))
            query = ExecutionQuery(job_id=job_id, status=("success",), limit=TYPICAL_RUNS)
            self._pasts.begin(job_id, (await self._kernel.executions(query)).items)
            self._book.unknown_jobs.discard(job_id)
            self._book.refresh(job_id)
            self._tell()

    async def _look_up_runs(self) -> None:
        while self._book.unknown:
            execution_id = next(iter(self._book.unknown))
            try:
                state = await self._kernel.execution(execution_id)
            except UnknownExecutionError:  # it has been pruned since
                del self._book.unknown[execution_id]
                continue
            self._book.adopt(state, self._book.unknown[execution_id], self._kernel.clock.now())
            self._tell()
