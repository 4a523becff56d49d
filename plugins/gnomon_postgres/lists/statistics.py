"""Statistics of executions as counted by the server, to verify or to initialize what a plugin folds itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from gnomon.domain.execution import STATUSES
from gnomon.domain.records import ExecutionCounts
from gnomon_postgres.lists.list_conditions import Condition
from gnomon_postgres.schema.view_rows import Columns, arrays, given
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, Row, Server

_CELL: Columns = (
    ("job_id", "text"),
    ("status", "text"),
    ("is_manual", "bool"),
    ("hidden", "bool"),
    ("timestamp", "timestamptz"),
)
# The rows themselves are counted, not `counts`: that is what these numbers are to verify.
_GROUPS = """SELECT job_id, status, is_manual, hidden, max(timestamp), count(*), count(duration), sum(duration) FROM (
        SELECT job_id, status, is_manual, hidden, timestamp, duration FROM {{schema}}.live
        UNION ALL SELECT job_id, status, is_manual, hidden, timestamp, duration FROM {{schema}}.ended) AS run
    WHERE {where} GROUP BY job_id, status, is_manual, hidden"""
_SAME = " AND ".join(f"run.{name} = new.{name}" for name, _ in _CELL)
_NEWEST = f"""SELECT new.job_id, max(run.id) FROM {given(_CELL)} JOIN LATERAL (
        SELECT id FROM {{schema}}.live AS run WHERE {_SAME}
        UNION ALL SELECT id FROM {{schema}}.ended AS run WHERE {_SAME}) AS run ON true GROUP BY new.job_id"""  # noqa: S608


async def statistics(server: Server, job_id: str | None = None) -> list[ExecutionCounts]:
    """Count the executions of one job or of each, hidden ones included, by job id."""
    where = Condition() if job_id is None else Condition("job_id = %s", (shown(job_id),))
    async with server.reading(LIST_LIMIT_S) as connection, connection.transaction(SNAPSHOT):
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for row in await connection.fetch(_GROUPS.format(where=where.sql), where.parameters):
            groups[row[0]].append(row)
        newest = [max(rows, key=lambda row: row[4])[:5] for rows in groups.values()]
        ids: dict[str, str] = dict(await connection.fetch(_NEWEST, arrays(newest))) if newest else {}
    last = {row[0]: row for row in newest}
    return [_counts(groups[one], last[one], ids[one]) for one in sorted(groups)]


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
