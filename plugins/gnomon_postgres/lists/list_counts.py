"""How many rows a list has in each partition, and of which kinds: from `counts` where that suffices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import aclosing

import msgspec

from gnomon.domain.records import ExecutionQuery
from gnomon.stores.list_filters import has_ranges
from gnomon.stores.run_counts import ALL_JOBS
from gnomon_postgres.lists.list_conditions import (
    Condition,
    Kind,
    has_own_index,
    in_ranges,
    in_scopes,
    matching,
    of_cells,
    of_job,
    of_kind,
)
from gnomon_postgres.lists.list_parts import in_time, is_within, portions
from gnomon_postgres.schema.partitions import Span, read_spans
from gnomon_postgres.schema.view_tables import ALL_PARTS, shown
from gnomon_postgres.server import Connection, Row

MOST_CELLS = 256
"""Cells of single jobs whose newest rows are merged; beyond that, rows of other jobs are skipped."""

_CELLS = """SELECT live.n, cell.* FROM ({live}) AS live LEFT JOIN (
        SELECT first, oldest, newest, latest_end, status, is_manual, hidden, n
        FROM {{schema}}.partitions JOIN {{schema}}.counts ON part = first
        WHERE newest IS NOT NULL AND n > 0 AND {where}) AS cell ON true"""


class Extent(msgspec.Struct):
    """Where the runs of a list are, and how many there are.

    `live` is the number of those that have not ended; `spans` are the partitions that may have some of the others.
    `sizes` has the numbers of these, None where they are not known; they are upper bounds where the list is not
    counted. `total` is that of all, 0 for such a list. `kinds` are those that occur, None where another index than that
    of the kinds serves the list; with `cells` the list has these kinds of these jobs alone.
    """

    spans: list[Span] = []
    live: int = 0
    sizes: dict[int, int] | None = None
    total: int = 0
    kinds: list[Kind] | None = None
    cells: list[tuple[str, Kind]] | None = None


async def measure(connection: Connection, query: ExecutionQuery) -> Extent:
    """Return where the rows of a list are, and count them if the query asks for it."""
    if has_own_index(query) or query.scopes:
        extent = Extent(in_time(await read_spans(connection), query))
        live = _live(query)
        ((extent.live,),) = await connection.fetch(live.sql, live.parameters)
        await (_measure_index if has_own_index(query) else _measure_jobs)(connection, query, extent)
    else:
        extent = await _measure_cells(connection, query)
    if not query.counts:
        return extent
    if has_ranges(query) and not has_own_index(query):
        extent.sizes = await _count_in_ranges(connection, query, extent)
    if extent.sizes is not None:
        extent.total = sum(extent.sizes.values())
    extent.total += extent.live
    return extent


def _live(query: ExecutionQuery) -> Condition:
    """Return the statement that counts the runs of a list that have not ended; they are few, compared to the others."""
    if not query.counts:
        return Condition("SELECT 0 AS n")
    where = matching(query)
    return Condition(f"SELECT count(*) AS n FROM {{schema}}.live WHERE {where.sql}", where.parameters)  # noqa: S608


async def _measure_index(connection: Connection, query: ExecutionQuery, extent: Extent) -> None:
    """Count the rows that another index finds."""
    if query.counts:
        extent.sizes = await _counted(connection, extent.spans, [matching(query)])


async def _measure_cells(connection: Connection, query: ExecutionQuery) -> Extent:
    """Read the numbers of one job, or of all, by partition: in one statement, which most lists need."""
    live = _live(query)
    where = Condition("job_id = %s", (ALL_JOBS if query.job_id is None else shown(query.job_id),)) & of_cells(query)
    rows = await connection.fetch(_CELLS.format(live=live.sql, where=where.sql), (*live.parameters, *where.parameters))
    spans, sizes, kinds = dict[int, Span](), defaultdict[int, int](int), set[Kind]()
    for _, first, oldest, newest, latest_end, status, is_manual, hidden, n in rows:
        if first is not None:
            spans[first] = Span(first, oldest, newest, latest_end)
            sizes[first] += n
            kinds.add((status, is_manual, hidden))
    found = in_time((spans[first] for first in sorted(spans)), query)
    return Extent(found, rows[0][0], {span.first: sizes[span.first] for span in found}, kinds=sorted(kinds))


async def _measure_jobs(connection: Connection, query: ExecutionQuery, extent: Extent) -> None:
    """Read the numbers of the jobs of a scope, over all partitions: there may be many jobs."""
    jobs = Condition("job_id = %s", (shown(query.job_id),)) if query.job_id is not None else Condition("job_id <> ''")
    where = Condition("part = %s AND n > 0", (ALL_PARTS,)) & jobs & in_scopes(query) & of_cells(query)
    sql = f"SELECT job_id, status, is_manual, hidden, n FROM {{schema}}.counts WHERE {where.sql}"  # noqa: S608 - our own names
    rows = await connection.fetch(sql, where.parameters)
    extent.kinds = sorted({(status, is_manual, hidden) for _, status, is_manual, hidden, _ in rows})
    if len(rows) <= MOST_CELLS:
        extent.cells = [(job_id, (status, is_manual, hidden)) for job_id, status, is_manual, hidden, _ in rows]
    extent.total = sum(n for *_, n in rows)
    if not rows:
        extent.spans, extent.sizes = [], {}


async def _count_in_ranges(connection: Connection, query: ExecutionQuery, extent: Extent) -> dict[int, int]:
    """Count what lies within the ranges; what lies within their times as a whole is known already."""
    known: dict[int, int] = {}
    rest = extent.spans
    if extent.sizes is not None and query.late is None and query.duration is None:
        known = {span.first: extent.sizes[span.first] for span in rest if is_within(span, query)}
        rest = [span for span in rest if span.first not in known]
    if query.late is not None or query.duration is not None:
        conditions = [matching(query)]
    else:
        conditions = [of_kind(kind) & of_job(query) & in_ranges(query) for kind in extent.kinds or ()]
    return known | await _counted(connection, rest, conditions)


async def _counted(connection: Connection, spans: Sequence[Span], conditions: Sequence[Condition]) -> dict[int, int]:
    """Count the rows of partitions that meet one of some conditions, which exclude each other."""
    sizes = defaultdict[int, int](int)
    async with aclosing(portions(connection, spans)) as parts:
        async for some in parts:
            for first, n in await _counted_at_once(connection, some, conditions):
                sizes[first] += n
    return dict(sizes)


async def _counted_at_once(
    connection: Connection, spans: Iterable[Span], conditions: Sequence[Condition]
) -> Sequence[Row]:
    parts = [(span.first, condition) for span in spans for condition in conditions]
    if not parts:
        return []
    sql = " UNION ALL ".join(
        f"SELECT {first}::bigint, count(*) FROM {{schema}}.ended_{first} WHERE {condition.sql}"  # noqa: S608 - our own names
        for first, condition in parts
    )
    return await connection.fetch(sql, [value for _, condition in parts for value in condition.parameters])
