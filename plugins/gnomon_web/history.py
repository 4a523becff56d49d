"""What operators did, as the log tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from aiohttp import web

from gnomon.domain.records import Action, ActionQuery
from gnomon_web.keys import KERNEL
from gnomon_web.resources import Limit, Offset
from gnomon_web.routes import Route


class HistoryFilters(msgspec.Struct, kw_only=True, frozen=True):
    """Which page of the history."""

    limit: Limit = 50
    offset: Offset = 0


class HistoryEntry(msgspec.Struct, kw_only=True):
    """Something that somebody did; a failed one was recorded and refused, and `error_message` says why."""

    job_id: str
    action: str
    status: Literal["success", "failed"]
    error_message: str | None
    actor: str
    timestamp: datetime
    execution_id: str | None
    detail: str | None


class HistoryPage(msgspec.Struct, kw_only=True):
    """What operators did, newest first; `total` is exact."""

    history: list[HistoryEntry]
    total: int
    limit: int
    offset: int


def routes() -> list[Route]:
    """List the routes of this part."""
    base: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "history"}
    return [
        Route(path="/scheduler/history", handler=get_history, **base),
        Route(path="/scheduler/jobs/{job_id}/history", handler=get_history_of_job, errors=(404,), **base),
    ]


async def get_history(request: web.Request, query: HistoryFilters) -> HistoryPage:
    """List what operators did."""
    return await _page(request, query, None)


async def get_history_of_job(request: web.Request, job_id: str, query: HistoryFilters) -> HistoryPage:
    """List what operators did to a job and its executions."""
    page = await _page(request, query, job_id)
    if page.total == 0:
        await request.app[KERNEL].job(job_id)  # else an id that nobody knows would have a history
    return page


async def _page(request: web.Request, query: HistoryFilters, job_id: str | None) -> HistoryPage:
    page = await request.app[KERNEL].actions(ActionQuery(job_id=job_id, limit=query.limit, offset=query.offset))
    entries = [_entry(action) for action in page.items]
    return HistoryPage(history=entries, total=page.total, limit=query.limit, offset=query.offset)


def _entry(action: Action) -> HistoryEntry:
    return HistoryEntry(
        job_id=action.job_id,
        action=action.action,
        status=action.status,
        error_message=action.error_message,
        actor=action.actor,
        timestamp=action.at,
        execution_id=action.execution_id,
        detail=action.detail,
    )
