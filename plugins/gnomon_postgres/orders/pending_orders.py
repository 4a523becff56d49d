"""The table `transactional_orders` from the side of the kernel that leads: the next orders, and their outcomes.

An order is found by its state and by nothing else. One that was placed hours ago, in a transaction that commits now,
has a smaller number than those that are answered already, and comes next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import msgspec

from gnomon_postgres.orders.placed_orders import OrderCall, OutcomeState
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.lease_row import Term

MOST_AT_ONCE = 200
"""Orders that are read, carried out and answered in one step."""
MOST_BYTES_AT_ONCE = 8 * 1024 * 1024
"""Bytes of their arguments; a single order may have half of that."""
MOST_OF_FULL = 20
"""Orders of a job without room in its queue that are tried again in one step."""
_LONGEST_CHARACTER = 4
KEPT = timedelta(days=30)
"""Time for which an order can be found after its answer."""
MOST_DELETED = 10_000

_FIRST = """SELECT * FROM {schema}.transactional_orders
    WHERE state = 'pending' AND id <> ALL(%(skipped)s) ORDER BY number LIMIT %(most)s"""
# Millions of orders may wait for room in the queue of one job: the index is asked for one job after the other.
_BESIDE_FULL = """
    WITH RECURSIVE jobs (job_id) AS (
        SELECT min(job_id) FROM {schema}.transactional_orders WHERE state = 'pending'
        UNION ALL
        SELECT (
            SELECT min(o.job_id) FROM {schema}.transactional_orders AS o
            WHERE o.state = 'pending' AND o.job_id > jobs.job_id
        ) FROM jobs WHERE jobs.job_id IS NOT NULL
    ), others AS (
        SELECT o.* FROM (SELECT job_id FROM jobs WHERE job_id <> ALL(%(full)s)) AS job, LATERAL (
            SELECT * FROM {schema}.transactional_orders AS o
            WHERE o.state = 'pending' AND o.job_id = job.job_id AND o.id <> ALL(%(skipped)s)
            ORDER BY o.number LIMIT %(most)s
        ) AS o
        UNION ALL (
            SELECT * FROM {schema}.transactional_orders
            WHERE state = 'pending' AND job_id IS NULL AND id <> ALL(%(skipped)s) ORDER BY number LIMIT %(most)s
        )
    ), retried AS (
        SELECT o.* FROM unnest(%(retried)s::text[]) AS job (job_id), LATERAL (
            SELECT * FROM {schema}.transactional_orders AS o
            WHERE o.state = 'pending' AND o.job_id = job.job_id AND o.id <> ALL(%(skipped)s)
            ORDER BY o.number LIMIT %(most_of_full)s
        ) AS o
    )
    (SELECT * FROM others ORDER BY number LIMIT %(most)s) UNION ALL (SELECT * FROM retried LIMIT %(most)s)"""
_NEXT = """
    SELECT id, call, job_id, CAST(arguments AS text), placed_by, placed_by = session_user,
        coalesce(expires < clock_timestamp(), false)
    FROM (SELECT *, sum(bytes) OVER (ORDER BY number) - bytes AS bytes_before FROM (SOURCE) AS o) AS o
    WHERE bytes_before < %(most_bytes)s ORDER BY number"""
_NEXT_OF_ALL, _NEXT_BESIDE_FULL = _NEXT.replace("SOURCE", _FIRST), _NEXT.replace("SOURCE", _BESIDE_FULL)
_ANSWER = """
    WITH term AS MATERIALIZED (SELECT 1 FROM {schema}.lease WHERE owner = %s AND epoch = %s FOR KEY SHARE),
    answered AS (
        UPDATE {schema}.transactional_orders AS o SET state = given.state, answered = clock_timestamp(),
            execution_id = given.execution_id, error = given.error, problem = given.problem
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
            AS given (id, state, execution_id, error, problem)
        WHERE o.id = given.id AND o.state = 'pending' AND EXISTS (SELECT FROM term)
    )
    SELECT EXISTS (SELECT FROM term), set_config('synchronous_commit', %s, true)"""
_DELETE = """
    DELETE FROM {schema}.transactional_orders WHERE id IN (
        SELECT id FROM {schema}.transactional_orders
        WHERE state <> 'pending' AND answered < clock_timestamp() - %s LIMIT %s
    )"""
_PROMISE = """
    UPDATE {schema}.order_looks SET looks_until = clock_timestamp() + %s
    RETURNING set_config('synchronous_commit', 'off', true)"""
_COUNT = "SELECT count(*) FROM {schema}.transactional_orders WHERE state = 'pending'"


class PendingOrder(msgspec.Struct, frozen=True):
    """An order that has no answer yet; `is_own` if the role of the kernel itself has placed it."""

    id: str
    call: OrderCall
    job_id: str | None
    arguments: str
    placed_by: str
    is_own: bool
    is_late: bool


class Outcome(msgspec.Struct, frozen=True):
    """What is written about an order."""

    order: PendingOrder
    state: OutcomeState
    execution_id: str | None = None
    error: str | None = None
    problem: str | None = None

    @property
    def row(self) -> tuple[str | None, ...]:
        """The values of the columns."""
        return self.order.id, self.state, self.execution_id, self.error, self.problem


class PendingOrders:
    """The orders of one log; each method is one statement. StoreError."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def next(
        self, skipped: Collection[str], full: Collection[str] = (), retried: Collection[str] = ()
    ) -> list[PendingOrder]:
        """Return the orders that come next, in the order of their numbers, without those that are skipped.

        Those of jobs that are `full` are left out, except for the first ones of those that are `retried`.
        """
        statement = _NEXT_BESIDE_FULL if full else _NEXT_OF_ALL
        values = {
            "skipped": list(skipped),
            "full": list(full),
            "retried": list(retried),
            "most": MOST_AT_ONCE,
            "most_of_full": MOST_OF_FULL,
            "most_bytes": MOST_BYTES_AT_ONCE,
        }
        async with self._server.reading() as connection:
            return [PendingOrder(*row) for row in await connection.fetch(statement, values)]

    async def answer(self, outcomes: Sequence[Outcome], term: Term) -> bool:
        """Write outcomes, which may be there already; False if the term is not that of the log, and nothing written."""
        # What was done is done again with the same key, if its outcome is lost; a refusal must not become a run.
        are_done = all(one.state == "done" for one in outcomes)
        columns = [list(column) for column in zip(*(one.row for one in outcomes), strict=True)]
        async with self._server.writing() as connection:
            found = await connection.fetch_one(_ANSWER, (term.owner, term.epoch, *columns, "off" if are_done else "on"))
        return found is not None and bool(found[0])

    async def delete_old(self) -> bool:
        """Delete some of the orders that were answered long ago; return whether there may be more."""
        async with self._server.writing() as connection:
            return await connection.execute(_DELETE, (KEPT, MOST_DELETED)) == MOST_DELETED

    async def promise_looks(self, time: timedelta) -> None:
        """Record that this kernel looks for orders often during that time, and so needs no notices of them."""
        async with self._server.writing() as connection:
            await connection.fetch(_PROMISE, (time,))

    async def count(self) -> int:
        """Return how many orders have no answer yet."""
        async with self._server.reading() as connection:
            found = await connection.fetch_one(_COUNT)
        return int(found[0]) if found is not None else 0


def may_be_more(pending: Sequence[PendingOrder]) -> bool:
    """Return whether a look that has found these orders may have left out others."""
    longest = sum(len(one.arguments) for one in pending) * _LONGEST_CHARACTER
    return len(pending) >= MOST_OF_FULL or longest >= MOST_BYTES_AT_ONCE
