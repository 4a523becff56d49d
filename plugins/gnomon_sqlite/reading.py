"""All that is read from the database: functions that run in the readers' threads, short, and leave no cursor open."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeAlias

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import Action, ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.stores.page_cursor import EPOCH, MICROSECOND, Cursor, read_cursor, write_cursor
from gnomon_sqlite.database import micros, snapshot
from gnomon_sqlite.filing import ALL_JOBS, filed_jobs, view_of
from gnomon_sqlite.tail import Reader

Part: TypeAlias = tuple[str, list[Any]]
"""What follows FROM for some of the rows of a list, and its parameters."""

_decode_action = msgspec.json.Decoder(Action).decode
_decode_line = msgspec.json.Decoder(LogLine).decode


def execution(reader: Reader, execution_id: str) -> Execution | None:
    """Read one execution."""
    with snapshot(reader):
        reader.catch_up()
        sql = "SELECT body FROM unfiled WHERE id = ?1 UNION ALL SELECT body FROM executions WHERE id = ?1"
        row = reader.execute(sql, (execution_id,)).fetchone()
    return view_of(row[0]) if row else None


def executions(reader: Reader, query: ExecutionQuery, start: Cursor | None) -> Page:
    """Read a page, and count what matches, at one moment."""
    with snapshot(reader):
        reader.catch_up()
        parts, total = _parts(reader, query)
        rows = _newest(reader, query, [_from(part, start) for part in parts]) if parts else []
    items = [view_of(body) for _, _, body in rows[: max(query.limit, 0)]]
    if not items or len(rows) == len(items):
        return Page(items, total, None)
    timestamp, execution_id, _ = rows[len(items) - 1]
    return Page(items, total, write_cursor(Cursor(EPOCH + timestamp * MICROSECOND, execution_id)))


def jobs(reader: Reader) -> list[JobState]:
    """Read the states of all jobs, by id."""
    with snapshot(reader):
        reader.catch_up()
        states = filed_jobs(reader)
    reader.tail.tell(states)
    return [states[job_id] for job_id in sorted(states)]


def actions(connection: sqlite3.Connection, query: ActionQuery) -> ActionPage:
    """Read a page of what operators did, and count what matches, at one moment."""
    where, parameters = ("", []) if query.job_id is None else ("WHERE job_id = ?", [query.job_id])
    page = [*parameters, max(query.limit, 0), max(query.offset, 0)]
    with snapshot(connection):
        (total,) = connection.execute(f"SELECT count(*) FROM actions {where}", parameters).fetchone()  # noqa: S608 - ours
        sql = f"SELECT body FROM actions {where} ORDER BY position DESC LIMIT ? OFFSET ?"  # noqa: S608 - ours
        rows = connection.execute(sql, page).fetchall()
    return ActionPage([_decode_action(body) for (body,) in rows], total)


def checkpoint(connection: sqlite3.Connection, name: str) -> Checkpoint | None:
    """Read a checkpoint."""
    row = connection.execute("SELECT position, view FROM checkpoints WHERE name = ?", (name,)).fetchone()
    return Checkpoint(*row) if row else None


def log(connection: sqlite3.Connection, execution_id: str, after: int, limit: int) -> list[LogLine]:
    """Read log lines of a run by number."""
    sql = "SELECT body FROM log_lines WHERE execution_id = ? AND number > ? ORDER BY number LIMIT ?"
    return [_decode_line(body) for (body,) in connection.execute(sql, (execution_id, after, max(limit, 0))).fetchall()]


def parse_cursor(query: ExecutionQuery) -> Cursor | None:
    """Read the query's cursor; ValueError where it is none."""
    return None if query.cursor is None else read_cursor(query.cursor)


def _parts(connection: sqlite3.Connection, query: ExecutionQuery) -> tuple[list[Part], int]:
    """Split a list into parts that an index yields in order, and count it: from the kept counts where they suffice.

    One part more is what is not filed yet: that is little, and in no order.
    """
    cells = _cells(connection, query)
    unfiled = _filtered("unfiled", query)
    if query.text:
        return _counted(connection, [_filtered("executions INDEXED BY executions_with_error", query), unfiled])
    filed = [_in_cell(query, *cell) for cell in cells]
    _, not_filed = _counted(connection, [unfiled])
    if query.since is None and query.until is None:
        return [*filed, unfiled], sum(cells.values()) + not_filed
    _, n = _counted(connection, filed)
    return [*filed, unfiled], n + not_filed


