"""The history of operator actions, as the log has it."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from gnomon.domain.records import ActionQuery, ActionStatus
from gnomon.wire.records import HistoryEntry, HistoryPage
from gnomon_web.app_keys import IDENTITY, kernel_of
from gnomon_web.http.read_shares import DEEP_OFFSET, READ_SHARES
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import JobId, Limit, Moment, Offset, Text, expect_same_job


class HistoryFilters(msgspec.Struct, kw_only=True, frozen=True):
    """All filters combine. `since` <= timestamp < `until`."""

    limit: Limit = 50
    offset: Offset = 0
    job_id: JobId | None = None
    status: ActionStatus | None = None
    action: Text | None = None
    actor: Text | None = None
    since: Moment | None = None
    until: Moment | None = None

    def query(self, job_id: str | None) -> ActionQuery:
        """Return the query for the store."""
        return ActionQuery(
            job_id=job_id,
            status=self.status,
            action=self.action,
            actor=self.actor,
            since=self.since,
            until=self.until,
            limit=self.limit,
            offset=self.offset,
        )


def routes() -> list[Route]:
    """Return the routes of this module."""
    base: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "history", "scoped": True, "has_past": True}
    return [
        Route(path="/scheduler/history", handler=get_history, errors=(404,), **base),
        Route(path="/scheduler/jobs/{job_id}/history", handler=get_history_of_job, errors=(404,), **base),
    ]


async def get_history(request: web.Request, query: HistoryFilters) -> HistoryPage:
    """List operator actions, newest first."""
    return await _page(request, query, query.job_id)


async def get_history_of_job(request: web.Request, job_id: str, query: HistoryFilters) -> HistoryPage:
    """List operator actions on a job and its executions, newest first; a `job_id` must be the one in the path."""
    expect_same_job(query.job_id, job_id)
    page = await _page(request, query, job_id)
    if page.total == 0:  # there may be actions on a job that was removed, or that there never was
        await kernel_of(request).job(job_id)  # 404 for an unknown job
    return page


async def _page(request: web.Request, query: HistoryFilters, job_id: str | None) -> HistoryPage:
    read = partial(kernel_of(request).actions, query.query(job_id))
    is_slow = query.offset > DEEP_OFFSET
    page = await (request.app[READ_SHARES].slow(request[IDENTITY], read) if is_slow else read())
    entries = [HistoryEntry.of(action) for action in page.items]
    return HistoryPage(history=entries, total=page.total, limit=query.limit, offset=query.offset)
