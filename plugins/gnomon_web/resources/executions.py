"""Executions: lists of runs, one run with its events and log lines, and actions on it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import ExecutionQuery, KernelApi, UnknownJobError
from gnomon.domain import codec
from gnomon.domain.body_sample import BodySample
from gnomon.domain.brief import brief_list
from gnomon.domain.execution import Status
from gnomon.domain.labels import MOST_LABELS, parse_label
from gnomon.domain.list_query import parse_sort
from gnomon.domain.run_sorting import NEWEST_FIRST
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon.wire.records import FullRecord, JsonObject, Record, RecordPage
from gnomon_web.app_keys import IDENTITY, actor_of, kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.read_shares import DEEP_OFFSET, READ_SHARES
from gnomon_web.http.routes import Route
from gnomon_web.resources.etas import etas_of, records_of
from gnomon_web.resources.list_queries import QueryText, with_query
from gnomon_web.resources.parameters import ActionReason, JobId, Limit, Moment, Offset, Text, expect_same_job

SortName = Literal[
    "started", "job", "status", "duration", "late", "progress", "by",
    "-started", "-job", "-status", "-duration", "-late", "-progress", "-by",
]  # fmt: skip


class RecordFilters(msgspec.Struct, kw_only=True, frozen=True):
    """All filters combine. `q` searches error messages. A run has every `label`, such as `tenant:7`, if it is listed.

    `since` <= timestamp < `until`. `cursor` is the `next` of the page before, with the same `sort`; use it instead of
    `offset`. `query` has filters in one text, such as `tag:etl status:failed late>1m by:otto since:-7d`. `sort` is a
    column, with a minus for the descending order; without it, the newest executions come first.
    """

    limit: Limit = 50
    offset: Offset = 0
    cursor: Text | None = None
    job_id: JobId | None = None
    status: Annotated[tuple[Status, ...], Meta(min_length=1)] = ()
    is_manual: bool | None = None
    label: tuple[Text, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    q: Text | None = None
    query: QueryText | None = None
    sort: SortName | None = None

    def __post_init__(self) -> None:
        """Refuse two starts of the page."""
        if self.cursor is not None and self.offset:
            raise ValueError("cursor and offset both set the start of the page: give one of them")
        if len(self.label) > MOST_LABELS:
            raise ValueError(f"{len(self.label)} labels are too many: a run has at most {MOST_LABELS}")
        for text in self.label:
            parse_label(text)

    @property
    def is_slow(self) -> bool:
        """Whether the store has to scan many executions."""
        is_scan = self.query is not None or self.sort is not None
        return is_scan or self.q is not None or bool(self.label) or self.offset > DEEP_OFFSET

    async def asked(self, kernel: KernelApi, job_id: str | None) -> ExecutionQuery:
        """Return the query for the store; ApiError 400 where the `query` is not valid."""
        given = self._given(job_id)
        return given if self.query is None else await with_query(kernel, self.query, given)

    def _given(self, job_id: str | None) -> ExecutionQuery:
        return ExecutionQuery(
            job_id=job_id,
            status=self.status,
            is_manual=self.is_manual,
            labels=tuple(":".join(parse_label(text)) for text in self.label),
            since=self.since,
            until=self.until,
            text=self.q,
            limit=self.limit,
            offset=self.offset,
            cursor=self.cursor,
            sort=NEWEST_FIRST if self.sort is None else parse_sort(self.sort),
            brief=True,
        )


class FailOptions(msgspec.Struct, kw_only=True, frozen=True):
    """`reason` says why the run is known to be dead; it becomes the run's error message.

    Code that is still running keeps its slot of the job, unless `force` releases it: the next run may start beside it.
    """

    reason: Text = "marked as failed by an operator"
    force: bool = False


def routes() -> list[Route]:
    """Return the routes of this module."""
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "executions", "scoped": True}
    past = look | {"has_past": True, "errors": (404,)}
    act = look | {"method": "POST", "errors": (404, 409)}
    one = "/scheduler/executions/{execution_id}"
    itself = r"/scheduler/executions/{execution_id:(?!(?:cancel|retry)$)[^/\x7b\x7d]+}"  # these are calls by POST only
    return [
        Route(path="/scheduler/logs", handler=list_executions, **past),
        Route(path="/scheduler/executions", handler=list_executions, **past),
        Route(path="/scheduler/jobs/{job_id}/executions", handler=list_of_job, **past),
        Route(path=itself, handler=get_execution, **past),
        Route(path=f"{one}/events", handler=get_events, **past),
        Route(path=f"{one}/cancel", handler=cancel, status=202, **(act | {"role": "operator"})),
        Route(path=f"{one}/sample", handler=sample, **(act | {"role": "operator"})),
        Route(path=f"{one}/mark-failed", handler=mark_failed, **(act | {"role": "admin"})),
        Route(path=itself, handler=hide, **(act | {"method": "DELETE", "role": "admin"})),
    ]


async def list_executions(request: web.Request, query: RecordFilters) -> RecordPage:
    """List executions, newest first."""
    return await _page(request, query, query.job_id)


async def list_of_job(request: web.Request, job_id: str, query: RecordFilters) -> RecordPage:
    """List the executions of a job, newest first; a `job_id` in the query must be the one in the path."""
    expect_same_job(query.job_id, job_id)
    page = await _page(request, query, job_id)
    if page.total == 0:
        await expect_job(kernel_of(request), job_id)
    return page


async def get_execution(request: web.Request, execution_id: str) -> FullRecord:
    """Return an execution with its events."""
    execution = await kernel_of(request).execution(execution_id)
    eta = (await etas_of(request, [execution])).get(execution_id)
    return FullRecord.of(execution, events=await _events(request, execution_id), eta=eta)


async def get_events(request: web.Request, execution_id: str) -> list[JsonObject]:
    """List the events of an execution, in order, as they are in the log."""
    return await _events(request, execution_id)


async def cancel(request: web.Request, execution_id: str, query: ActionReason) -> Record:
    """Request the cancellation of a run; one that has not started is cancelled at once."""
    return Record.of(await kernel_of(request).cancel(execution_id, actor=actor_of(request), reason=query.reason))


async def sample(request: web.Request, execution_id: str) -> BodySample:
    """Return where a running body is in its code, and what its process uses, without values of variables."""
    return await kernel_of(request).sample(execution_id)


async def mark_failed(request: web.Request, execution_id: str, query: FailOptions) -> Record:
    """Mark a run as failed when its body is known to be dead; a later result is recorded as `late_result`."""
    kernel = kernel_of(request)
    return Record.of(await kernel.fail(execution_id, query.reason, actor=actor_of(request), force=query.force))


async def hide(request: web.Request, execution_id: str) -> Record:
    """Hide the record of a run that is over from lists; the log keeps it."""
    return Record.of(await kernel_of(request).hide(execution_id, actor=actor_of(request)))


async def _page(request: web.Request, query: RecordFilters, job_id: str | None) -> RecordPage:
    kernel = kernel_of(request)
    read = partial(kernel.executions, await query.asked(kernel, job_id))
    try:
        page = await (request.app[READ_SHARES].slow(request[IDENTITY], read) if query.is_slow else read())
    except ValueError as exc:  # the store does not accept the cursor
        raise ApiError(INVALID_PARAMETER, str(exc), errors=[culprit("query", "cursor", str(exc))]) from exc
    return RecordPage(
        items=await records_of(request, brief_list(page.items)),
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next=page.next,
    )


async def expect_job(kernel: KernelApi, job_id: str) -> None:
    """Raise UnknownJobError for an id without a job and without executions of a removed one."""
    try:
        await kernel.job(job_id)
    except UnknownJobError:
        if not (await kernel.executions(ExecutionQuery(job_id=job_id, limit=1))).total:
            raise


async def _events(request: web.Request, execution_id: str) -> list[JsonObject]:
    history = await kernel_of(request).history(execution_id)
    return [msgspec.Raw(text) for text in codec.encode_to_send(history)]
