"""A cache of each job's newest execution: a list of a thousand jobs must not send a thousand queries to the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from aiohttp import web

from gnomon import Event, ExecutionQuery, KernelApi, Progress
from gnomon.domain.events import JobEvent, KernelEvent
from gnomon.domain.records import JobScope
from gnomon.wire.records import LastExecution
from gnomon_web.app_keys import PAST

AT_ONCE = 1_000
"""Jobs of one query."""
AHEAD = 1_000
"""Events of the log that a process which follows reads ahead of those that it has received."""
CATCH_UP_LIMIT_S = 1.0
"""Seconds that an answer waits for durable events that the plugin has not received yet; then it uses what is known."""


class LastExecutions:
    """Queries the store for many jobs at once, and again for those with new events. Lives on the loop of the plugin."""

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
        for start in range(0, len(unknown), AT_ONCE):
            queried |= await self._query(unknown[start : start + AT_ONCE])
        return {job_id: queried[job_id] if job_id in queried else self._known.get(job_id) for job_id in wanted}

    async def _query(self, job_ids: Sequence[str]) -> dict[str, LastExecution | None]:
        changes = {job_id: self._changes[job_id] for job_id in job_ids}
        query = ExecutionQuery(scope=JobScope(ids=frozenset(job_ids)), per_job=1, brief=True)
        newest = {execution.job_id: execution for execution in (await self._kernel.executions(query)).items}
        found = {job_id: LastExecution.of(newest[job_id]) if job_id in newest else None for job_id in job_ids}
        # Those of which no event arrived during the query.
        self._known |= {job_id: one for job_id, one in found.items() if self._changes[job_id] == changes[job_id]}
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


async def last_of(request: web.Request, job_ids: Iterable[str]) -> dict[str, LastExecution | None]:
    """Return the newest execution of each job, now or at the moment that a request is about."""
    known = LastExecutions(request[PAST]) if PAST in request else request.app[LAST_EXECUTIONS]
    return await known.of(job_ids)
