"""Acts of operators on single fires, on many jobs or runs at once, and on the whole kernel."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from gnomon import JobError
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.scheduling.catch_up import MOST_BACKFILLED, fires_within
from gnomon.scheduling.exclusions import to_instant
from gnomon.scheduling.timezones import timezone_or_utc
from gnomon.scheduling.triggers import is_predictable
from gnomon.wire.operator_answers import BackfillAnswer, BackfillStop, HoldAnswer, SkippedFire
from gnomon_web.app_keys import actor_of, kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import ActionReason


class FireToSkip(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The fire, by default the next one; one without an offset is in the zone of the job. `undo` withdraws the skip."""

    fire: datetime | None = None
    undo: bool = False


FIRES_AT_A_TIME = 100


class Period(msgspec.Struct, kw_only=True, frozen=True):
    """The time from `from` to `to`, both included; without an offset in the zone of the job."""

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")


class Span(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The fires of the schedule from `from` to `to`, both included; without an offset in the zone of the job.

    Runs come one after the other, or with `overlap` as many at once as the job allows. At most `rate` start in a time,
    such as "10/m". Times with a success are left out, unless `rerun` is true.
    """

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    overlap: bool = False
    rate: str | None = None
    rerun: bool = False


def routes() -> list[Route]:
    """Return the routes of this module."""
    act: dict[str, Any] = {"method": "POST", "role": "operator", "tag": "operators"}
    many = act | {"scoped": True, "errors": (404, 413, 415, 422)}
    return [
        Route(path="/scheduler/jobs/{job_id}/skip", handler=skip, **many),
        Route(path="/scheduler/jobs/{job_id}/backfill", handler=backfill, **(many | {"status": 202})),
        Route(
            path="/scheduler/jobs/{job_id}/backfill",
            handler=count_backfill,
            **(many | {"method": "GET", "role": "viewer", "errors": (404, 422)}),
        ),
        Route(path="/scheduler/jobs/{job_id}/backfill/stop", handler=stop_backfill, **many),
        Route(path="/scheduler/jobs/pause", handler=pause_jobs, **many),
        Route(path="/scheduler/jobs/resume", handler=resume_jobs, **many),
        Route(path="/scheduler/executions/cancel", handler=cancel_runs, **many),
        Route(path="/scheduler/hold", handler=hold, **act),
        Route(path="/scheduler/release", handler=release, **act),
    ]


async def skip(request: web.Request, job_id: str, query: ActionReason, body: FireToSkip | None) -> SkippedFire:
    """Decide that a fire to come will not run: it is missed when it is due. `undo` withdraws that."""
    wanted = body or FireToSkip()
    fire = await kernel_of(request).skip(
        job_id, wanted.fire, undo=wanted.undo, actor=actor_of(request), reason=query.reason
    )
    return SkippedFire(job_id=job_id, scheduled_time=fire, skipped=not wanted.undo)


async def backfill(request: web.Request, job_id: str, query: ActionReason, body: Span) -> BackfillAnswer:
    """Run a job for past fires of its schedule, each once; answered when the order is durable."""
    fires = await kernel_of(request).backfill(
        job_id,
        body.since,
        body.until,
        overlap=body.overlap,
        rate=body.rate,
        rerun=body.rerun,
        actor=actor_of(request),
        reason=query.reason,
    )
    return BackfillAnswer(job_id=job_id, fires=fires)


async def count_backfill(request: web.Request, job_id: str, query: Period) -> BackfillAnswer:
    """Return how many fires a backfill of this time would look at, without beginning one."""
    view = await kernel_of(request).job(job_id)
    trigger = view.job.build_trigger()
    if trigger is None or not is_predictable(trigger):
        raise JobError(f"job {job_id!r} has no schedule whose past fires can be computed: there is nothing to backfill")
    zone = timezone_or_utc(view.job.timezone)
    count = 0
    for _ in fires_within(trigger, view.state.anchor, to_instant(query.since, zone), to_instant(query.until, zone)):
        count += 1
        if count > MOST_BACKFILLED:
            raise JobError(f"a backfill has at most {MOST_BACKFILLED:,} fires, and the schedule of job {job_id!r} more")
        if count % FIRES_AT_A_TIME == 0:
            await asyncio.sleep(0)  # other requests are answered in between
    return BackfillAnswer(job_id=job_id, fires=count)


async def stop_backfill(request: web.Request, job_id: str, query: ActionReason) -> BackfillStop:
    """Start no more runs of the job's backfill; those that were accepted go on."""
    stopped = await kernel_of(request).stop_backfill(job_id, actor=actor_of(request), reason=query.reason)
    return BackfillStop(job_id=job_id, stopped=stopped)


async def pause_jobs(request: web.Request, query: ActionReason, body: JobSelection) -> list[ActOutcome]:
    """Pause all jobs that match, at most 1,000, in one commit."""
    return await kernel_of(request).pause_jobs(body, actor=actor_of(request), reason=query.reason)


async def resume_jobs(request: web.Request, query: ActionReason, body: JobSelection) -> list[ActOutcome]:
    """Resume all jobs that match, at most 1,000, in one commit."""
    return await kernel_of(request).resume_jobs(body, actor=actor_of(request), reason=query.reason)


async def cancel_runs(request: web.Request, query: ActionReason, body: RunSelection) -> list[ActOutcome]:
    """Request that all runs that match and have not ended stop, at most 1,000."""
    return await kernel_of(request).cancel_runs(body, actor=actor_of(request), reason=query.reason)


async def hold(request: web.Request, query: ActionReason) -> HoldAnswer:
    """Hold back the fires of all jobs until they are released, across restarts; not for limited tokens."""
    changed = await kernel_of(request).hold(actor=actor_of(request), reason=query.reason)
    return HoldAnswer(held=True, changed=changed)


async def release(request: web.Request, query: ActionReason) -> HoldAnswer:
    """Release the fires of all jobs; `catch_up` decides about those that were held. Not for limited tokens."""
    changed = await kernel_of(request).release(actor=actor_of(request), reason=query.reason)
    return HoldAnswer(held=False, changed=changed)
