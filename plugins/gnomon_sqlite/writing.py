"""All that changes the database: functions that run in the writer's thread, each one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from gnomon.actions import action_of
from gnomon.events import Event, job_stream
from gnomon.execution import Execution
from gnomon.job_state import JobState
from gnomon.ports import Checkpoint, LogLine
from gnomon_sqlite import commits
from gnomon_sqlite.commits import End
from gnomon_sqlite.database import insert, micros, transaction

Cell: TypeAlias = tuple[str, str, bool, bool]
"""Job id, status, is_manual, hidden: what executions are counted by."""

ActionRow: TypeAlias = tuple[int, str, str | None, bytes]

ALL_JOBS = ""

_encode = msgspec.json.Encoder().encode

_LIVE = "live (id, version, last, job_id, status, is_manual, timestamp, body)"
_REPLACE_LIVE = """ON CONFLICT DO UPDATE SET
    version = excluded.version, last = excluded.last, status = excluded.status, timestamp = excluded.timestamp,
    body = excluded.body"""
_EXECUTIONS = """
    executions (id, version, last, job_id, status, is_manual, hidden, timestamp, ended_at, error_text, body)"""
_REPLACE_EXECUTION = """ON CONFLICT DO UPDATE SET
    version = excluded.version, last = excluded.last, hidden = excluded.hidden, ended_at = excluded.ended_at,
    body = excluded.body"""
STREAMS = "streams (name, version, last)"
_REPLACE_STREAM = "ON CONFLICT DO UPDATE SET version = excluded.version, last = excluded.last"
_FIRES = "fires (job_id, last_fire, newest_fire)"
_REPLACE_FIRES = "ON CONFLICT DO UPDATE SET last_fire = excluded.last_fire, newest_fire = excluded.newest_fire"
_JOBS = "jobs (id, body)"
_REPLACE_JOB = "ON CONFLICT DO UPDATE SET body = excluded.body"
ACTIONS = "actions (position, job_id, execution_id, body)"
_COUNTS = "counts (job_id, status, is_manual, hidden, n)"
_ADD_COUNT = "ON CONFLICT DO UPDATE SET n = n + excluded.n"
# Walks the index from the oldest start; what started before the moment and ended after it is little.
_ENDED = """
    SELECT id, last, job_id, status, is_manual, hidden FROM executions
    WHERE status IN ('success', 'failed', 'missed', 'cancelled') AND is_manual IN (0, 1) AND hidden IN (0, 1)
    AND timestamp < ?1 AND ended_at < ?1 LIMIT ?2"""


def append(
    connection: sqlite3.Connection,
    events: Sequence[Event],
    executions: Iterable[Execution],
    jobs: Iterable[JobState],
) -> None:
    """Write events and their views; ConflictError where a place in the log is taken."""
    views = {execution.id: execution for execution in executions}
    with transaction(connection):
        known = commits.ends(connection, dict.fromkeys(event.stream for event in events))
        now = commits.write(connection, events, known)
        others = [(stream, *end) for stream, end in now.items() if stream not in views]
        insert(connection, STREAMS, others, _REPLACE_STREAM)
        insert(connection, ACTIONS, action_rows(events))
        put_executions(connection, views.values(), now, known)
        put_jobs(connection, jobs, now)


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
        commits.forget(connection, [row[1] for row in ended])
        connection.executemany("DELETE FROM log_lines WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM actions WHERE execution_id = ?", ids)
        connection.executemany("DELETE FROM executions WHERE id = ?", ids)
        _count(connection, [], [row[2:] for row in ended])
    return len(ended)


def action_rows(events: Iterable[Event]) -> list[ActionRow]:
    """Write what operators did, as these events tell it."""
    return [
        (event.position, act.job_id, act.execution_id, _encode(act))
        for event in events
        if (act := action_of(event)) is not None
    ]


def put_executions(
    connection: sqlite3.Connection, views: Iterable[Execution], now: Mapping[str, End], known: Mapping[str, End]
) -> None:
    """Put whole views in place: what is going on in `live`; what is over, once, in `executions`."""
    live, over = [], []
    for view in views:
        place = (view.id, *now[view.id], view.job_id, view.status, view.is_manual)
        if view.is_over:
            error_text = view.error_message.casefold() if view.error_message else None
            times = micros(view.timestamp), micros(view.updated_at)
            over.append((*place, view.hidden, *times, error_text, _encode(view)))
        else:
            live.append((*place, micros(view.timestamp), _encode(view)))
    ended = [row[0] for row in over if row[0] in known]
    before = _let_go(connection, ended) if ended else []
    insert(connection, _LIVE, live, _REPLACE_LIVE)
    insert(connection, _EXECUTIONS, over, _REPLACE_EXECUTION)
    _count(connection, [row[3:7] for row in over], before)


def _let_go(connection: sqlite3.Connection, ended: Sequence[str]) -> list[Cell]:
    """Take runs that have ended out of `live`; return the cells in which those are that were over before."""
    ids = _encode(ended).decode()
    gone = connection.execute("DELETE FROM live WHERE id IN (SELECT value FROM json_each(?))", (ids,)).rowcount
    if gone == len(ended):
        return []
    rows = connection.execute(
        """SELECT job_id, status, is_manual, hidden FROM executions
        WHERE id IN (SELECT value FROM json_each(?))""",
        (ids,),
    )
    return rows.fetchall()


def put_jobs(connection: sqlite3.Connection, jobs: Iterable[JobState], now: Mapping[str, End]) -> None:
    """Put the states of jobs in place; of those whose own stream says nothing new, only their fires."""
    states = {state.job_id: state for state in jobs}
    told = [(job_id, _encode(state)) for job_id, state in states.items() if job_stream(job_id) in now]
    insert(connection, _JOBS, told, _REPLACE_JOB)
    fires = [(job_id, _moment(state.last_fire), _moment(state.newest_fire)) for job_id, state in states.items()]
    insert(connection, _FIRES, fires, _REPLACE_FIRES)


def _moment(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _count(connection: sqlite3.Connection, more: Sequence[Cell], fewer: Sequence[Cell]) -> None:
    """Keep the counts equal to what is in executions."""
    cells, kinds = Counter(more), Counter(cell[1:] for cell in more)
    cells.subtract(fewer)
    kinds.subtract(cell[1:] for cell in fewer)
    rows = [(*cell, n) for cell, n in cells.items() if n]
    rows += [(ALL_JOBS, *kind, n) for kind, n in kinds.items() if n]
    insert(connection, _COUNTS, rows, _ADD_COUNT)
