"""Jobs: what there is, and what operators do with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import hdrs, web

from gnomon.api import JobView
from gnomon.jobs.callables import reference
from gnomon.jobs.job import explain_schedule
from gnomon_web.counting import count
from gnomon_web.keys import CONFIG, KERNEL, actor_of
from gnomon_web.latest import LATEST
from gnomon_web.resources import (
    ActReason,
    ForceFlag,
    JobDetail,
    JobFilters,
    JobSummary,
    Metadata,
    RunOptions,
    Trigger,
    TriggeredRecord,
    TriggerHeaders,
    fields_of,
    policies,
    summary_fields,
)
from gnomon_web.routes import Answer, Route

UPCOMING = 10
"""Fires that are told of a job."""


def routes() -> list[Route]:
    """List the routes of this part."""
    base: dict[str, Any] = {"tag": "jobs"}
    one = "/scheduler/jobs/{job_id}"
    act: dict[str, Any] = {"method": "POST", "role": "operator", "tag": "jobs", "errors": (404,)}
    run = act | {"status": 202, "errors": (404, 413, 415, 422)}
    return [
        Route(method="GET", path="/scheduler/jobs", handler=list_jobs, role="viewer", **base),
        Route(method="GET", path=one, handler=get_job, role="viewer", errors=(404,), **base),
        Route(path=f"{one}/pause", handler=pause, **act),
        Route(path=f"{one}/resume", handler=resume, **act),
        Route(
            path=f"{one}/metadata", handler=put_metadata, **(act | {"method": "PUT", "errors": (404, 413, 415, 422)})
        ),
        Route(path="/scheduler/trigger", handler=trigger, **run),
        Route(path=f"{one}/trigger", handler=trigger_job, **run),
    ]


async def list_jobs(request: web.Request, query: JobFilters) -> list[JobSummary]:
    """List all jobs."""
    views = [view for view in await request.app[KERNEL].jobs() if _matches(view, query)]
    return await summaries(request, views)


async def get_job(request: web.Request, job_id: str) -> JobDetail:
    """Tell all of a job: its definition, when it is due, how often it ran."""
    kernel = request.app[KERNEL]
    view = await kernel.job(job_id)
    last = await request.app[LATEST].of([job_id])
    return JobDetail(
        **summary_fields(view, last[job_id]),
        func=reference(view.job.func),
        args=view.job.args,
        kwargs=view.job.kwargs,
        policies=policies(view.job),
        next_run_times=_upcoming(view),
        schedule=explain_schedule(view.job),
        timezone=view.job.timezone,
        statistics=await count(kernel, job_id),
    )


async def pause(request: web.Request, job_id: str, query: ActReason) -> JobSummary:
    """Hold a job's fires back until it is resumed; a paused one stays so."""
    await request.app[KERNEL].pause(job_id, actor=actor_of(request), reason=query.reason)
    return await _summary(request, job_id)


async def resume(request: web.Request, job_id: str, query: ActReason) -> JobSummary:
    """Let a job fire again; one that is not paused stays so."""
    await request.app[KERNEL].resume(job_id, actor=actor_of(request), reason=query.reason)
    return await _summary(request, job_id)


async def put_metadata(request: web.Request, job_id: str, body: Metadata) -> JobSummary:
    """Keep an operator's own name and description for a job, restarts included."""
    actor = actor_of(request)
    await request.app[KERNEL].describe(job_id, display_name=body.display_name, note=body.description, actor=actor)
    return await _summary(request, job_id)


async def trigger(request: web.Request, headers: TriggerHeaders, body: Trigger) -> Answer[TriggeredRecord]:
    """Run a job now, once; answered when the run is durably accepted."""
    return await _run(request, body.job_id, body, headers)


async def trigger_job(
    request: web.Request, job_id: str, query: ForceFlag, headers: TriggerHeaders, body: RunOptions | None
) -> Answer[TriggeredRecord]:
    """Run this job now, once; answered when the run is durably accepted."""
    options = body or RunOptions()
    force = options.force if query.force is None else query.force
    return await _run(request, job_id, RunOptions(kwargs=options.kwargs, force=force, resume=options.resume), headers)


async def _run(
    request: web.Request, job_id: str, options: RunOptions, headers: TriggerHeaders
) -> Answer[TriggeredRecord]:
    triggered = await request.app[KERNEL].trigger(
        job_id,
        kwargs=options.kwargs,
        force=options.force,
        resume=options.resume,
        actor=actor_of(request),
        idempotency_key=headers.idempotency_key,
    )
    execution = triggered.execution
    body = TriggeredRecord(**fields_of(execution), resumed=triggered.resumed, repeated=not triggered.is_new)
    location = f"{request.app[CONFIG].base_path}/scheduler/executions/{execution.id}"
    return Answer(body, {hdrs.LOCATION: location})


async def _summary(request: web.Request, job_id: str) -> JobSummary:
    (summary,) = await summaries(request, [await request.app[KERNEL].job(job_id)])
    return summary


async def summaries(request: web.Request, views: list[JobView]) -> list[JobSummary]:
    """Tell of these jobs in short, each with its newest execution."""
    last = await request.app[LATEST].of(view.job.id for view in views)
    return [JobSummary(**summary_fields(view, last[view.job.id])) for view in views]


def _matches(view: JobView, query: JobFilters) -> bool:
    job = view.job
    texts = (job.id, job.name, job.description, view.state.display_name, view.state.note)
    return (
        (query.tag is None or query.tag in job.tags)
        and (query.status is None or (query.status == "paused") == view.state.paused)
        and (query.q is None or any(query.q.casefold() in text.casefold() for text in texts))
    )


def _upcoming(view: JobView) -> list[datetime]:
    """Walk from the next fire on; a paused job has none."""
    trigger, fire = view.job.build_trigger(), view.next_fire
    fires: list[datetime] = []
    while trigger is not None and fire is not None and len(fires) < UPCOMING:
        fires.append(fire)
        fire = trigger.get_next_fire_time(fire, fire)
    return fires
