"""Jobs that are defined at run time: previewed, added, replaced, changed and removed."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from gnomon import UnknownJobError
from gnomon.domain.bulk_acts import MOST_AT_ONCE
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.wire.problems import INVALID_JOB, OUTSIDE_OF_SCOPE
from gnomon.wire.records import AddedJob, JobDetail, RemovedJob
from gnomon_web.app_keys import CONFIG, IDENTITY, actor_of, kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Answer, Route
from gnomon_web.resources.jobs import IdempotencyKey, etag, job_detail
from gnomon_web.resources.parameters import ActionReason

KEYS = (
    "The keys of a job, as a table [[jobs]] of the config has them. `func` is `package.module:callable`, or the id of "
    "a job that the deployment declares."
)
JobKeys = Annotated[dict[str, Any], Meta(title="JobKeys", description=KEYS)]
NewJobKeys = Annotated[
    dict[str, Any],
    Meta(
        title="NewJobKeys",
        description=KEYS,
        extra_json_schema={
            "required": ["id", "func"],
            "properties": {"id": {"type": "string"}, "func": {"type": "string"}},
        },
    ),
]
NewJobList = Annotated[
    list[NewJobKeys],
    Meta(description="Jobs that are added together, or not at all.", min_length=1, max_length=MOST_AT_ONCE),
]
JobPatch = Annotated[
    dict[str, Any],
    Meta(title="JobPatch", description="A JSON merge patch of the keys of a job: null removes a key."),
]
Version = Annotated[
    str,
    Meta(pattern=r'^"[0-9]{1,18}"$', description='the ETag of a job, such as "3"'),
]


class NewJobOptions(ActionReason, kw_only=True, frozen=True):
    """`owner` names the set of jobs to which a new job belongs, such as a tenant. `reason` is kept in the log."""

    owner: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class OrderHeaders(msgspec.Struct, kw_only=True, frozen=True):
    """A repeated request of one actor with the same Idempotency-Key has no second effect."""

    idempotency_key: IdempotencyKey | None = msgspec.field(name="Idempotency-Key", default=None)


class ConditionHeaders(OrderHeaders, kw_only=True, frozen=True):
    """`If-Match` is the ETag of the job that the sender has seen: the request has no effect if it was changed since.

    A repeated request of one actor with the same Idempotency-Key has no second effect.
    """

    if_match: Version | None = msgspec.field(name="If-Match", default=None)


def routes() -> list[Route]:
    """Return the routes of this module."""
    one = "/scheduler/jobs/{job_id}"
    admin: dict[str, Any] = {"role": "admin", "tag": "jobs"}
    put = {"errors": (409, 412, 413, 415, 422)}
    return [
        Route(method="POST", path="/scheduler/jobs", handler=add, status=201, errors=(409, 413, 415, 422), **admin),
        Route(method="POST", path="/scheduler/jobs/preview", handler=preview, role="operator", tag="jobs"),
        Route(method="PUT", path=one, handler=replace, also=(201,), **admin | put),
        Route(method="PATCH", path=one, handler=change, **admin | put | {"errors": (404, *put["errors"])}),
        Route(method="DELETE", path=one, handler=remove, errors=(404, 409, 412, 422), **admin),
    ]


async def preview(request: web.Request, body: JobKeys) -> JobPreview:
    """Return what the keys of a job would do: all problems with their places, or the fires that they gain and lose.

    Nothing changes. The answer is the same for keys that are not valid: `ok` is false, and `problems` has them all.
    """
    _expect_no_scope(request)
    return await kernel_of(request).preview_job(body)


async def add(
    request: web.Request, query: NewJobOptions, headers: OrderHeaders, body: NewJobKeys | NewJobList
) -> Answer[JobDetail | list[AddedJob]]:
    """Add a job, which is there again after a restart; 409 if its id exists. A list adds all of its jobs, or none."""
    if isinstance(body, list):
        return await _add_list(request, query, headers, body)
    job_id = body.get("id")
    if not isinstance(job_id, str):
        detail = "is missing" if job_id is None else f"expected text, got {type(job_id).__name__}"
        raise ApiError(INVALID_JOB, f"id {detail}", errors=[culprit("body", "id", detail)])
    order = JobOrder(how="add", job_id=job_id, keys=body, owner=query.owner)
    return await _ordered(request, order, headers.idempotency_key, query.reason, 201)


async def _add_list(
    request: web.Request, query: NewJobOptions, headers: OrderHeaders, jobs: list[dict[str, Any]]
) -> Answer[JobDetail | list[AddedJob]]:
    _expect_no_scope(request)
    added = await kernel_of(request).order_jobs(
        jobs,
        owner=query.owner,
        idempotency_key=headers.idempotency_key,
        actor=actor_of(request),
        reason=query.reason,
    )
    return Answer(
        [
            AddedJob(id=keys["id"], version=one.version, next_run_time=one.view.next_fire if one.view else None)
            for keys, one in zip(jobs, added, strict=True)
        ]
    )


async def replace(
    request: web.Request, job_id: str, query: NewJobOptions, headers: ConditionHeaders, body: JobKeys
) -> Answer[JobDetail]:
    """Replace a job that was added at run time, or add one with this id (201); keys that are left out get defaults."""
    order = JobOrder(how="replace", job_id=job_id, keys=body, owner=query.owner)
    return await _ordered(request, _expecting(order, headers), headers.idempotency_key, query.reason, None)


async def change(
    request: web.Request, job_id: str, query: ActionReason, headers: ConditionHeaders, body: JobPatch
) -> Answer[JobDetail]:
    """Change keys of a job that was added at run time, by a JSON merge patch (RFC 7396): null removes a key."""
    order = JobOrder(how="change", job_id=job_id, keys=body)
    return await _ordered(request, _expecting(order, headers), headers.idempotency_key, query.reason, None)


async def remove(
    request: web.Request, job_id: str, query: ActionReason, headers: ConditionHeaders
) -> Answer[RemovedJob]:
    """Remove a job that was added at run time. Its executions stay, and its running bodies go on."""
    order = _expecting(JobOrder(how="remove", job_id=job_id), headers)
    _expect_no_scope(request)
    ordered = await kernel_of(request).order_job(
        order, idempotency_key=headers.idempotency_key, actor=actor_of(request), reason=query.reason
    )
    return Answer(RemovedJob(id=job_id, version=ordered.version))


async def _ordered(
    request: web.Request, order: JobOrder, idempotency_key: str | None, reason: str | None, status: int | None
) -> Answer[Any]:
    _expect_no_scope(request)
    ordered = await kernel_of(request).order_job(
        order, idempotency_key=idempotency_key, actor=actor_of(request), reason=reason
    )
    if ordered.view is None:  # only for a repeated request
        raise UnknownJobError(order.job_id)
    headers: dict[str, str] = {hdrs.ETAG: etag(ordered.version)}
    if ordered.is_new:
        status = 201
        headers[hdrs.LOCATION] = f"{request.app[CONFIG].base_path}/scheduler/jobs/{quote(order.job_id, safe='')}"
    return Answer(await job_detail(request, ordered.view), headers, status)


def _expect_no_scope(request: web.Request) -> None:
    """Raise ApiError for a token that is limited to some jobs: what it defines could call anything for any of them."""
    scope = request[IDENTITY].scope
    if scope is not None:
        detail = f"this call defines jobs, and the token is limited to {scope}"
        raise ApiError(OUTSIDE_OF_SCOPE, detail, errors=[culprit("header", "Authorization", detail)])


def _expecting(order: JobOrder, headers: ConditionHeaders) -> JobOrder:
    """Return an order with the version that the conditions of the request name."""
    if headers.if_match is None:
        return order
    return msgspec.structs.replace(order, expect_version=int(headers.if_match.strip('"')))
