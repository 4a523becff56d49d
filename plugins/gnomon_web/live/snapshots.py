"""Snapshots for dashboards: jobs, runs and health as the REST calls return them, shared by clients."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

import msgspec
from aiohttp import web

from gnomon import Execution, ExecutionQuery, KernelApi
from gnomon.domain.brief import brief_list
from gnomon.domain.execution import Status
from gnomon.wire.records import JobSummary, Record
from gnomon_web.app_keys import IDENTITY, kernel_of
from gnomon_web.auth.roles import Scope
from gnomon_web.http.responses import encode_json
from gnomon_web.live.health_feed import SharedHealth
from gnomon_web.live.tail import Tail
from gnomon_web.resources.etas import records_of
from gnomon_web.resources.health import HealthReport
from gnomon_web.resources.jobs import summaries

MAX_FINISHED = 100
"""Finished runs in a snapshot, the newest ones."""
MAX_UNFINISHED = 1_000
"""Scheduled and running runs in a snapshot, the newest ones."""
REUSE_S = 0.2
"""Seconds for which a snapshot is reused: after a restart all dashboards connect at once."""
PAGE = 200
UNFINISHED: Final[tuple[Status, ...]] = ("scheduled", "running")
FINISHED: Final[tuple[Status, ...]] = ("success", "failed", "missed", "cancelled")


class SharedSnapshot(msgspec.Struct, frozen=True):
    """The parts of a snapshot that all dashboards share; it is at least as new as position `seq`."""

    seq: int
    jobs: msgspec.Raw
    running: msgspec.Raw
    recent: msgspec.Raw
    health: HealthReport


class Snapshots:
    """Takes snapshots and reuses a recent one."""

    def __init__(self, tail: Tail, health: SharedHealth) -> None:
        self._tail = tail
        self._health = health
        self._newest: dict[Scope | None, tuple[float, SharedSnapshot]] = {}
        self._taking = asyncio.Lock()

    async def take(self, request: web.Request, seq: int) -> SharedSnapshot:
        """Return a snapshot of the present, or one taken just now for another dashboard.

        It is never older than position `seq`: a dashboard never goes back.
        """
        async with self._taking:
            now, scope = asyncio.get_running_loop().time(), request[IDENTITY].scope
            taken_at, found = self._newest.get(scope, (0.0, None))
            if found is None or found.seq < seq or now - taken_at > REUSE_S:
                found = await self._take(request)
                self._newest = {key: kept for key, kept in self._newest.items() if now - kept[0] <= REUSE_S}
                self._newest[scope] = now, found
            return found

    async def jobs(self, request: web.Request, job_ids: Collection[str]) -> dict[str, JobSummary]:
        """Return these jobs by id, without those that have been removed."""
        if not job_ids:
            return {}
        views = [view for view in await kernel_of(request).jobs() if view.job.id in job_ids]
        return {summary.id: summary for summary in await summaries(request, views)}

    async def _take(self, request: web.Request) -> SharedSnapshot:
        seq = self._tail.head  # read first: events that arrive in between are sent again, never left out
        kernel = kernel_of(request)
        jobs = await summaries(request, await kernel.jobs())
        # In this order, a run that ends in between is in both lists instead of in neither.
        running = await _executions(kernel, UNFINISHED, MAX_UNFINISHED)
        recent = await _executions(kernel, FINISHED, MAX_FINISHED)
        return SharedSnapshot(
            seq=seq,
            jobs=_raw(jobs),
            running=_raw(await records_of(request, brief_list(running))),
            recent=_raw([Record.of(one) for one in brief_list(recent)]),
            health=await self._health.read(request),
        )


async def _executions(kernel: KernelApi, status: tuple[Status, ...], limit: int) -> list[Execution]:
    found: list[Execution] = []
    cursor: str | None = None
    while len(found) < limit:
        page = await kernel.executions(
            ExecutionQuery(status=status, limit=min(PAGE, limit - len(found)), cursor=cursor, brief=True)
        )
        found += page.items
        if (cursor := page.next) is None:
            break
    return found


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode_json(value))
