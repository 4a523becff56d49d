"""Everything that reads the database: short functions that run in the readers' threads and leave no cursor open."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import action_of
from gnomon.domain.records import Action, ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.domain.run_sorting import in_order
from gnomon.stores.list_filters import has_ranges
from gnomon.stores.microseconds import to_micros
from gnomon.stores.page_cursor import Cursor, cursor_of, read_cursor, write_cursor
from gnomon_sqlite.connection import snapshot
from gnomon_sqlite.lists.list_conditions import (
    Part,
    count_cells,
    filtered,
    in_cell,
    in_scope,
    own_index_part,
    parts_of_jobs,
)
from gnomon_sqlite.lists.list_order import ListOrder
from gnomon_sqlite.lists.newest_runs import newest_per_job
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import INDEXES, DamagedRowError, is_sealed
from gnomon_sqlite.views.projection_writer import flushed_jobs, present_jobs
from gnomon_sqlite.views.unflushed_reader import Reader

_decode_action = msgspec.json.Decoder(Action).decode
_decode_line = msgspec.json.Decoder(LogLine).decode


def execution(reader: Reader, execution_id: str) -> Execution | None:
    """Return one execution, or None."""
    with snapshot(reader):
        reader.catch_up()
        columns = "id, body, checksum"
        sql = (
            f"SELECT {columns} FROM unflushed WHERE id = :id UNION ALL SELECT {columns} FROM executions WHERE id = :id"  # noqa: S608 - our own names
        )
        row = reader.execute(sql, {"id": execution_id}).fetchone()
        return reader.view_of(*row) if row else None


def executions(reader: Reader, query: ExecutionQuery, start: Cursor | None) -> Page:
    """Return a page and the total, both of one snapshot."""
    with snapshot(reader):
        reader.catch_up()
        if query.per_job is not None:
            newest = newest_per_job(reader, query, query.per_job)
            return Page(newest, len(newest), None)
        parts, total = _parts(reader, query)
        order = ListOrder(query.sort)
        rows = _rows(reader, query, order, [order.after(part, start) for part in parts]) if parts else []
    items = rows[: max(query.limit, 0)]
    has_more = bool(items) and len(rows) > len(items)
    total = total if query.counts else len(items)
    return Page(items, total, write_cursor(cursor_of(items[-1], query.sort)) if has_more else None)


def jobs(reader: Reader, job_ids: Collection[str] | None, *, removed: bool) -> list[JobState]:
    """Return the states of all jobs or of some, by id."""
    with snapshot(reader):
        reader.catch_up()
        wanted = job_ids
        if wanted is None and not removed:
            wanted = reader.tail.jobs.union(present_jobs(reader))
        states = flushed_jobs(reader, wanted)
    reader.tail.apply_to(states)
    found = (states[job_id] for job_id in sorted(states) if job_ids is None or job_id in job_ids)
    return [state for state in found if removed or not state.removed]


def actions(connection: sqlite3.Connection, query: ActionQuery) -> ActionPage:
    """Return a page of operators' acts and the total, both of one snapshot."""
    where, parameters = _actions_where(query)
    page = [*parameters, max(query.limit, 0), max(query.offset, 0)]
    with snapshot(connection):
        (total,) = connection.execute(f"SELECT count(*) FROM actions {where}", parameters).fetchone()  # noqa: S608 - our own names
        sql = f"SELECT position, body, checksum FROM actions {where} ORDER BY position DESC LIMIT ? OFFSET ?"  # noqa: S608 - our own names
        rows = connection.execute(sql, page).fetchall()
        return ActionPage([_action(connection, *row) for row in rows], total)


def _action(connection: sqlite3.Connection, position: int, body: bytes, checksum: int) -> Action:
    """Return an act; where its row is damaged, the one that its event records."""
    if is_sealed(str(position), body, checksum):
        return _decode_action(body)
    events = event_rows.read(connection, position - 1, 1)
    action = action_of(events[0]) if events and events[0].position == position else None
    if action is None:
        raise DamagedRowError("act at event", str(position), "its event is not there either: restore a backup")
    return action


