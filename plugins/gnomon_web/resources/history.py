"""The history of operator actions, as the log has it."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gnomon.domain.records import ActionQuery
from gnomon.wire.records import HistoryEntry, HistoryPage
from gnomon_web.app_keys import KERNEL
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import Limit, Offset


class HistoryFilters(msgspec.Struct, kw_only=True, frozen=True):
    """The page of the history."""

    limit: Limit = 50
    offset: Offset = 0


def routes() -> list[Route]:
    """Return the routes of this module."""
    base: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "history"}
    return [
        Route(path="/scheduler/history", handler=get_history, **base),
        Route(path="/scheduler/jobs/{job_id}/history", handler=get_history_of_job, errors=(404,), **base),
    ]


async def get_history(request: web.Request, query: HistoryFilters) -> HistoryPage:
    """List operator actions, newest first."""
    return await _page(request, query, None)


async def get_history_of_job(request: web.Request, job_id: str, query: HistoryFilters) -> HistoryPage:
    """List operator actions on a job and its executions, newest first."""
    page = await _page(request, query, job_id)
    if page.total == 0:
        await request.app[KERNEL].job(job_id)  # 404 for an unknown job
    return page


async def _page(request: web.Request, query: HistoryFilters, job_id: str | None) -> HistoryPage:
    page = await request.app[KERNEL].actions(ActionQuery(job_id=job_id, limit=query.limit, offset=query.offset))
    entries = [HistoryEntry.of(action) for action in page.items]
    return HistoryPage(history=entries, total=page.total, limit=query.limit, offset=query.offset)
