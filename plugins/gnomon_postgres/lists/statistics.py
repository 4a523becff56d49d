"""Statistics of executions as counted by the server, to verify or to initialize what a plugin folds itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing

from gnomon.domain.execution import STATUSES
from gnomon.domain.records import ExecutionCounts
from gnomon_postgres.lists.list_conditions import Condition
from gnomon_postgres.lists.list_parts import portions
from gnomon_postgres.schema.partitions import Span, read_spans
from gnomon_postgres.schema.view_rows import Columns, arrays, given
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, Connection, Row, Server

_CELL: Columns = (
    ("job_id", "text"),
    ("status", "text"),
    ("is_manual", "bool"),
    ("hidden", "bool"),
    ("timestamp", "timestamptz"),
)
_LIVE, _ENDED = "live", "ended WHERE final >= {first} AND final < {next}"
# The rows themselves are counted, not `counts`: that is what these numbers are to verify.
_GROUPS = """SELECT job_id, status, is_manual, hidden, max(timestamp), count(*), count(duration), sum(duration)
    FROM (SELECT * FROM {{schema}}.{runs}) AS run WHERE {where} GROUP BY job_id, status, is_manual, hidden"""
_SAME = " AND ".join(f"run.{name} = new.{name}" for name, _ in _CELL)
_NEWEST = f"""SELECT new.job_id, max(run.id) FROM {given(_CELL)}
    JOIN (SELECT * FROM {{{{schema}}}}.{{runs}}) AS run ON {_SAME} GROUP BY new.job_id"""  # noqa: S608


async def statistics(server: Server, job_id: str | None = None) -> list[ExecutionCounts]:
    """Count the executions of one job or of each, hidden ones included, by job id."""
    where = Condition() if job_id is None else Condition("job_id = %s", (shown(job_id),))
    async with server.reading(LIST_LIMIT_S) as connection, connection.transaction(SNAPSHOT):
        spans = await read_spans(connection)
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        async for runs in _tables(connection, spans):
            for row in await connection.fetch(_GROUPS.format(runs=runs, where=where.sql), where.parameters):
                groups[row[0]].append(row)
        if not groups:
            return []
        newest = [max(rows, key=lambda row: row[4])[:5] for rows in groups.values()]
        ids: dict[str, str] = {}
        async for runs in _tables(connection, spans):
            for one, run_id in await connection.fetch(_NEWEST.format(runs=runs), arrays(newest)):
                ids[one] = max(run_id, ids.get(one, ""))
    last = {row[0]: row for row in newest}
    return [_counts(groups[one], last[one], ids[one]) for one in sorted(groups)]


async def _tables(connection: Connection, spans: Sequence[Span]) -> AsyncIterator[str]:
    """Yield what comes after FROM: the runs that have not ended, and then those of some partitions after the other."""
    yield _LIVE
    rest = spans
    async with aclosing(portions(connection, spans)) as parts:
        async for some in parts:
            rest = rest[len(some) :]
            if some:
                yield _ENDED.format(first=some[0].first, next=rest[0].first if rest else 2**63 - 1)


def _counts(rows: Iterable[Row], last: Sequence[object], last_id: str) -> ExecutionCounts:
    by_status: defaultdict[str, int] = defaultdict(int)
    measured, seconds = 0, 0.0
    for _, status, _, _, _, number, with_duration, duration in rows:
        by_status[status] += number
        if status == "success":
            measured += with_duration
            seconds += duration or 0.0
    job_id, status, _, _, timestamp = last
    return ExecutionCounts(
        job_id=str(job_id),
        by_status={status: by_status[status] for status in STATUSES if by_status[status]},
        average_execution_time=seconds / measured if measured else None,
        last_id=last_id,
        last_status=str(status),
        last_timestamp=timestamp,  # type: ignore[arg-type]  # a column of the type timestamptz
    )
