"""All that changes the database: functions that run in the writer's thread, each one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from gnomon import codec
from gnomon.actions import action_of
from gnomon.errors import ConflictError, StoreError
from gnomon.events import Event
from gnomon.execution import Execution
from gnomon.job_state import JobState
from gnomon.ports import Checkpoint, LogLine
from gnomon_sqlite.database import micros, transaction

Cell: TypeAlias = tuple[str, str, bool, bool]
"""Job id, status, is_manual, hidden: what executions are counted by."""

EventRow: TypeAlias = tuple[int, str, int, str, str, int, bytes]
ExecutionRow: TypeAlias = tuple[str, bool, int, int | None, str | None, bytes, str]
ActionRow: TypeAlias = tuple[int, str, str | None, bytes]

ALL_JOBS = ""

_encode = msgspec.json.Encoder().encode

_INSERT_EVENT = "INSERT INTO events (position, stream, version, job_id, type, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_EXECUTION = """
    INSERT INTO executions (status, hidden, timestamp, ended_at, error_text, body, id, job_id, is_manual)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MOVE_EXECUTION = """
    UPDATE executions SET status = ?, hidden = ?, timestamp = ?, ended_at = ?, error_text = ?, body = ? WHERE id = ?"""
_REFRESH_EXECUTION = "UPDATE executions SET body = ? WHERE id = ?"
INSERT_ACTION = "INSERT INTO actions (position, job_id, execution_id, body) VALUES (?, ?, ?, ?)"
_COUNT = """
    INSERT INTO counts (job_id, status, is_manual, hidden, n) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET n = n + excluded.n"""
# Walks the index from the oldest start; what started before the moment and ended after it is little.
_ENDED = """
    SELECT id, job_id, status, is_manual, hidden FROM executions
    WHERE status IN ('success', 'failed', 'missed', 'cancelled') AND is_manual IN (0, 1) AND hidden IN (0, 1)
    AND timestamp < ?1 AND ended_at < ?1 LIMIT ?2"""


def append(
    connection: sqlite3.Connection,
    events: Sequence[Event],
    executions: Iterable[Execution],
    jobs: Iterable[JobState],
) -> None:
    """Write events and their views; ConflictError where a place in the log is taken."""
    rows = [_event_row(event) for event in events]
    actions = action_rows(events)
    views = {execution.id: execution for execution in executions}
    states = {state.job_id: _encode(state) for state in jobs}
    with transaction(connection):
        _insert_events(connection, events, rows)
        connection.executemany(INSERT_ACTION, actions)
        _put_executions(connection, views)
        connection.executemany(
            "INSERT INTO jobs (id, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body", states.items()
        )


def save_checkpoint(connection: sqlite3.Connection, name: str, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint, unless the one that is kept is further on."""
    connection.execute(
        """INSERT INTO checkpoints (name, position, view) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET position = excluded.position, view = excluded.view
        WHERE excluded.position >= position""",
        (name, checkpoint.position, checkpoint.view),
    )


def append_log(connection: sqlite3.Connection, execution_id: str, lines: Iterable[LogLine], oldest: int) -> None:
    """Keep log lines of a run, and forget those before the number `oldest`."""
    rows = [(execution_id, line.number, _encode(line)) for line in lines]
    with transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO log_lines (execution_id, number, body) VALUES (?, ?, ?)", rows)
        connection.execute("DELETE FROM log_lines WHERE execution_id = ? AND number < ?", (execution_id, oldest))


def prune(connection: sqlite3.Connection, before: datetime, limit: int) -> int:
    """Forget up to `limit` executions that ended before that moment, and return how many they were."""
    with transaction(connection):
        ended = connection.execute(_ENDED, (micros(before), limit)).fetchall()
        ids = [(row[0],) for row in ended]
        connection.executemany("DELETE FROM log_lines WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM actions WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM events WHERE stream = ?", ids)
        connection.executemany("DELETE FROM executions WHERE id = ?", ids)
        _count(connection, Counter(), Counter(row[1:] for row in ended))
    return len(ended)


def _event_row(event: Event) -> EventRow:
    body = codec.encode(event)
    return event.position, event.stream, event.version, event.job_id, event.type, micros(event.at), body


def action_rows(events: Iterable[Event]) -> list[ActionRow]:
    """Write what operators did, as these events tell it."""
    return [
        (event.position, act.job_id, act.execution_id, _encode(act))
        for event in events
        if (act := action_of(event)) is not None
    ]


def _insert_events(connection: sqlite3.Connection, events: Sequence[Event], rows: Sequence[EventRow]) -> None:
    head = read_head(connection)
    for position, event in enumerate(events, head + 1):
        if event.position < position:  # also of events that were pruned, which no unique index remembers
            raise ConflictError(event.stream, event.version, event.position)
        if event.position > position:
            raise StoreError(f"event {event.position} would leave a gap in the log: the next is {position}")
    try:
        connection.executemany(_INSERT_EVENT, rows)
    except sqlite3.IntegrityError as exc:
        event = events[read_head(connection) - head]  # the rows ahead of it are in, until the rollback
        raise ConflictError(event.stream, event.version, event.position) from exc


def read_head(connection: sqlite3.Connection) -> int:
    """Return the highest position ever given: AUTOINCREMENT remembers it, also when its event is pruned."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0


def _put_executions(connection: sqlite3.Connection, views: dict[str, Execution]) -> None:
    """Put whole views in place. A row whose keys stay is not touched in the indexes, so progress is cheap."""
    new, moved, refreshed = [], [], []
    before: Counter[Cell] = Counter()
    after: Counter[Cell] = Counter()
    kept = _kept(connection, views)
    for view in views.values():
        old = kept.get(view.id)
        if old == (view.status, view.hidden, micros(view.timestamp)) and not view.is_over:
            refreshed.append((_encode(view), view.id))
            continue
        after[view.job_id, view.status, view.is_manual, view.hidden] += 1
        if old is None:
            new.append((*_execution_row(view), view.job_id, view.is_manual))
        else:
            moved.append(_execution_row(view))
            before[view.job_id, old[0], view.is_manual, old[1]] += 1
    connection.executemany(_INSERT_EXECUTION, new)
    connection.executemany(_MOVE_EXECUTION, moved)
    connection.executemany(_REFRESH_EXECUTION, refreshed)
    _count(connection, after, before)


def _execution_row(view: Execution) -> ExecutionRow:
    ended_at = micros(view.updated_at) if view.is_over else None
    error_text = view.error_message.casefold() if view.error_message else None
    return view.status, view.hidden, micros(view.timestamp), ended_at, error_text, _encode(view), view.id


def _kept(connection: sqlite3.Connection, views: Iterable[str]) -> dict[str, tuple[str, bool, int]]:
    rows = connection.execute(
        "SELECT id, status, hidden, timestamp FROM executions WHERE id IN (SELECT value FROM json_each(?))",
        (_encode(list(views)).decode(),),
    )
    return {execution_id: (status, hidden, timestamp) for execution_id, status, hidden, timestamp in rows.fetchall()}


def _count(connection: sqlite3.Connection, more: Counter[Cell], fewer: Counter[Cell]) -> None:
    """Keep the counts equal to what is in executions."""
    more.subtract(fewer)
    for (_, status, is_manual, hidden), n in list(more.items()):
        more[ALL_JOBS, status, is_manual, hidden] += n
    connection.executemany(_COUNT, [(*cell, n) for cell, n in more.items() if n])