def _cells(connection: sqlite3.Connection, query: ExecutionQuery) -> dict[tuple[str, int, int], int]:
    """Read how many executions there are by (status, is_manual, hidden), without those that the query leaves out."""
    job_id = query.job_id if query.job_id is not None else ALL_JOBS
    sql = "SELECT status, is_manual, hidden, n FROM counts WHERE job_id = ? AND n > 0"
    return {
        (status, is_manual, hidden): n
        for status, is_manual, hidden, n in connection.execute(sql, (job_id,)).fetchall()
        if (not query.status or status in query.status)
        and query.is_manual in {None, bool(is_manual)}
        and (query.hidden or not hidden)
    }


def _in_cell(query: ExecutionQuery, status: str, is_manual: int, hidden: int) -> Part:
    index = "executions_by_status" if query.job_id is None else "executions_by_job"
    sql = f"executions INDEXED BY {index} WHERE status = ? AND is_manual = ? AND hidden = ?"
    return _bounded((sql, [status, is_manual, hidden]), query)


def _filtered(table: str, query: ExecutionQuery) -> Part:
    """Look through a table, or the one index that has what failed with a message, for all that the query asks."""
    sql, parameters = f"{table} WHERE 1", list[Any]()
    if query.text:
        sql += " AND error_text IS NOT NULL AND instr(error_text, ?)"
        parameters.append(query.text.casefold())
    if not query.hidden:
        sql += " AND hidden = 0"
    if query.status:
        sql += f" AND status IN ({', '.join('?' * len(query.status))})"
        parameters += query.status
    if query.is_manual is not None:
        sql += " AND is_manual = ?"
        parameters.append(query.is_manual)
    return _bounded((sql, parameters), query)


def _bounded(part: Part, query: ExecutionQuery) -> Part:
    sql, parameters = part
    if query.job_id is not None:
        sql, parameters = f"{sql} AND job_id = ?", [*parameters, query.job_id]
    if query.since is not None:
        sql, parameters = f"{sql} AND timestamp >= ?", [*parameters, micros(query.since)]
    if query.until is not None:
        sql, parameters = f"{sql} AND timestamp < ?", [*parameters, micros(query.until)]
    return sql, parameters


def _from(part: Part, start: Cursor | None) -> Part:
    sql, parameters = part
    if start is None:
        return part
    return f"{sql} AND (timestamp, id) < (?, ?)", [*parameters, micros(start.timestamp), start.id]


def _counted(connection: sqlite3.Connection, parts: list[Part]) -> tuple[list[Part], int]:
    counts = [connection.execute(f"SELECT count(*) FROM {sql}", bound).fetchone()[0] for sql, bound in parts]  # noqa: S608
    return parts, sum(counts)


def _newest(connection: sqlite3.Connection, query: ExecutionQuery, parts: list[Part]) -> list[tuple[int, str, bytes]]:
    """Merge the parts, newest first, and fetch one row more than the page holds, to know whether there is a next one.

    SQLite merges the ordered parts as it goes and reads only the indexes, so the cost is that of the page.
    """
    # Of what is not filed the body is found by id: such rows have no number.
    keys = " UNION ALL ".join(
        f"SELECT timestamp, id, {'NULL' if sql.startswith('unfiled ') else 'rowid'} AS row FROM {sql}"  # noqa: S608 - ours
        for sql, _ in parts
    )
    parameters = [value for _, bound in parts for value in bound]
    rows = connection.execute(
        f"""SELECT page.timestamp, page.id, coalesce(
            executions.body, (SELECT body FROM unfiled WHERE unfiled.id = page.id AND page.row IS NULL))
        FROM ({keys} ORDER BY timestamp DESC, id DESC LIMIT ? OFFSET ?) AS page
        LEFT JOIN executions ON executions.rowid = page.row
        ORDER BY page.timestamp DESC, page.id DESC""",  # noqa: S608 - ours
        [*parameters, max(query.limit, 0) + 1, max(query.offset, 0)],
    )
    return rows.fetchall()
