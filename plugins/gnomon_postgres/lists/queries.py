"""Reads of views: single records, and lists, whose cost is that of the page and not of the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import psycopg

from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, Page
from gnomon.errors import StoreUnavailableError
from gnomon.stores.page_cursor import Cursor, cursor_of, read_cursor, write_cursor
from gnomon_postgres.lists.list_conditions import (
    Condition,
    has_own_index,
    in_ranges,
    in_scope,
    matching,
    of_job,
    of_kind,
)
from gnomon_postgres.lists.list_counts import Extent, measure
from gnomon_postgres.lists.list_order import ListOrder
from gnomon_postgres.lists.list_parts import MOST_AT_ONCE, behind, is_complete, portions, sufficient
from gnomon_postgres.lists.newest_runs import newest_per_job
from gnomon_postgres.lists.run_bodies import NOT_ENDED, read_bodies
from gnomon_postgres.schema.partitions import Span
from gnomon_postgres.schema.run_places import find_runs
from gnomon_postgres.schema.view_rows import act_of, job_of, view_of
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, Connection, Row, Server

LIST = f"{SNAPSHOT}; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
"""The mode of lists: to compile a statement, or to start workers for it, takes longer than most pages."""
ATTEMPTS = 5
"""Of a list whose partitions are dropped while it is read."""

_JOBS = "SELECT body, last_fire, newest_fire FROM {schema}.job_states LEFT JOIN {schema}.fires ON job_id = id"


async def execution(server: Server, execution_id: str) -> Execution | None:
    """Read one execution."""
    async with server.reading() as connection:
        found = await executions_by_id(connection, [execution_id])
    return found[0] if found else None


async def executions_by_id(connection: Connection, ids: Collection[str]) -> list[Execution]:
    """Read these executions, in no order."""
    return [view_of(body) for (body,) in await find_runs(connection, ("body",), ids)]


async def jobs(server: Server, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
    """Read the states of all jobs or of some, by id."""
    async with server.reading(LIST_LIMIT_S) as connection:
        return await job_states(connection, job_ids, removed=removed)


async def job_states(
    connection: Connection, job_ids: Collection[str] | None, *, removed: bool = True
) -> list[JobState]:
    """Read the same."""
    where = Condition() if removed else Condition("removed_at IS NULL")
    if job_ids is not None:
        where &= Condition("id = ANY(%s::text[])", (list(map(shown, job_ids)),))
    rows = await connection.fetch(f"{_JOBS} WHERE {where.sql} ORDER BY id", where.parameters)
    return [job_of(*row) for row in rows]


async def actions(server: Server, query: ActionQuery) -> ActionPage:
    """Read a page of operators' acts, newest first, and count the matches."""
    where = Condition()
    for name in ("job_id", "status", "action", "actor"):
        if (value := getattr(query, name)) is not None:
            where &= Condition(f"{name} = %s", (shown(value),))
    if query.since is not None:
        where &= Condition("at >= %s", (query.since,))
    if query.until is not None:
        where &= Condition("at < %s", (query.until,))
    if query.scope is not None:
        where &= in_scope(query.scope)
    count = f"SELECT count(*) FROM {{schema}}.acts WHERE {where.sql}"  # noqa: S608 - our own names
    page = f"SELECT body FROM {{schema}}.acts WHERE {where.sql} ORDER BY position DESC LIMIT %s OFFSET %s"  # noqa: S608
    bounds = (max(query.limit, 0), max(query.offset, 0))
    async with server.reading(LIST_LIMIT_S) as connection, connection.transaction(LIST):
        ((total,),) = await connection.fetch(count, where.parameters)
        rows = await connection.fetch(page, (*where.parameters, *bounds))
    return ActionPage([act_of(body) for (body,) in rows], total)


# --- lists of executions ---


def parse_cursor(query: ExecutionQuery) -> Cursor | None:
    """Parse the query's cursor; ValueError where it is not valid."""
    return None if query.cursor is None else read_cursor(query.cursor, query.sort)


async def executions(server: Server, query: ExecutionQuery, start: Cursor | None) -> Page:
    """Read a page and the total, both of one snapshot."""
    async with server.reading(LIST_LIMIT_S) as connection:
        for _ in range(ATTEMPTS):
            try:
                async with connection.transaction(LIST):
                    return await read_page(connection, query, start)
            except psycopg.errors.UndefinedTable:  # a snapshot keeps no partition from being dropped
                continue
    raise StoreUnavailableError(f"{server.address} drops one partition after the other: try again later")


