"""The writer: one pipeline at a time, never more than one write of a run under way, patient while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import structlog

from gnomon.backoff import Backoff
from gnomon.ports import Clock
from gnomon_redis.book import Book, Write
from gnomon_redis.link import RedisTrouble

log = structlog.stdlib.get_logger("gnomon.redis")

BATCH = 200
"""Runs that are written at once: some 200 kB, which a server takes in some milliseconds."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries while Redis is away."""
LOOK = 5.0
"""Seconds, at most, between two looks: what is to be renewed, and is the server the one that we wrote to?"""


class Writer(Protocol):
    """What the tracker writes to: `Link`, and in unit tests something that needs no server."""

    address: str

    async def write(self, writes: Sequence[Write]) -> list[tuple[Write, str]]:
        """Write, return those refused one by one and why; RedisTrouble for all at once. With no writes: ping."""

    async def close(self) -> None:
        """Let go of the server."""


class Tracker:
    """Writes what the book has due. What Redis does is no concern of any run: here it only waits."""

    def __init__(self, book: Book, link: Writer, clock: Clock, live_ttl: timedelta) -> None:
        self.problem: str | None = None
        self._book = book
        self._link = link
        self._clock = clock
        self._wake = asyncio.Event()
        self._trouble: str | None = None
        self._away_since = 0.0
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, jitter=0.5)
        self._look = min(LOOK, live_ttl.total_seconds() / 6)
        self._look_at = 0.0
        self._stopping = False

    def wake(self) -> None:
        """Say that the book has something new."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after its present turn. Cancelling is not enough: redis-py may swallow it while it connects."""
        self._stopping = True

    async def run(self) -> None:
        """Write, until it is stopped."""
        while not self._stopping:
            if not self._book.has_due:
                await self._clock.wait(self._wake, self._clock.time() + self._look)
            self._wake.clear()
            looks = self._clock.monotonic() >= self._look_at
            if looks:
                self._look_at = self._clock.monotonic() + self._look
                self._book.renew(self._clock.now(), self._clock.monotonic())
            if (self._book.has_due or looks) and not await self.write():
                await self._clock.sleep(self._backoff.next())

    async def write(self) -> bool:
        """Write the next batch, or ping where there is none; False where Redis cannot be written now."""
        writes = self._book.due(BATCH, self._clock.now(), self._clock.monotonic())
        try:
            refused = await self._link.write(writes)
        except RedisTrouble as exc:
            self._report(exc)
            return False
        if self._trouble is not None:
            self._recovered()
        for write, problem in refused:
            self._set_aside(write, problem)
        not_done = {write.execution_id for write, _ in refused}
        self._book.written(write for write in writes if write.execution_id not in not_done)
        self.problem = next(iter(self._book.refused.values()), None)
        return True

    async def finish(self, within: float) -> None:
        """Write what is left, for as long as that is given and Redis answers, and let the connection go."""
        try:
            async with asyncio.timeout(within):
                while self._book.has_due and await self.write():
                    pass
        except TimeoutError:
            pass
        if self._book.has_due:
            log.warning("progress was not written", problem=self.problem)
        await self._link.close()

    def _report(self, exc: RedisTrouble) -> None:
        self.problem = str(exc)
        if self._trouble is None:
            self._away_since = self._clock.monotonic()
            self._book.all_again()
        if self._trouble != exc.kind:  # once of each kind, not at every try
            self._trouble = exc.kind
            log.error("progress cannot be written, it waits", problem=str(exc))

    def _recovered(self) -> None:
        seconds, let_go = round(self._clock.monotonic() - self._away_since, 1), self._book.let_go
        log.info("progress is written again", redis=self._link.address, after_s=seconds, let_go=let_go)
        self._trouble = None
        self._backoff.reset()
        self._book.let_go = 0

    def _set_aside(self, write: Write, problem: str) -> None:
        if problem not in self._book.refused.values():
            log.error("progress of a run cannot be written", execution=write.execution_id, problem=problem)
        self._book.set_aside(write, problem)
