"""Jobs: their list, one with its definition, and the actions of operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from gnomon import KernelApi, UnknownJobError
from gnomon.api import JobView, Triggered
from gnomon.domain.events import Origin
from gnomon.wire.records import JobDetail, JobStatus, JobSummary, TriggeredRecord
from gnomon_web.app_keys import CONFIG, actor_of, kernel_of
from gnomon_web.http.routes import Answer, Route
from gnomon_web.resources.counts import count
from gnomon_web.resources.job_answers import detail_fields, summary_fields
from gnomon_web.resources.job_fields import chosen_fields
from gnomon_web.resources.job_lists import JobSort, in_order, matching, texts_of
from gnomon_web.resources.last_executions import last_of
from gnomon_web.resources.list_queries import QueryText
from gnomon_web.resources.parameters import ActionReason, JobId, Text, expect_same_job


class JobFilters(msgspec.Struct, kw_only=True, frozen=True):
    """`q` searches ids, names and descriptions, ignoring case. `owner` and `origin` are those of jobs at run time.

    `query` has filters in one text, such as `tag:etl status:failing`, and `sort` is the order: by id, schedule, next
    fire or last run, with a minus for the descending one; jobs without one come last. With `first`, only so many jobs
    are listed, from the beginning of that order.

    With `fields`, each job has its `id` and these fields only, which takes fewer bytes. One of them may be `recent`:
    its newest runs, as many as the parameter `recent` says.
    """

    fields: tuple[Text, ...] = ()
    recent: Annotated[int, Meta(ge=1, le=50)] = 20
    id: tuple[JobId, ...] = ()
    q: Text | None = None
    tag: Text | None = None
    status: JobStatus | None = None
    origin: Origin | None = None
    owner: Text | None = None
    query: QueryText | None = None
    sort: JobSort | None = None
    first: Annotated[int, Meta(ge=1, le=10_000)] | None = None

    def __post_init__(self) -> None:
        """Refuse fields that no job has."""
        if unknown := sorted(set(self.fields) - set(JobSummary.__struct_fields__)):
            known = ", ".join(JobSummary.__struct_fields__)
            raise ValueError(f"no job has the field {unknown[0]!r}: `fields` may name {known}")


class Metadata(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An operator's name and description of a job; null changes nothing, an empty text removes what there is."""

    display_name: Annotated[str, Meta(max_length=50)] | None = None
    description: Annotated[str, Meta(max_length=200)] | None = None


class ForceFlag(msgspec.Struct, kw_only=True, frozen=True):
    """`force` skips guards."""

    force: bool | None = None


class RunOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The options of a manual run: `kwargs` and `labels` are for this run only, `force` skips guards.

    A paused job is resumed, unless `resume` is false: then it runs once and stays paused.
    """

    kwargs: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    force: bool = False
    resume: bool = True


class SingleRunOptions(RunOptions, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The options of one manual run. Where the queue of the job is full, it is refused or recorded as missed."""

    when_full: Literal["raise", "miss"] = "raise"


class Trigger(SingleRunOptions, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The job to run, and the options of the run."""

    job_id: JobId


class JobRunOptions(SingleRunOptions, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The options of a run of the job in the path; a `job_id` must be the same."""

    job_id: JobId | None = None


IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern="^[ -~]+$",  # a header may hold bytes of 0x80 and above, which are not text
        description="1 to 255 printable ASCII characters",
    ),
]


class TriggerHeaders(msgspec.Struct, kw_only=True, frozen=True):
    """Requests of one actor with the same Idempotency-Key make one run, and must be the same."""

    idempotency_key: IdempotencyKey | None = msgspec.field(name="Idempotency-Key", default=None)


def routes() -> list[Route]:
    """Return the routes of this module."""
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "jobs", "scoped": True}
    look |= {"has_past": True, "errors": (404,)}
    one = "/scheduler/jobs/{job_id}"
    act: dict[str, Any] = {"method": "POST", "role": "operator", "tag": "jobs", "errors": (404, 409), "scoped": True}
    run = act | {"status": 202, "errors": (404, 409, 413, 415, 422, 429)}
    return [
        Route(path="/scheduler/jobs", handler=list_jobs, **look),
        Route(path=one, handler=get_job, **look),
        Route(path=f"{one}/parameters", handler=get_parameters, **look),
        Route(path=f"{one}/pause", handler=pause, **act),
        Route(path=f"{one}/resume", handler=resume, **act),
        Route(
            path=f"{one}/metadata",
            handler=put_metadata,
            **(act | {"method": "PUT", "errors": (404, 409, 413, 415, 422)}),
        ),
        Route(path="/scheduler/trigger", handler=trigger, **run),
        Route(path=f"{one}/trigger", handler=trigger_job, **run),
    ]


async def list_jobs(request: web.Request, query: JobFilters) -> list[JobSummary]:
    """List all jobs."""
    kernel = kernel_of(request)
    found = await views_of(kernel, query.id) if query.id else await kernel.jobs()
    views = [view for view in found if _matches(view, query)]
    if query.query is not None:
        views = await matching(request, views, query.query)
    if query.sort is not None:
        views = await in_order(request, views, query.sort)
    views = views[: query.first]
    if not query.fields:
        return await summaries(request, views)
    return await chosen_fields(request, views, query.fields, query.recent)  # type: ignore[return-value]  # parts of them


