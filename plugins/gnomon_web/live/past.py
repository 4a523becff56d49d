"""`GET /scheduler/past`: what the log knows about a moment, and what a dashboard shows of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import Event, ExecutionQuery
from gnomon.domain.kernel_health import Health
from gnomon.wire.past import EventMark, PastReport
from gnomon_web.app_keys import IDENTITY, KERNEL, PAST, kernel_of, present_kernel_of
from gnomon_web.auth.scoped_kernel import ScopedKernel
from gnomon_web.http.responses import encode_json
from gnomon_web.http.routes import Route
from gnomon_web.live.snapshots import take_snapshot
from gnomon_web.resources.health import Component, HealthReport, HoldReport


class PastOptions(msgspec.Struct, kw_only=True, frozen=True):
    """`snapshot` adds what a dashboard shows: jobs, runs and health, as the first frame of `/ws/live` has them.

    `failures` counts the failed runs in so many equal parts of the time from the begin of the log until now.
    """

    snapshot: bool = False
    failures: Annotated[int, Meta(ge=0, le=120)] = 0


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(
            method="GET",
            path="/scheduler/past",
            handler=get_past,
            role="viewer",
            tag="history",
            errors=(404,),
            scoped=True,
            has_past=True,
        )
    ]


async def get_past(request: web.Request, query: PastOptions) -> PastReport:
    """Describe the state at a moment, by default now: what ran, waited and was held, and what the log still keeps."""
    if PAST not in request:
        kernel = request.app[KERNEL]
        request[PAST] = await kernel.at(kernel.clock.now())
    health = request[PAST].health()
    assert health.moment is not None  # noqa: S101 - that of a kernel of the past
    moment = health.moment
    before, after = await _visible(request, moment.before), await _visible(request, moment.after)
    snapshot = await take_snapshot(request, moment.position, _health_of_then)
    return PastReport(
        at=moment.at,
        position=moment.position,
        begins_at=moment.begins_at,
        lost=moment.lost,
        before=before,
        after=after,
        leader=health.leader if request[IDENTITY].scope is None else None,
        hold=msgspec.json.decode(encode_json(snapshot.health.hold)),
        **msgspec.structs.asdict(snapshot.totals),
        now=request.app[KERNEL].clock.now(),
        failures=await _failures(request, moment.begins_at, query.failures),
        snapshot=msgspec.Raw(encode_json(snapshot)) if query.snapshot else None,
    )


async def _failures(request: web.Request, begin: datetime, parts: int) -> list[int]:
    kernel = present_kernel_of(request)
    part = (kernel.clock.now() - begin) / max(parts, 1)

    async def count(n: int) -> int:
        since = begin + n * part
        query = ExecutionQuery(status=("failed",), since=since, until=since + part, limit=1, brief=True)
        return (await kernel.executions(query)).total

    return [await count(n) for n in range(parts)] if part else [0] * parts


async def _visible(request: web.Request, event: Event | None) -> EventMark | None:
    kernel = kernel_of(request)
    if event is None or (isinstance(kernel, ScopedKernel) and not (event.job_id and await kernel.has(event.job_id))):
        return None
    return EventMark(at=event.at, position=event.position, type=event.type, job_id=event.job_id)


async def _health_of_then(request: web.Request) -> HealthReport:
    health: Health = request[PAST].health()
    is_up, hold = health.accepts_runs, health.hold
    problem = None if is_up else health.problem
    return HealthReport(
        status="ok" if is_up else "failed",
        running=is_up,
        state=1 if is_up else 0,
        timestamp=request[PAST].clock.now(),
        components=[Component(name="kernel", state="ok" if is_up else "failed", problem=problem)],
        hold=HoldReport(since=hold.since, actor=hold.actor, reason=hold.reason) if hold is not None else None,
    )
