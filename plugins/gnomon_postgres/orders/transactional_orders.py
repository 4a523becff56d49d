"""Orders in the transactions of an application: an order exists exactly if its transaction commits.

    async with connection.transaction():
        await connection.execute("INSERT INTO invoices (id, total) VALUES (%s, %s)", (number, total))
        order = await gnomon_postgres.trigger(connection, "send-invoice", kwargs={"number": number})

`connection` is a psycopg.AsyncConnection, an asyncpg.Connection, or an AsyncConnection or AsyncSession of SQLAlchemy.
The functions with `_sync` at the end of their names take a psycopg.Connection, a Connection or Session of SQLAlchemy,
or the connection of Django. Each is one INSERT: errors are those of the driver, and nothing is committed.

The kernel that leads carries out an order once, also if it is killed meanwhile. Orders wait for it as long as it takes,
unless `expires_in` limits that. Nobody waits for the answer: `order_outcome` finds it, for 30 days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from gnomon.domain.parameter_checks import checked
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.jobs.job import Job
from gnomon_postgres.orders.application_connections import (
    ApplicationConnection,
    AsyncApplicationConnection,
    fetch_one,
    fetch_one_sync,
)
from gnomon_postgres.orders.application_statements import insertion, orders_placed, outcome_of, search
from gnomon_postgres.orders.placed_orders import (
    NewOrder,
    OrderOutcome,
    PlacedOrder,
    addition,
    cancellation,
    job_order,
    run_order,
    run_orders,
)

SCHEMA = "gnomon"
"""The schema of a log whose plugin has no other `schema`."""


@checked
async def trigger(  # noqa: PLR0913 - one parameter for each option of a run
    connection: AsyncApplicationConnection,
    job_id: str,
    *,
    kwargs: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    force: bool = False,
    key: str | None = None,
    actor: str | None = None,
    when_full: WhenFull = "wait",
    triggered_by: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order one run of a job, in the transaction of the connection.

    `kwargs`, which are JSON data, and `labels` are merged into the job's for this run. `force` skips guards. A paused
    job runs once and stays paused. Orders of one actor with the same `key` make one run: that of the first, while it is
    in the log; another request with the key is refused. `actor` is who asks, for the history: by default
    `postgresql:ROLE`. `triggered_by` is the run that asks, and links the two.

    `when_full` says what happens where as many runs of the job wait as its `queue_limit` allows: "wait" keeps the order
    until one has left the queue, "miss" records the run as missed, and "raise" refuses the order. One that is not
    carried out within `expires_in` expires. JobError for arguments that are not JSON, IdempotencyKeyError.
    """
    order = RunOrder(job_id, kwargs or {}, force, idempotency_key=key, labels=labels or {})
    (placed,) = await _place(connection, [run_order(order, actor, when_full, expires_in, triggered_by)], schema)
    return placed