async def read_page(connection: Connection, query: ExecutionQuery, start: Cursor | None) -> Page:
    """Read the same within a snapshot."""
    if query.per_job is not None:
        newest = await newest_per_job(connection, query, query.per_job)
        return Page(newest, len(newest), None)
    extent = await measure(connection, query)
    rows = await _rows(connection, _List(query, extent, start)) if query.limit > 0 else []
    items = [view_of(body, is_brief=query.brief) for *_, body in rows[: max(query.limit, 0)]]
    has_more = bool(items) and len(rows) > len(items)
    total = extent.total if query.counts else len(items)
    return Page(items, total, write_cursor(cursor_of(items[-1], query.sort)) if has_more else None)


class _List(NamedTuple):
    """A list whose extent is known, and where its page starts."""

    query: ExecutionQuery
    extent: Extent
    start: Cursor | None

    @property
    def wanted(self) -> int:
        """The rows to read: one more than the page and those before it, to learn whether there is a next page."""
        return max(self.query.offset, 0) + self.query.limit + 1

    @property
    def order(self) -> ListOrder:
        """The order of the rows."""
        return ListOrder(self.query.sort)

    @property
    def has_bodies(self) -> bool:
        """Whether the bodies are read with the rows, because hardly more rows are read than the page has."""
        return self.order.is_by_time and self.query.offset <= 0


async def _rows(connection: Connection, wanted: _List) -> list[Row]:
    """Return the rows of the page, each of which ends with the body."""
    query, extent, start = wanted
    order, spans, number = wanted.order, extent.spans, MOST_AT_ONCE
    if order.is_by_time:
        spans = behind(spans, start, descending=query.sort.descending)
        number = sufficient(spans, extent.sizes if start is None else None, wanted.wanted)
    rows: list[Row] = []
    rest = spans
    async with aclosing(portions(connection, spans, number)) as parts:
        async for some in parts:
            found = await connection.fetch(*_statement(wanted, some, has_live=rest is spans))
            rows = order.merged([*rows, *found])[: wanted.wanted]
            rest = rest[len(some) :]
            is_full = order.is_by_time and len(rows) == wanted.wanted
            if is_full and is_complete(rest, rows[-1][0], descending=query.sort.descending):
                break
    page = rows[max(query.offset, 0) :]
    if wanted.has_bodies:
        return page
    return [(body,) for body in await read_bodies(connection, [(run_id, final) for _, run_id, _, final in page])]


def _statement(wanted: _List, spans: Sequence[Span], *, has_live: bool) -> tuple[str, Sequence[Any]]:
    """Return the statement for the first rows out of some partitions, and its parameters.

    Each part of it has its own order and limit: with these the server merges the parts lazily, and reads hardly more
    rows than are wanted. Where rows are sorted by another column than the time, it reads all that match.
    """
    order = wanted.order
    parts = [("live", matching(wanted.query), True)] if has_live else []
    ended = _conditions(wanted, order)
    parts += [(f"ended_{span.first}", condition, False) for span in spans for condition in ended]
    members: list[str] = []
    parameters: list[Any] = []
    for table, condition, is_live in parts:
        where = condition & order.after(wanted.start, is_live=is_live)
        chosen = "timestamp, id, body"
        if not wanted.has_bodies:
            final = f"{NOT_ENDED}::bigint AS final" if is_live else "final"
            chosen = f"timestamp, id, {order.value(is_live=is_live)} AS value, {final}"
        members.append(
            f"(SELECT {chosen} FROM {{schema}}.{table} WHERE {where.sql} ORDER BY {order.terms} LIMIT %s)"  # noqa: S608
        )
        parameters += [*where.parameters, wanted.wanted]
    page = f"SELECT * FROM ({' UNION ALL '.join(members)}) AS run ORDER BY {order.terms} LIMIT %s"  # noqa: S608
    return page, [*parameters, wanted.wanted]


def _conditions(wanted: _List, order: ListOrder) -> list[Condition]:
    """Return the conditions of the rows in a partition: for a list by time, each of which an index has in its order."""
    query, extent = wanted.query, wanted.extent
    if has_own_index(query) or not order.is_by_time or query.late or query.duration:
        return [matching(query)]
    if extent.cells is not None:
        return [Condition("job_id = %s", (job_id,)) & of_kind(kind) & in_ranges(query) for job_id, kind in extent.cells]
    return [of_kind(kind) & of_job(query) & in_ranges(query) for kind in extent.kinds or ()]
