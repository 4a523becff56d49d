"""A cache of each job's newest execution: a list of a thousand jobs must not send a thousand queries to the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from aiohttp import web

from gnomon import Event, ExecutionQuery, KernelApi, Progress
from gnomon.domain.events import JobEvent, KernelEvent
from gnomon.wire.records import LastExecution

QUERIES_AT_ONCE = 50
"""Jobs that are queried concurrently."""
AHEAD = 1_000
"""Events of the log that a process which follows reads ahead of those that it has received."""
CATCH_UP_LIMIT_S = 1.0
"""Seconds that an answer waits for durable events that the plugin has not received yet; then it uses what is known."""


class LastExecutions:
    """Queries the store once for each job, and again after an event of the job. Lives on the loop of the plugin."""

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel
        self._position = kernel.health().position  # the store already has everything up to here
        self._known: dict[str, LastExecution | None] = {}
        self._changes: Counter[str] = Counter()
        self._moved = asyncio.Event()

    def apply(self, events: Sequence[Event]) -> None:
        """Forget the jobs that these events change."""
        self._forget(events)
        self._position = max(self._position, events[-1].position)
        self._moved.set()

    def _forget(self, events: Sequence[Event]) -> None:
        for event in events:
            if not isinstance(event, Progress | JobEvent | KernelEvent):
                self._known.pop(event.job_id, None)
                self._changes[event.job_id] += 1

    async def of(self, job_ids: Iterable[str]) -> dict[str, LastExecution | None]:
        """Return the newest execution of each job, as durable at the time of the call."""
        health = self._kernel.health()
        await self._catch_up(health.position)
        if health.role == "follower":
            await self._read_ahead()
        wanted = list(job_ids)
        unknown = [job_id for job_id in wanted if job_id not in self._known]
        queried: dict[str, LastExecution | None] = {}
        for start in range(0, len(unknown), QUERIES_AT_ONCE):
            some = unknown[start : start + QUERIES_AT_ONCE]
            queried |= zip(some, await asyncio.gather(*map(self._query, some)), strict=True)
        return {job_id: queried[job_id] if job_id in queried else self._known.get(job_id) for job_id in wanted}

    async def _query(self, job_id: str) -> LastExecution | None:
        changes = self._changes[job_id]
        page = await self._kernel.executions(ExecutionQuery(job_id=job_id, limit=1, brief=True))
        found = LastExecution.of(page.items[0]) if page.items else None
        if self._changes[job_id] == changes:  # no event arrived during the query
            self._known[job_id] = found
        return found

    async def _read_ahead(self) -> None:
        """Forget the jobs of events that the log has, and this process has not received yet."""
        events = await self._kernel.events(self._position, AHEAD)
        if len(events) == AHEAD:
            self._known.clear()
        self._forget(events)

    async def _catch_up(self, position: int) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_LIMIT_S):
                while self._position < position:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            self._position = position  # the plugin lags: wait for it once, not at every request


LAST_EXECUTIONS = web.AppKey("last_executions", LastExecutions)
