"""Snapshots for dashboards: jobs, runs and health as the REST calls return them, shared by clients."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from gnomon import ExecutionQuery, KernelApi, Page
from gnomon.api import JobView
from gnomon.domain.brief import brief_list
from gnomon.domain.execution import Status
from gnomon.wire.records import JobSummary, Record
from gnomon_web.app_keys import CONTRIBUTED, IDENTITY, kernel_of
from gnomon_web.auth.roles import Scope
from gnomon_web.http.responses import encode_json
from gnomon_web.live.health_feed import SharedHealth
from gnomon_web.live.tail import Tail
from gnomon_web.resources.etas import records_of
from gnomon_web.resources.health import HealthReport
from gnomon_web.resources.jobs import summaries, views_of
from gnomon_web.resources.last_executions import last_of

MAX_FINISHED = 100
"""Finished runs in a snapshot, the newest ones."""
MAX_UNFINISHED = 200
"""Running runs in a snapshot, the newest ones, then scheduled ones."""
MAX_JOBS = 200
"""Jobs in a snapshot: all, or those that matter most. A dashboard requests others when it shows them."""
REUSE_S = 0.2
"""Seconds for which a snapshot is reused: after a restart all dashboards connect at once."""
LATEST = datetime.max.replace(tzinfo=UTC)
FINISHED: Final[tuple[Status, ...]] = ("success", "failed", "missed", "cancelled")


class Totals(msgspec.Struct, frozen=True):
    """How many there are of what a snapshot has a part of: jobs, paused ones, running and scheduled executions."""

    jobs: int
    paused: int
    running: int
    scheduled: int


class SharedSnapshot(msgspec.Struct, frozen=True):
    """The parts of a snapshot that all dashboards share; it is at least as new as position `seq`."""

    seq: int
    contributed: list[str]
    totals: Totals
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
        views = await views_of(kernel_of(request), job_ids)
        return {summary.id: summary for summary in await summaries(request, views)} if views else {}

    async def _take(self, request: web.Request) -> SharedSnapshot:
        # The position is read first: events that arrive in between are sent again, never left out.
        return await take_snapshot(request, self._tail.head, self._health.read)


async def take_snapshot(
    request: web.Request, seq: int, read_health: Callable[[web.Request], Awaitable[HealthReport]]
) -> SharedSnapshot:
    """Return what a dashboard shows first, now or at the moment that the request is about."""
    kernel = kernel_of(request)
    views = await kernel.jobs()
    jobs = await summaries(request, await _chosen(request, views))
    # In this order, a run that starts or ends in between is in two lists instead of in none.
    scheduled = await _executions(kernel, ("scheduled",), MAX_UNFINISHED)
    running = await _executions(kernel, ("running",), MAX_UNFINISHED)
    recent = await _executions(kernel, FINISHED, MAX_FINISHED)
    begun = {run.id for run in running.items}
    waiting = [run for run in scheduled.items if run.id not in begun][: MAX_UNFINISHED - len(begun)]
    paused = sum(view.state.paused for view in views)
    return SharedSnapshot(
        seq=seq,
        contributed=request.app[CONTRIBUTED],
        totals=Totals(jobs=len(views), paused=paused, running=running.total, scheduled=scheduled.total),
        jobs=_raw(jobs),
        running=_raw(await records_of(request, brief_list([*running.items, *waiting]))),
        recent=_raw([Record.of(one) for one in brief_list(recent.items)]),
        health=await read_health(request),
    )


async def _chosen(request: web.Request, views: list[JobView]) -> list[JobView]:
    """Return the jobs that a dashboard shows first: those with runs, those that fail, then those that are due next."""
    if len(views) <= MAX_JOBS:
        return views
    last = await last_of(request, [view.job.id for view in views])

    def rank(view: JobView) -> tuple[bool, bool, bool, datetime]:
        newest = last[view.job.id]
        is_busy = bool(view.running or view.waiting or view.lingering)
        is_failing = newest is not None and newest.status == "failed"
        return not is_busy, not is_failing, view.next_fire is None, view.next_fire or LATEST

    return heapq.nsmallest(MAX_JOBS, views, key=rank)


async def _executions(kernel: KernelApi, status: tuple[Status, ...], limit: int) -> Page:
    return await kernel.executions(ExecutionQuery(status=status, limit=limit, brief=True))


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode_json(value))
