"""All that changes the database: functions that run in the writer's thread, each one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import action_of
from gnomon.domain.records import Checkpoint, LogLine
from gnomon_sqlite import commits, filing
from gnomon_sqlite.database import insert, insert_at_once, micros, transaction
from gnomon_sqlite.filing import Unfiled

ActionRow: TypeAlias = tuple[int, str, str | None, bytes]

_encode = msgspec.json.Encoder().encode

AT_ONCE = 1_000
"""Rows of `commits` that one statement may hold."""
ACTIONS = "actions (position, job_id, execution_id, body)"
# Walks the index from the oldest start; what started before the moment and ended after it is little.
_ENDED = """
    SELECT id, last, job_id, status, is_manual, hidden FROM executions
    WHERE status IN ('success', 'failed', 'missed', 'cancelled') AND is_manual IN (0, 1) AND hidden IN (0, 1)
    AND timestamp < ?1 AND ended_at < ?1 LIMIT ?2"""


def append(
    connection: sqlite3.Connection,
    unfiled: Unfiled,
    events: Sequence[Event],
    executions: Sequence[Execution],
    jobs: Iterable[JobState],
) -> None:
    """Write events, and remember the views that they lead to; ConflictError where a place in the log is taken."""
    streams = {event.stream for event in events}
    ends = {stream: unfiled.ends[stream] for stream in streams & unfiled.ends.keys()}
    found = commits.find(connection, streams - ends.keys())
    rows, now = commits.rows_of(events, found.ends | ends, found.newest)
    actions = action_rows(events)
    if actions or found.filed or not 0 < len(rows) < AT_ONCE:
        with transaction(connection):
            insert(connection, f"INTO {commits.COMMITS}", rows)
            insert(connection, f"INTO {ACTIONS}", actions)
            filing.change_filed(connection, [view for view in executions if view.id in found.filed], now)
    else:  # nobody else writes, so the look before needs no transaction around both
        insert_at_once(connection, f"INTO {commits.COMMITS}", rows)
    unfiled.events += len(events)
    unfiled.ends.update((stream, end) for stream, end in now.items() if stream not in found.filed)
    unfiled.executions.update((view.id, view) for view in executions if view.id not in found.filed)
    unfiled.jobs.update((state.job_id, state) for state in jobs)


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


def prune(connection: sqlite3.Connection, unfiled: Unfiled, before: datetime, limit: int) -> int:
    """Forget up to `limit` executions that ended before that moment, and return how many they were."""
    filing.file(connection, unfiled)
    with transaction(connection):
        ended = connection.execute(_ENDED, (micros(before), limit)).fetchall()
        ids = [(row[0],) for row in ended]
        commits.forget(connection, [row[1] for row in ended])
        connection.executemany("DELETE FROM log_lines WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM actions WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM executions WHERE id = ?", ids)
        filing.count(connection, [], [row[2:] for row in ended])
    return len(ended)


def action_rows(events: Iterable[Event]) -> list[ActionRow]:
    """Write what operators did, as these events tell it."""
    return [
        (event.position, act.job_id, act.execution_id, _encode(act))
        for event in events
        if (act := action_of(event)) is not None
    ]
