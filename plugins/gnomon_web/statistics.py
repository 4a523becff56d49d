"""Statistics as far as the store can count; a plugin that keeps more of them contributes routes in their place."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from aiohttp import web

from gnomon import ExecutionQuery
from gnomon.api import Health
from gnomon.domain.execution import FINAL, Status
from gnomon_web.counting import count
from gnomon_web.keys import KERNEL
from gnomon_web.live.hub import HUB
from gnomon_web.resources import Counts
from gnomon_web.routes import Handler, Route


class LastCounted(msgspec.Struct, kw_only=True):
    """The execution of a job that started last, also where it is hidden from lists."""

    id: str
    status: Status
    timestamp: datetime
    execution_time: float | None


class JobStatistics(Counts, kw_only=True):
    """How a job has done. Times are in seconds; null is what is not known.

    `success_rate` is the share of runs that ended with a success, of those that ended with one or with a failure.
    """

    job_id: str
    success_rate: float | None
    avg_execution_time: float | None
    p50: float | None
    p95: float | None
    by_day: list[dict[str, Any]] | None
    last_execution: LastCounted | None


class Today(msgspec.Struct, kw_only=True):
    """What has ended today, of all jobs; the mean is of the successful ones, in seconds.

    A plugin that keeps statistics tells what today is, and counts what has ended on it, a range of missed fires as its
    fires. Without one it is today in UTC, and the store counts what began on it and is over.
    """

    day: date
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None


class TodayByStatus(Counts, kw_only=True):
    """What has ended on this day, by status, and what is `scheduled` and `running` now."""

    day: date


TODAY: web.AppKey[Handler] = web.AppKey("today")
"""Who answers TODAY_PATH: the overview tells the same."""
TODAY_PATH = "/scheduler/stats/today"


class PluginPosition(msgspec.Struct, kw_only=True):
    """How far a plugin has taken in the log."""

    name: str
    state: str
    position: int
    lag: int


class Overview(msgspec.Struct, kw_only=True):
    """How everything stands. `running_jobs` are those that are not paused, `executing` the runs that are going on.

    `clients` are the WebSockets that are open.
    """

    total_jobs: int
    running_jobs: int
    paused_jobs: int
    executing: int
    waiting: int
    scheduler_running: bool
    position: int
    clients: int
    today: TodayByStatus
    plugins: list[PluginPosition]


def routes() -> list[Route]:
    """List the routes of this part."""
    base: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "statistics", "replaceable": True}
    path = "/scheduler/jobs/{job_id}/execution-stats"
    return [
        Route(path=path, handler=job_statistics, errors=(404,), **base),
        Route(path="/scheduler/stats", handler=overview, **base),
        Route(path=TODAY_PATH, handler=today, **base),
    ]


async def job_statistics(request: web.Request, job_id: str) -> JobStatistics:
    """Tell how a job has done: how many of its executions there are by status; null is what only a plugin knows."""
    kernel = request.app[KERNEL]
    await kernel.job(job_id)
    newest = ExecutionQuery(job_id=job_id, hidden=True, limit=1)
    counts, page = await asyncio.gather(count(kernel, job_id), kernel.executions(newest))
    ended = counts.success + counts.failed
    return JobStatistics(
        job_id=job_id,
        **msgspec.structs.asdict(counts),
        success_rate=counts.success / ended if ended else None,
        avg_execution_time=None,
        p50=None,
        p95=None,
        by_day=None,
        last_execution=msgspec.convert(page.items[0], LastCounted, from_attributes=True) if page.items else None,
    )


async def overview(request: web.Request) -> Overview:
    """Tell how everything stands."""
    kernel = request.app[KERNEL]
    views, health = await kernel.jobs(), kernel.health()
    paused = sum(view.state.paused for view in views)
    return Overview(
        total_jobs=len(views),
        running_jobs=len(views) - paused,
        paused_jobs=paused,
        executing=health.running,
        waiting=health.waiting,
        scheduler_running=health.state in {"healthy", "degraded"},
        position=health.position,
        clients=request.app[HUB].open_connections,
        today=await _today_by_status(request, health),
        plugins=[
            PluginPosition(name=plugin.name, state=plugin.state, position=plugin.cursor, lag=plugin.lag)
            for plugin in health.plugins
        ],
    )


async def today(request: web.Request) -> Today:
    """Tell what has ended today, of all jobs."""
    kernel = request.app[KERNEL]
    midnight: datetime = kernel.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    counts = await count(kernel, since=midnight)
    return Today(
        day=midnight.date(),
        success=counts.success,
        failed=counts.failed,
        missed=counts.missed,
        cancelled=counts.cancelled,
        avg_execution_time=None,
    )


async def _today_by_status(request: web.Request, health: Health) -> TodayByStatus:
    ended = msgspec.convert(await request.app[TODAY](request), Today, from_attributes=True)
    now = {"scheduled": health.waiting, "running": health.running}
    by_status = {status: getattr(ended, status) for status in FINAL} | now
    return TodayByStatus(day=ended.day, total=sum(by_status.values()), **by_status)
