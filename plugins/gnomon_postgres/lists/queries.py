"""Reads of views: single records, and lists, whose cost is that of the page and not of the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from gnomon_postgres.lists.list_parts import behind, growing, is_complete
from gnomon_postgres.lists.newest_runs import newest_per_job
from gnomon_postgres.schema.partitions import Span
from gnomon_postgres.schema.view_rows import act_of, job_of, view_of
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, Connection, Row, Server

LIST = f"{SNAPSHOT}; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
"""The mode of lists: to compile a statement, or to start workers for it, takes longer than most pages."""
ATTEMPTS = 5
"""Of a list whose partitions are dropped while it is read."""

_RUNS = """SELECT body FROM {schema}.live WHERE id = ANY(%(ids)s::text[])
    UNION ALL SELECT body FROM {schema}.ended WHERE id = ANY(%(ids)s::text[])"""
_BODIES = """SELECT page.timestamp, coalesce(ended.body, live.body) FROM (
        SELECT row_number() OVER () AS number, * FROM ({page}) AS page) AS page
    LEFT JOIN {{schema}}.ended ON ended.id = page.id AND ended.final = page.final
    LEFT JOIN {{schema}}.live ON live.id = page.id AND page.final = -1 ORDER BY number"""
_JOBS = "SELECT body, last_fire, newest_fire FROM {schema}.job_states LEFT JOIN {schema}.fires ON job_id = id"


async def execution(server: Server, execution_id: str) -> Execution | None:
    """Read one execution."""
    async with server.reading() as connection:
        found = await executions_by_id(connection, [execution_id])
    return found[0] if found else None


async def executions_by_id(connection: Connection, ids: Collection[str]) -> list[Execution]:
    """Read these executions, in no order."""
    rows = await connection.fetch(_RUNS, {"ids": list(map(shown, ids))}) if ids else []
    return [view_of(body) for (body,) in rows]


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
                    return await _page(connection, query, start)
            except psycopg.errors.UndefinedTable:  # a snapshot keeps no partition from being dropped
                continue
    raise StoreUnavailableError(f"{server.address} drops one partition after the other: try again later")


async def _page(connection: Connection, query: ExecutionQuery, start: Cursor | None) -> Page:
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
        """The rows to read: one more than the page holds, to learn whether there is a next page."""
        return self.query.limit + 1


async def _rows(connection: Connection, wanted: _List) -> list[Row]:
    query, extent, start = wanted
    order, offset = ListOrder(query.sort), max(query.offset, 0)
    if not order.is_by_time:
        return await connection.fetch(*_statement(wanted, order, extent.spans))
    descending = query.sort.descending
    spans = behind(extent.spans, start, descending=descending)
    rows: list[Row] = []
    for some in growing(spans, extent.sizes if start is None else None, offset + wanted.wanted):
        rows = await connection.fetch(*_statement(wanted, order, some))
        rest = spans[len(some) :]
        if len(rows) == wanted.wanted and is_complete(rest, rows[-1][0], descending=descending):
            break
    return rows


def _statement(wanted: _List, order: ListOrder, spans: Sequence[Span]) -> tuple[str, Sequence[Any]]:
    """Return the statement for a page out of some partitions, and its parameters.

    Each part of it has its own order and limit: with these the server merges the parts lazily, and reads hardly more
    rows than the page has. Where rows are sorted by another column than the time, it reads all that match, and only
    then the bodies of the page.
    """
    query = wanted.query
    limits = wanted.wanted, max(query.offset, 0)
    parts = [("live", matching(query), True)]
    ended = _conditions(wanted, order)
    parts += [(f"ended_{span.first}", condition, False) for span in spans for condition in ended]
    members: list[str] = []
    parameters: list[Any] = []
    for table, condition, is_live in parts:
        where = condition & order.after(wanted.start, is_live=is_live)
        chosen = "timestamp, id, body"
        if not order.is_by_time:
            chosen = (
                f"timestamp, id, {order.value(is_live=is_live)} AS value, {'-1::bigint AS' if is_live else ''} final"
            )
        members.append(
            f"(SELECT {chosen} FROM {{schema}}.{table} WHERE {where.sql} ORDER BY {order.terms} LIMIT %s)"  # noqa: S608
        )
        parameters += [*where.parameters, sum(limits)]
    page = f"SELECT * FROM ({' UNION ALL '.join(members)}) AS run ORDER BY {order.terms} LIMIT %s OFFSET %s"  # noqa: S608
    return (page if order.is_by_time else _BODIES.format(page=page)), [*parameters, *limits]


def _conditions(wanted: _List, order: ListOrder) -> list[Condition]:
    """Return the conditions of the rows in a partition: for a list by time, each of which an index has in its order."""
    query, extent = wanted.query, wanted.extent
    if has_own_index(query) or not order.is_by_time or query.late or query.duration:
        return [matching(query)]
    if extent.cells is not None:
        return [Condition("job_id = %s", (job_id,)) & of_kind(kind) & in_ranges(query) for job_id, kind in extent.cells]
    return [of_kind(kind) & of_job(query) & in_ranges(query) for kind in extent.kinds or ()]
