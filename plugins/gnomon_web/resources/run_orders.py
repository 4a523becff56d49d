"""Orders of many runs in one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import RunOrder
from gnomon.wire.records import AcceptedOrders
from gnomon_web.app_keys import actor_of, kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.jobs import IdempotencyKey, RunOptions, triggered_record
from gnomon_web.resources.parameters import JobId

MOST_ORDERS = 1_000


class Order(RunOptions, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A job to run now, once. A repeated `idempotency_key` of the same actor makes no second run."""

    job_id: JobId
    idempotency_key: IdempotencyKey | None = None


class Orders(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Runs that are accepted together, in one commit, or not at all.

    Where the queue of a job has no room for all of them, `raise` refuses the request with 429, and `miss` records those
    without room as missed.
    """

    orders: Annotated[list[Order], Meta(min_length=1, max_length=MOST_ORDERS)]
    when_full: Literal["raise", "miss"] = "raise"


def routes() -> list[Route]:
    """Return the routes of this module."""
    run: dict[str, Any] = {"role": "operator", "tag": "executions", "status": 202, "errors": (429,), "scoped": True}
    return [Route(method="POST", path="/scheduler/executions", handler=order_runs, **run)]


async def order_runs(request: web.Request, body: Orders) -> AcceptedOrders:
    """Run jobs now, once for each order; answered when all runs are durably accepted."""
    wanted = [
        RunOrder(one.job_id, one.kwargs or {}, one.force, one.resume, one.idempotency_key, one.labels or {})
        for one in body.orders
    ]
    accepted = await kernel_of(request).trigger_many(wanted, actor=actor_of(request), when_full=body.when_full)
    return AcceptedOrders(items=[triggered_record(one) for one in accepted])