async def views_of(kernel: KernelApi, job_ids: Iterable[str]) -> list[JobView]:
    """Return these jobs by id, without those that do not exist; a list of all copies thousands of definitions."""
    found = []
    for job_id in sorted(set(job_ids)):
        try:
            found.append(await kernel.job(job_id))
        except UnknownJobError:
            continue
    return found


async def get_job(request: web.Request, job_id: str) -> Answer[JobDetail]:
    """Return a job with its definition, its next fires and the number of its executions; `ETag` is its version."""
    detail = await job_detail(request, await kernel_of(request).job(job_id))
    return Answer(detail, {hdrs.ETAG: etag(detail.version)})


async def job_detail(request: web.Request, view: JobView) -> JobDetail:
    """Return the details of a job."""
    job_id = view.job.id
    last = await last_of(request, [job_id])
    kernel = kernel_of(request)
    fields = detail_fields(view, last[job_id], kernel.clock.now())
    return JobDetail(**fields, statistics=await count(kernel, job_id))


def etag(version: int) -> str:
    """Return the entity tag of a version of a job."""
    return f'"{version}"'


async def get_parameters(request: web.Request, job_id: str) -> dict[str, Any]:
    """Return the named arguments that a run of the job may have, as JSON Schema."""
    return await kernel_of(request).parameters(job_id)


async def pause(request: web.Request, job_id: str, query: ActionReason) -> JobSummary:
    """Pause a job: it does not fire until it is resumed; has no effect on a paused job."""
    await kernel_of(request).pause(job_id, actor=actor_of(request), reason=query.reason)
    return await _summary(request, job_id)


async def resume(request: web.Request, job_id: str, query: ActionReason) -> JobSummary:
    """Resume a paused job; has no effect on one that is not paused."""
    await kernel_of(request).resume(job_id, actor=actor_of(request), reason=query.reason)
    return await _summary(request, job_id)


async def put_metadata(request: web.Request, job_id: str, body: Metadata) -> JobSummary:
    """Set an operator's name and description of a job; the log keeps them across restarts."""
    actor = actor_of(request)
    await kernel_of(request).describe(job_id, display_name=body.display_name, note=body.description, actor=actor)
    return await _summary(request, job_id)


async def trigger(request: web.Request, headers: TriggerHeaders, body: Trigger) -> Answer[TriggeredRecord]:
    """Run a job now, once; answered when the run is durably accepted."""
    return await _run(request, body.job_id, body, headers)


async def trigger_job(
    request: web.Request, job_id: str, query: ForceFlag, headers: TriggerHeaders, body: JobRunOptions | None
) -> Answer[TriggeredRecord]:
    """Run this job now, once; answered when the run is durably accepted."""
    options = body or JobRunOptions()
    expect_same_job(options.job_id, job_id, "body")
    force = options.force if query.force is None else query.force
    return await _run(request, job_id, msgspec.structs.replace(options, force=force), headers)


async def _run(
    request: web.Request, job_id: str, options: SingleRunOptions, headers: TriggerHeaders
) -> Answer[TriggeredRecord]:
    triggered = await kernel_of(request).trigger(
        job_id,
        kwargs=options.kwargs or {},
        labels=options.labels or {},
        force=options.force,
        resume=options.resume,
        actor=actor_of(request),
        idempotency_key=headers.idempotency_key,
        when_full=options.when_full,
    )
    execution = triggered.execution
    body = triggered_record(triggered)
    location = f"{request.app[CONFIG].base_path}/scheduler/executions/{execution.id}"
    return Answer(body, {hdrs.LOCATION: location})


def triggered_record(triggered: Triggered) -> TriggeredRecord:
    """Return what a trigger is answered with."""
    repeated = not triggered.is_new and not triggered.joined
    return TriggeredRecord.of(
        triggered.execution, resumed=triggered.resumed, repeated=repeated, joined=triggered.joined
    )


async def _summary(request: web.Request, job_id: str) -> JobSummary:
    (summary,) = await summaries(request, [await kernel_of(request).job(job_id)])
    return summary


async def summaries(request: web.Request, views: list[JobView]) -> list[JobSummary]:
    """Return the summaries of these jobs, each with its newest execution."""
    last = await last_of(request, [view.job.id for view in views])
    return [JobSummary(**summary_fields(view, last[view.job.id])) for view in views]


def _matches(view: JobView, query: JobFilters) -> bool:
    job = view.job
    return (
        (not query.id or job.id in query.id)
        and (query.tag is None or query.tag in job.tags)
        and (query.origin is None or query.origin == view.origin)
        and (query.owner is None or query.owner == view.state.owner)
        and (query.status is None or (query.status == "paused") == view.state.paused)
        and (query.q is None or any(query.q.casefold() in text.casefold() for text in texts_of(view)))
    )
