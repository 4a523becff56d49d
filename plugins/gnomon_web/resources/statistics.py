"""Statistics that the store alone can count; a plugin that keeps more contributes routes that replace these."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from aiohttp import web

from gnomon import ExecutionQuery
from gnomon.domain.execution import FINAL
from gnomon.wire.statistics import Counts, Day, JobStatistics, LastCounted
from gnomon_web.app_keys import IDENTITY, OPEN_WEBSOCKETS, kernel_of
from gnomon_web.http.routes import Handler, Route
from gnomon_web.resources.counts import count
from gnomon_web.resources.health import SchedulerState, scheduler_state


class TodayByStatus(Counts, kw_only=True):
    """The executions that ended on this day, by status, and those that are `scheduled` and `running` now."""

    day: date


TODAY: web.AppKey[Handler] = web.AppKey("today")
"""The handler of TODAY_PATH, our own or a contributed one: the overview uses it."""
TODAY_PATH = "/scheduler/stats/today"


class PluginPosition(msgspec.Struct, kw_only=True):
    """The position up to which a plugin has received the log, and its lag."""

    name: str
    state: str
    position: int
    lag: int


class Overview(msgspec.Struct, kw_only=True):
    """A summary. `running_jobs` are the jobs that are not paused, `executing` the runs in progress.

    `scheduler_state` is that of the health report. `clients` is the number of open WebSockets.
    """

    total_jobs: int
    running_jobs: int
    paused_jobs: int
    executing: int
    waiting: int
    scheduler_running: bool
    scheduler_state: SchedulerState
    position: int
    clients: int
    today: TodayByStatus
    plugins: list[PluginPosition]


def routes() -> list[Route]:
    """Return the routes of this module."""
    base: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "statistics", "replaceable": True, "scoped": True}
    path = "/scheduler/jobs/{job_id}/execution-stats"
    return [
        Route(path=path, handler=job_statistics, errors=(404,), has_past=True, **base),
        Route(path="/scheduler/stats", handler=overview, **base),
        Route(path=TODAY_PATH, handler=today, on_wall=True, **base),
    ]


async def job_statistics(request: web.Request, job_id: str) -> JobStatistics:
    """Return the statistics of a job. Values that only the plugin `stats` knows are null."""
    kernel = kernel_of(request)
    await kernel.job(job_id)
    newest = ExecutionQuery(job_id=job_id, hidden=True, limit=1)
    counts, page = await asyncio.gather(count(kernel, job_id), kernel.executions(newest))
    ended = counts.success + counts.failed
    return JobStatistics(
        job_id=job_id,
        **msgspec.structs.asdict(counts),
        success_rate=counts.success / ended if ended else None,
        last_execution=msgspec.convert(page.items[0], LastCounted, from_attributes=True) if page.items else None,
    )


async def overview(request: web.Request) -> Overview:
    """Return a summary of jobs, runs and plugins."""
    kernel = kernel_of(request)
    views, health = await kernel.jobs(), kernel.health()
    paused = sum(view.state.paused for view in views)
    now = {"scheduled": health.waiting, "running": health.running}
    if request[IDENTITY].scope is not None or health.role == "follower":  # which has no runs of its own to count
        now = {"scheduled": sum(len(view.waiting) for view in views), "running": sum(len(v.running) for v in views)}
    return Overview(
        total_jobs=len(views),
        running_jobs=len(views) - paused,
        paused_jobs=paused,
        executing=now["running"],
        waiting=now["scheduled"],
        scheduler_running=health.state in {"healthy", "degraded"} and health.leader is not None,
        scheduler_state=scheduler_state(health),
        position=health.position,
        clients=request.app[OPEN_WEBSOCKETS](),
        today=await _today_by_status(request, now),
        plugins=[
            PluginPosition(name=plugin.name, state=plugin.state, position=plugin.cursor, lag=plugin.lag)
            for plugin in health.plugins
        ],
    )


async def today(request: web.Request) -> Day:
    """Count the executions of all jobs that ended today.

    The plugin `stats` decides what today is, in its `timezone`, and counts each fire of a missed range. Without it
    today is a day in UTC, and the store counts the executions that began on it and are over.
    """
    kernel = kernel_of(request)
    midnight: datetime = kernel.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    counts = await count(kernel, since=midnight)
    return Day(
        day=midnight.date(),
        success=counts.success,
        failed=counts.failed,
        missed=counts.missed,
        cancelled=counts.cancelled,
    )


async def _today_by_status(request: web.Request, now: dict[str, int]) -> TodayByStatus:
    count_today = request.app[TODAY] if request[IDENTITY].scope is None else today  # that of a plugin counts all jobs
    ended = msgspec.convert(await count_today(request), Day, from_attributes=True)
    by_status = {status: getattr(ended, status) for status in FINAL} | now
    return TodayByStatus(day=ended.day, total=sum(by_status.values()), **by_status)
