"""The newest execution of each job, kept at hand: a list of a thousand jobs must not ask the store a thousand times."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from aiohttp import web

from gnomon import Event, ExecutionQuery, Kernel, Progress
from gnomon.domain.events import JobEvent
from gnomon_web.resources import LastExecution, last_execution

AT_ONCE = 50
"""Jobs that the store is asked about at a time."""
PATIENCE = 1.0
"""Seconds that an answer waits for events that are durable and not here yet; then it tells what is known."""


class Latest:
    """Asks the store once for each job, and again after an event of the job. Lives on the loop of the plugin."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._position = kernel.health().position  # what is durable already is in the store when it is asked
        self._known: dict[str, LastExecution | None] = {}
        self._changes: Counter[str] = Counter()
        self._moved = asyncio.Event()

    def take(self, events: Sequence[Event]) -> None:
        """Forget what these events have changed."""
        for event in events:
            if not isinstance(event, Progress | JobEvent):
                self._known.pop(event.job_id, None)
                self._changes[event.job_id] += 1
        self._position = max(self._position, events[-1].position)
        self._moved.set()

    async def of(self, job_ids: Iterable[str]) -> dict[str, LastExecution | None]:
        """Tell the newest execution of each job, as durable when this is called."""
        await self._catch_up(self._kernel.health().position)
        wanted = list(job_ids)
        unknown = [job_id for job_id in wanted if job_id not in self._known]
        asked: dict[str, LastExecution | None] = {}
        for start in range(0, len(unknown), AT_ONCE):
            some = unknown[start : start + AT_ONCE]
            asked |= zip(some, await asyncio.gather(*map(self._ask, some)), strict=True)
        return {job_id: asked[job_id] if job_id in asked else self._known.get(job_id) for job_id in wanted}

    async def _ask(self, job_id: str) -> LastExecution | None:
        before = self._changes[job_id]
        page = await self._kernel.executions(ExecutionQuery(job_id=job_id, limit=1))
        found = last_execution(page.items[0]) if page.items else None
        if self._changes[job_id] == before:  # else an event came while the store was being asked
            self._known[job_id] = found
        return found

    async def _catch_up(self, position: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while self._position < position:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            self._position = position  # the plugin hangs behind: told once, not at every request


LATEST = web.AppKey("latest", Latest)
