"""Executions: the log of runs, one run with its events and lines, and what may be done to it."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gnomon import ExecutionQuery, Kernel, UnknownJobError
from gnomon.domain import codec
from gnomon_web.keys import KERNEL, actor_of
from gnomon_web.problems import ApiError, culprit
from gnomon_web.resources import (
    ActReason,
    FailReason,
    FullRecord,
    JobRecordFilters,
    LogFilters,
    LogPage,
    Record,
    RecordFilters,
    RecordPage,
    fields_of,
    record,
)
from gnomon_web.routes import Route


def routes() -> list[Route]:
    """List the routes of this part."""
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "executions"}
    act = look | {"method": "POST", "errors": (404, 409)}
    one = "/scheduler/executions/{execution_id}"
    return [
        Route(path="/scheduler/logs", handler=list_executions, **look),
        Route(path="/scheduler/executions", handler=list_executions, **look),
        Route(path="/scheduler/jobs/{job_id}/executions", handler=list_of_job, errors=(404,), **look),
        Route(path=one, handler=get_execution, errors=(404,), **look),
        Route(path=f"{one}/events", handler=get_events, errors=(404,), **look),
        Route(path=f"{one}/log", handler=get_log, errors=(404,), **look),
        Route(path=f"{one}/cancel", handler=cancel, status=202, **(act | {"role": "operator"})),
        Route(path=f"{one}/mark-failed", handler=mark_failed, **(act | {"role": "admin"})),
        Route(path=one, handler=hide, **(act | {"method": "DELETE", "role": "admin"})),
    ]


async def list_executions(request: web.Request, query: RecordFilters) -> RecordPage:
    """List executions, newest first."""
    return await _page(request, query, query.job_id)


async def list_of_job(request: web.Request, job_id: str, query: JobRecordFilters) -> RecordPage:
    """List the executions of a job, newest first."""
    page = await _page(request, query, job_id)
    if page.total == 0:
        await _expect_job(request.app[KERNEL], job_id)
    return page


async def get_execution(request: web.Request, execution_id: str) -> FullRecord:
    """Tell all of an execution, with its events."""
    kernel = request.app[KERNEL]
    execution = await kernel.execution(execution_id)
    return FullRecord(**fields_of(execution), events=await _events(request, execution_id))


async def get_events(request: web.Request, execution_id: str) -> list[dict[str, Any]]:
    """List the events of an execution, in order, as they are in the log."""
    return await _events(request, execution_id)


async def get_log(request: web.Request, execution_id: str, query: LogFilters) -> LogPage:
    """List the lines that an execution logged."""
    kernel = request.app[KERNEL]
    await kernel.execution(execution_id)  # else an unknown one would have an empty log
    lines = await kernel.log(execution_id, query.after, query.limit)
    following = lines[-1].number if len(lines) == query.limit else None
    return LogPage(items=lines, after=query.after, limit=query.limit, next=following)


async def cancel(request: web.Request, execution_id: str, query: ActReason) -> Record:
    """Ask a run to stop; one that has not started never will."""
    return record(await request.app[KERNEL].cancel(execution_id, actor=actor_of(request), reason=query.reason))


async def mark_failed(request: web.Request, execution_id: str, query: FailReason) -> Record:
    """End a run as failed whose body is known to be dead; what it may still report is kept as a late result."""
    return record(await request.app[KERNEL].fail(execution_id, query.reason, actor=actor_of(request)))


async def hide(request: web.Request, execution_id: str) -> Record:
    """Take the record of a run that is over out of the lists; the log is not cut."""
    return record(await request.app[KERNEL].hide(execution_id, actor=actor_of(request)))


async def _page(request: web.Request, query: JobRecordFilters, job_id: str | None) -> RecordPage:
    try:
        page = await request.app[KERNEL].executions(query.query(job_id))
    except ValueError as exc:  # the store's word for a cursor that is none
        raise ApiError(400, str(exc), errors=[culprit("query", "cursor", str(exc))]) from exc
    return RecordPage(
        items=[record(execution) for execution in page.items],
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next=page.next,
    )


async def _expect_job(kernel: Kernel, job_id: str) -> None:
    """Raise UnknownJobError for an id that no job has or had: one that was removed has left executions behind."""
    try:
        await kernel.job(job_id)
    except UnknownJobError:
        if not (await kernel.executions(ExecutionQuery(job_id=job_id, limit=1))).total:
            raise


async def _events(request: web.Request, execution_id: str) -> list[dict[str, Any]]:
    history = await request.app[KERNEL].history(execution_id)
    return [msgspec.json.decode(codec.encode(event)) for event in history]