def _actions_where(query: ActionQuery) -> tuple[str, list[str]]:
    """Return the condition of a list of actions, with its parameters.

    Only the job has an index: operators act by the thousand, not by the million, and a scan is fast enough for that.
    """
    # An action has no status where it succeeded. Without the Z, times sort as texts, with and without microseconds.
    conditions = {
        "job_id = ?": query.job_id,
        f"coalesce({_member('status')}, 'success') = ?": query.status,
        f"{_member('action')} = ?": query.action,
        f"{_member('actor')} = ?": query.actor,
        f"rtrim({_member('at')}, 'Z') >= ?": _sortable(query.since),
        f"rtrim({_member('at')}, 'Z') < ?": _sortable(query.until),
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    wanted, parameters = list(given), list(given.values())
    if query.scope is not None:
        condition, bound = in_scope(query.scope)
        wanted, parameters = [*wanted, condition], [*parameters, *bound]
    return (f"WHERE {' AND '.join(wanted)}" if wanted else ""), parameters


def _member(name: str) -> str:
    return f"json_extract(CAST(body AS TEXT), '$.{name}')"


def _sortable(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None).isoformat()


def checkpoint(connection: sqlite3.Connection, name: str) -> Checkpoint | None:
    """Return a checkpoint, or None."""
    row = connection.execute("SELECT position, view, checksum FROM checkpoints WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    position, view, checksum = row
    if not is_sealed(f"{name} {position}", view, checksum):
        raise DamagedRowError(
            "checkpoint", name, "restore a backup; without this row the plugin reads the log from its beginning"
        )
    return Checkpoint(position, view)


def checkpoint_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all checkpoints, sorted."""
    return [name for (name,) in connection.execute("SELECT name FROM checkpoints ORDER BY name")]


def log(connection: sqlite3.Connection, execution_id: str, after: int, limit: int) -> list[LogLine]:
    """Return log lines of a run, in order of number."""
    sql = """SELECT number, body, checksum FROM log_lines
        WHERE execution_id = ? AND number > ? ORDER BY number LIMIT ?"""
    rows = connection.execute(sql, (execution_id, after, max(limit, 0))).fetchall()
    return [_line(execution_id, *row) for row in rows]


def _line(execution_id: str, number: int, body: bytes, checksum: int) -> LogLine:
    """Return a line; a damaged one as a line that says so, because nothing else holds its text."""
    if is_sealed(f"{execution_id} {number}", body, checksum):
        return _decode_line(body)
    text = "this line is damaged in the log (its checksum differs)"
    return LogLine(number, datetime(1970, 1, 1, tzinfo=UTC), "error", text, "gnomon.sqlite")


def parse_cursor(query: ExecutionQuery) -> Cursor | None:
    """Parse the query's cursor; ValueError where it is not valid."""
    return None if query.cursor is None else read_cursor(query.cursor, query.sort)


def _parts(connection: sqlite3.Connection, query: ExecutionQuery) -> tuple[list[Part], int]:
    """Split a list into parts that an index yields in order, and return its total: from `counts` where they suffice.

    The last part is what is not flushed yet: few rows, in no order.
    """
    unflushed = filtered("unflushed", query)
    if (searched := own_index_part(query)) is not None:
        return _counted(connection, [searched, unflushed])
    cells = count_cells(connection, query)
    flushed = parts_of_jobs(connection, query)
    if flushed is None:
        flushed = [in_cell(query, *cell) for cell in cells]
    _, n_unflushed = _counted(connection, [unflushed])
    if not (has_ranges(query) and query.counts):
        return [*flushed, unflushed], sum(cells.values()) + n_unflushed
    _, n_flushed = _counted(connection, flushed)
    return [*flushed, unflushed], n_flushed + n_unflushed


def _counted(connection: sqlite3.Connection, parts: list[Part]) -> tuple[list[Part], int]:
    counts = [connection.execute(f"SELECT count(*) FROM {sql}", bound).fetchone()[0] for sql, bound in parts]  # noqa: S608
    return parts, sum(counts)


def _rows(connection: Reader, query: ExecutionQuery, order: ListOrder, parts: list[Part]) -> list[Execution]:
    """Merge the parts in order, and fetch one row more than the page holds, to learn whether there is a next page.

    The newest first, SQLite merges the ordered parts lazily and reads only the indexes, so the cost is that of the
    page. Another order reads the index of all that match.
    """
    keys = " UNION ALL ".join(
        f"SELECT timestamp, id, {_row(part)} AS row{order.columns(part)} FROM {part[0]}"  # noqa: S608 - our own names
        for part in parts
    )
    parameters = [value for _, bound in parts for value in bound]
    rows = connection.execute(
        f"""SELECT page.timestamp, page.id, coalesce(
            executions.body, (SELECT body FROM unflushed WHERE unflushed.id = page.id AND page.row IS NULL)),
            coalesce(executions.checksum,
                (SELECT checksum FROM unflushed WHERE unflushed.id = page.id AND page.row IS NULL))
        FROM ({keys} ORDER BY {order.terms} LIMIT ? OFFSET ?) AS page
        LEFT JOIN executions ON executions.rowid = page.row""",  # noqa: S608 - our own names
        [*parameters, max(query.limit, 0) + 1, max(query.offset, 0)],
    )
    # Row by row, and sorted here: SQLite would collect all bodies before it returns the first one.
    found = [
        (timestamp, connection.view_of(name, body, checksum, is_brief=query.brief))
        for timestamp, name, body, checksum in rows
    ]
    for timestamp, view in found:
        if to_micros(view.timestamp) != timestamp or (query.job_id is not None and view.job_id != query.job_id):
            raise DamagedRowError(INDEXES, view.id)
    return in_order((view for _, view in found), query.sort)


def _row(part: Part) -> str:
    """Return what finds the body of a row: that of an unflushed one is found by id, since it has no rowid."""
    return "NULL" if part[0].startswith("unflushed ") else "rowid"
