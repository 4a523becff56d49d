"""Everything that changes the database: functions that run in the writer's thread, one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import action_of
from gnomon.domain.records import Checkpoint, LogLine
from gnomon.stores import commit_rows, kernel_streams
from gnomon.stores.kernel_streams import Deletable
from gnomon.stores.microseconds import to_micros
from gnomon.stores.removed_jobs import is_over
from gnomon_sqlite.connection import insert, insert_at_once, transaction
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import seal
from gnomon_sqlite.views import projection_writer
from gnomon_sqlite.views.projection_writer import PendingViews

ActionRow: TypeAlias = tuple[int, str, str | None, bytes, int]

_encode = msgspec.json.Encoder().encode

ROWS_PER_STATEMENT = 1_000
"""Rows of `commits` that fit into one statement."""
ACTIONS = "actions (position, job_id, execution_id, body, checksum)"
# Walks the index from the oldest start; few runs started before the moment and ended after it.
_ENDED = """
    SELECT id, last, job_id, status, is_manual, hidden FROM executions
    WHERE status IN ('success', 'failed', 'missed', 'cancelled') AND is_manual IN (0, 1) AND hidden IN (0, 1)
    AND timestamp < :before AND ended_at < :before LIMIT :limit"""


_KERNELS = f"FROM streams WHERE name > ? AND name < '{kernel_streams.AFTER_LAST}'"
_THESE = "SELECT value FROM json_each(?)"
_REMOVED = """SELECT removed_at, id FROM jobs
    WHERE (removed_at, id) > (?, ?) AND removed_at < ? ORDER BY removed_at, id LIMIT ?"""
_WITHOUT_RUNS = """SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM executions WHERE job_id = value)
    AND value NOT IN (SELECT job_id FROM live)"""
_PUT_LINE = "INSERT OR REPLACE INTO log_lines (execution_id, number, body, checksum) VALUES (?, ?, ?, ?)"


def append(
    connection: sqlite3.Connection,
    pending: PendingViews,
    events: Sequence[Event],
    executions: Sequence[Execution],
    jobs: Iterable[JobState],
) -> None:
    """Write events and add their views to the pending ones; ConflictError where a place in the log is taken."""
    streams = {event.stream for event in events}
    ends = {stream: pending.ends[stream] for stream in streams & pending.ends.keys()}
    found = event_rows.find_ends(connection, streams - ends.keys())
    rows, new_ends = commit_rows.rows_of(events, found.ends | ends, found.newest)
    actions = action_rows(events)
    if actions or found.final or not 0 < len(rows) < ROWS_PER_STATEMENT:
        with transaction(connection):
            insert(connection, f"INTO {event_rows.COMMITS}", rows)
            insert(connection, f"INTO {ACTIONS}", actions)
            final = [view for view in executions if view.id in found.final]
            projection_writer.update_final(connection, final, new_ends)
    else:  # nobody else writes, so the look-up before needs no transaction around both
        insert_at_once(connection, f"INTO {event_rows.COMMITS}", rows)
    pending.count(events, sum(len(row[commit_rows.BODY]) for row in rows))
    pending.ends.update((stream, end) for stream, end in new_ends.items() if stream not in found.final)
    pending.executions.update((view.id, view) for view in executions if view.id not in found.final)
    pending.forget_large(executions)
    pending.jobs.update((state.job_id, state) for state in jobs)


def restore(
    connection: sqlite3.Connection,
    pending: PendingViews,
    events: Sequence[Event],
    executions: Sequence[Execution],
    jobs: Sequence[JobState],
    head: int,
) -> None:
    """Write events of another log at their positions, with their views, and end the log at `head`."""
    projection_writer.flush(connection, pending)
    with transaction(connection):
        found = event_rows.find_ends(connection, {event.stream for event in events})
        rows, ends = commit_rows.rows_with_gaps(events, found.ends, found.newest)
        newest = commit_rows.newest_of(rows[-1]) if rows else found.newest
        if head > newest[0]:
            rows.append(commit_rows.tombstone(head, newest))
        insert(connection, f"INTO {event_rows.COMMITS}", rows)
        insert(connection, f"INTO {ACTIONS}", action_rows(events))
        projection_writer.update_final(connection, [view for view in executions if view.id in found.final], ends)
        open_ends = {stream: end for stream, end in ends.items() if stream not in found.final}
        projection_writer.put_views(connection, [view for view in executions if view.id not in found.final], open_ends)
        projection_writer.put_job_bodies(connection, jobs)
        projection_writer.put_fires(connection, jobs)
        projection_writer.mark_flushed(connection)


def save_checkpoint(connection: sqlite3.Connection, name: str, checkpoint: Checkpoint) -> None:
    """Save a checkpoint, unless the saved one has a higher position."""
    connection.execute(
        """INSERT INTO checkpoints (name, position, view, checksum) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET position = excluded.position, view = excluded.view, checksum = excluded.checksum
        WHERE excluded.position >= position""",
        (name, checkpoint.position, checkpoint.view, seal(f"{name} {checkpoint.position}", checkpoint.view)),
    )


def append_log(connection: sqlite3.Connection, execution_id: str, lines: Iterable[LogLine], oldest: int) -> None:
    """Save log lines of a run, and delete its lines with numbers below `oldest`."""
    bodies = [(line.number, _encode(line)) for line in lines]
    rows = [(execution_id, number, body, seal(f"{execution_id} {number}", body)) for number, body in bodies]
    with transaction(connection):
        connection.executemany(_PUT_LINE, rows)
        connection.execute("DELETE FROM log_lines WHERE execution_id = ? AND number < ?", (execution_id, oldest))


def prune(connection: sqlite3.Connection, pending: PendingViews, before: datetime, limit: int) -> int:
    """Delete up to `limit` executions that ended before a moment, and return how many were deleted."""
    projection_writer.flush(connection, pending)
    with transaction(connection):
        ended = connection.execute(_ENDED, {"before": to_micros(before), "limit": limit}).fetchall()
        ids = [(row[0],) for row in ended]
        event_rows.forget(connection, [row[1] for row in ended])
        connection.executemany("DELETE FROM log_lines WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM actions WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM executions WHERE id = ?", ids)
        projection_writer.count(connection, [], [row[2:] for row in ended])
    return len(ended)


def newest_kernel_stream(connection: sqlite3.Connection, pending: PendingViews) -> str:
    """Return the name of the stream with the last fact about a kernel; an empty one if the log has none."""
    projection_writer.flush(connection, pending)
    sql = f"SELECT name {_KERNELS} ORDER BY last DESC LIMIT 1"
    (name,) = connection.execute(sql, (kernel_streams.FIRST,)).fetchone() or ("",)
    return str(name)


def prune_kernels(
    connection: sqlite3.Connection, pending: PendingViews, deletable: Deletable, newest: str, after: str, limit: int
) -> str | None:
    """Delete those that are over of the next `limit` streams of kernels, by name from `after` on.

    Returns the name of the last one, to continue there; None if there are no more.
    """
    projection_writer.flush(connection, pending)
    with transaction(connection):
        sql = f"SELECT name, last {_KERNELS} ORDER BY name LIMIT ?"
        found: list[tuple[str, int]] = connection.execute(sql, (after, limit)).fetchall()
        over = [
            (name, last)
            for name, last in found
            for event in event_rows.read(connection, last - 1, 1)
            if deletable.has(name, event.at, newest)
        ]
        gone = event_rows.forget(connection, [last for _, last in over])
        connection.executemany("DELETE FROM actions WHERE position = ?", [(position,) for position in gone])
        connection.executemany("DELETE FROM streams WHERE name = ?", [(name,) for name, _ in over])
    return found[-1][0] if found else None


def prune_jobs(
    connection: sqlite3.Connection,
    pending: PendingViews,
    before: datetime,
    after: tuple[int, str],
    limit: int,
) -> tuple[int, str] | None:
    """Delete those of the next `limit` removed jobs that are over and have no runs.

    They are ordered by the time of their removal and by id, from `after` on. Returns the last one, to continue there;
    None if there are no more.
    """
    projection_writer.flush(connection, pending)
    with transaction(connection):
        found: list[tuple[int, str]] = connection.execute(_REMOVED, (*after, to_micros(before), limit)).fetchall()
        states = projection_writer.flushed_jobs(connection, [job_id for _, job_id in found])
        ids = _json_of([state.job_id for state in states.values() if is_over(state, before)])
        over = [job_id for (job_id,) in connection.execute(_WITHOUT_RUNS, (ids,))]
        ids = _json_of(job_stream(job_id) for job_id in over)
        ends = connection.execute(f"SELECT last FROM streams WHERE name IN ({_THESE})", (ids,)).fetchall()  # noqa: S608 - our own names
        gone = event_rows.forget(connection, [last for (last,) in ends])
        connection.executemany("DELETE FROM actions WHERE position = ?", [(position,) for position in gone])
        connection.execute(f"DELETE FROM streams WHERE name IN ({_THESE})", (ids,))  # noqa: S608 - our own names
        ids = _json_of(over)
        for table, key in (("jobs", "id"), ("fires", "job_id"), ("counts", "job_id")):
            connection.execute(f"DELETE FROM {table} WHERE {key} IN ({_THESE})", (ids,))  # noqa: S608 - our own names
    return found[-1] if found else None


def action_rows(events: Iterable[Event]) -> list[ActionRow]:
    """Return the rows of the operators' acts that these events record."""
    return [
        (event.position, act.job_id, act.execution_id, body, seal(str(event.position), body))
        for event in events
        if (act := action_of(event)) is not None and (body := _encode(act))
    ]


def _json_of(ids: Iterable[str]) -> str:
    return _encode(list(ids)).decode()
