"""The newest runs of each job: its index yields the newest rows of each of its cells, partition by partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime

from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.stores.newest_runs import newest_of_each_job
from gnomon_postgres.lists.list_conditions import has_own_index, in_ranges, matching, of_cells, of_job
from gnomon_postgres.lists.list_parts import in_time, portions
from gnomon_postgres.lists.run_bodies import NOT_ENDED, read_bodies
from gnomon_postgres.schema.partitions import Span, read_spans
from gnomon_postgres.schema.view_rows import view_of
from gnomon_postgres.server import Connection, Row

_KEYS = "SELECT timestamp, id, job_id, {final} FROM {{schema}}.{table} WHERE {where}"
_NEWEST = """SELECT run.timestamp, run.id, cell.job_id, run.final FROM {{schema}}.counts AS cell
    CROSS JOIN LATERAL (
        SELECT timestamp, id, final FROM {{schema}}.ended_{first}
        WHERE job_id = cell.job_id AND status = cell.status AND is_manual = cell.is_manual AND hidden = cell.hidden
            AND {ranges}
        ORDER BY timestamp DESC, id DESC LIMIT %s) AS run
    WHERE cell.part = {first} AND cell.n > 0 AND job_id <> '' AND NOT job_id = ANY(string_to_array(%s, E'\\x1f'))
        AND {cells}"""


async def newest_per_job(connection: Connection, query: ExecutionQuery, most: int) -> list[Execution]:
    """Return the newest `most` matching runs of each job, newest first; called within a snapshot."""
    rows = await _matching(connection, query, "live", f"{NOT_ENDED}::bigint")
    newest_first = sorted(in_time(await read_spans(connection), query), key=lambda span: span.newest, reverse=True)
    async with aclosing(portions(connection, newest_first)) as parts:
        async for span in (span async for some in parts for span in some):
            if has_own_index(query):
                rows += await _matching(connection, query, f"ended_{span.first}", "final")
            else:
                rows += await _newest_in(connection, query, most, span, _satisfied(rows, most, span.newest))
    chosen = newest_of_each_job(sorted(rows, key=lambda row: row[:2], reverse=True), most, lambda row: str(row[2]))
    bodies = await read_bodies(connection, [(run_id, final) for _, run_id, _, final in chosen])
    return [view_of(body, is_brief=query.brief) for body in bodies]


async def _matching(connection: Connection, query: ExecutionQuery, table: str, final: str) -> list[Row]:
    where = matching(query)
    return await connection.fetch(_KEYS.format(table=table, final=final, where=where.sql), where.parameters)


async def _newest_in(
    connection: Connection, query: ExecutionQuery, most: int, span: Span, done: Sequence[str]
) -> list[Row]:
    """Read the newest rows of each job in a partition, without those of jobs that need no more."""
    ranges, cells = in_ranges(query), of_job(query) & of_cells(query)
    sql = _NEWEST.format(first=span.first, ranges=ranges.sql, cells=cells.sql)
    return await connection.fetch(sql, (*ranges.parameters, max(most, 0), "\x1f".join(done), *cells.parameters))


def _satisfied(rows: Iterable[Row], most: int, newest: datetime) -> list[str]:
    """Return the jobs that have enough rows which are newer than all of the partitions that are left."""
    found = defaultdict[str, int](int)
    for timestamp, _, job_id, _ in rows:
        found[job_id] += timestamp > newest
    return [job_id for job_id, number in found.items() if number >= most]