@checked
def trigger_sync(  # noqa: PLR0913 - one parameter for each option of a run
    connection: ApplicationConnection,
    job_id: str,
    *,
    kwargs: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    force: bool = False,
    key: str | None = None,
    actor: str | None = None,
    when_full: WhenFull = "wait",
    triggered_by: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order one run of a job, in the transaction of the connection: `trigger` for connections that are not async."""
    order = RunOrder(job_id, kwargs or {}, force, idempotency_key=key, labels=labels or {})
    (placed,) = _place_sync(connection, [run_order(order, actor, when_full, expires_in, triggered_by)], schema)
    return placed


@checked
async def trigger_many(
    connection: AsyncApplicationConnection,
    orders: Sequence[RunOrder],
    *,
    actor: str | None = None,
    when_full: WhenFull = "wait",
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> list[PlacedOrder]:
    """Order runs of jobs with one INSERT, in the transaction of the connection.

    Each order is accepted or refused without regard to the others. `resume` of an order
    does not count: a paused job runs once and stays paused.
    """
    return await _place(connection, run_orders(orders, actor, when_full, expires_in), schema)


@checked
def trigger_many_sync(
    connection: ApplicationConnection,
    orders: Sequence[RunOrder],
    *,
    actor: str | None = None,
    when_full: WhenFull = "wait",
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> list[PlacedOrder]:
    """Order runs of jobs with one INSERT: `trigger_many` for connections that are not async."""
    return _place_sync(connection, run_orders(orders, actor, when_full, expires_in), schema)


@checked
async def add_job(  # noqa: PLR0913 - the options of an order, and the keys of a job
    connection: AsyncApplicationConnection,
    job: Job | Callable[..., Any] | str,
    /,
    *,
    replace: bool = False,
    owner: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    key: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
    **keys: Any,
) -> PlacedOrder:
    """Order that a job is added to the log, in the transaction of the connection.

    `job` is a Job, a function, or its name "package.module:function"; `keys` are those of a job by name, such as `id`,
    `cron` and `kwargs`, as in `kernel.add_job`. With `replace` a job that was added before gets this definition. An
    order of the role that the kernel itself has may name any function, one of another role only those of
    `allow_functions`. JobError for a job that is not valid.
    """
    how = {"owner": owner, "actor": actor, "reason": reason, "key": key, "expires_in": expires_in}
    (placed,) = await _place(connection, [addition(job, keys, how, replace=replace)], schema)
    return placed


@checked
def add_job_sync(  # noqa: PLR0913 - the options of an order, and the keys of a job
    connection: ApplicationConnection,
    job: Job | Callable[..., Any] | str,
    /,
    *,
    replace: bool = False,
    owner: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    key: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
    **keys: Any,
) -> PlacedOrder:
    """Order that a job is added to the log: `add_job` for connections that are not async."""
    how = {"owner": owner, "actor": actor, "reason": reason, "key": key, "expires_in": expires_in}
    (placed,) = _place_sync(connection, [addition(job, keys, how, replace=replace)], schema)
    return placed


@checked
async def remove_job(
    connection: AsyncApplicationConnection,
    job_id: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    key: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order that a job which was added at run time is removed, in the transaction of the connection."""
    order = job_order("remove", job_id, {}, actor=actor, reason=reason, key=key, expires_in=expires_in)
    (placed,) = await _place(connection, [order], schema)
    return placed


@checked
def remove_job_sync(
    connection: ApplicationConnection,
    job_id: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    key: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order that a job is removed: `remove_job` for connections that are not async."""
    order = job_order("remove", job_id, {}, actor=actor, reason=reason, key=key, expires_in=expires_in)
    (placed,) = _place_sync(connection, [order], schema)
    return placed


@checked
async def cancel(
    connection: AsyncApplicationConnection,
    execution_id: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order that a run is cancelled, in the transaction of the connection.

    It may be the `execution_id` of an order that was placed before: orders are carried out one after the other. A run
    that is over is left as it is, and the order is refused.
    """
    (placed,) = await _place(connection, [cancellation(execution_id, actor, reason, expires_in)], schema)
    return placed


@checked
def cancel_sync(
    connection: ApplicationConnection,
    execution_id: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    expires_in: timedelta | None = None,
    schema: str = SCHEMA,
) -> PlacedOrder:
    """Order that a run is cancelled: `cancel` for connections that are not async."""
    (placed,) = _place_sync(connection, [cancellation(execution_id, actor, reason, expires_in)], schema)
    return placed


@checked
async def order_outcome(
    connection: AsyncApplicationConnection, order_id: str, *, schema: str = SCHEMA
) -> OrderOutcome | None:
    """Return the outcome of an order.

    None for one that the transaction does not see: it was rolled back, is not committed yet, or was answered more than
    30 days ago.
    """
    return outcome_of(await fetch_one(connection, search(order_id, schema)))


@checked
def order_outcome_sync(
    connection: ApplicationConnection, order_id: str, *, schema: str = SCHEMA
) -> OrderOutcome | None:
    """Return the outcome of an order: `order_outcome` for connections that are not async."""
    return outcome_of(fetch_one_sync(connection, search(order_id, schema)))


async def _place(connection: AsyncApplicationConnection, orders: list[NewOrder], schema: str) -> list[PlacedOrder]:
    if not orders:
        return []
    return orders_placed(orders, await fetch_one(connection, insertion(orders, schema)))


def _place_sync(connection: ApplicationConnection, orders: list[NewOrder], schema: str) -> list[PlacedOrder]:
    if not orders:
        return []
    return orders_placed(orders, fetch_one_sync(connection, insertion(orders, schema)))
