"""All that changes the database: functions that run in the writer's thread, each one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from gnomon.actions import action_of
from gnomon.events import JOB_STREAM, Event
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
FILED_AT_ONCE = 2_000
"""Views that are over and wait in `live`, to be filed together: some 1 MB that each list looks through."""

_encode = msgspec.json.Encoder().encode

_VIEW = "id, version, last, job_id, status, is_manual, hidden, timestamp, ended_at, error_text, body"
_LIVE = f"INTO live ({_VIEW})"
# Not INSERT OR REPLACE, which takes 14 µs for the two writes of a run, and this 10.
_REPLACE_LIVE = """ON CONFLICT DO UPDATE SET
    version = excluded.version, last = excluded.last, status = excluded.status, hidden = excluded.hidden,
    timestamp = excluded.timestamp, ended_at = excluded.ended_at, error_text = excluded.error_text,
    body = excluded.body"""
_CHANGE_EXECUTION = "UPDATE executions SET version = ?, last = ?, hidden = ?, ended_at = ?, body = ? WHERE id = ?"
_FILE = f"INSERT INTO executions ({_VIEW}) SELECT {_VIEW} FROM live WHERE ended_at IS NOT NULL ORDER BY rowid"  # noqa: S608
_FILED = "DELETE FROM live WHERE ended_at IS NOT NULL"
_COUNT_FILED = """
    INSERT INTO counts (job_id, status, is_manual, hidden, n)
    SELECT {job_id}, status, is_manual, hidden, count(*) FROM live WHERE ended_at IS NOT NULL GROUP BY 1, 2, 3, 4
    ON CONFLICT DO UPDATE SET n = n + excluded.n"""
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
    unfiled: int = 0,
) -> int:
    """Write events and their views; ConflictError where a place in the log is taken.

    `unfiled` is how many views in `live` may be over, and so is what it returns.
    """
    views = {execution.id: execution for execution in executions}
    with transaction(connection):
        known, filed = commits.ends(connection, {event.stream for event in events} | views.keys())
        now = commits.write(connection, events, known)
        others = [(stream, *end) for stream, end in now.items() if stream not in views]
        for view in views.values():
            if view.id not in now:  # a view that is written anew, without an event
                now[view.id] = known.get(view.id, (view.version, 0))
        insert(connection, f"INTO {STREAMS}", others, _REPLACE_STREAM)
        insert(connection, f"INTO {ACTIONS}", action_rows(events))
        unfiled += put_executions(connection, views.values(), now, filed)
        put_jobs(connection, jobs, now)
        if unfiled >= FILED_AT_ONCE:
            file(connection)
            unfiled = 0
    return unfiled


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
        file(connection)
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
    connection: sqlite3.Connection, views: Iterable[Execution], now: Mapping[str, End], filed: Container[str]
) -> int:
    """Put whole views in place, and return how many of them are over and not filed."""
    live, changed, ended = [], [], 0
    for view in views:
        if view.id in filed:
            changed.append(view)
            continue
        ended_at, error_text = None, None
        if view.is_over:
            ended += 1
            ended_at = micros(view.updated_at)
            error_text = view.error_message.casefold() if view.error_message else None
        # Numbers and no booleans, for which sqlite3 looks for an adapter, each time: 1 µs.
        flags = int(view.is_manual), int(view.hidden)
        place = (view.id, *now[view.id], view.job_id, view.status, *flags)
        live.append((*place, micros(view.timestamp), ended_at, error_text, _encode(view)))
    insert(connection, _LIVE, live, _REPLACE_LIVE)
    if changed:
        _change_filed(connection, changed, now)
    return ended


def _change_filed(connection: sqlite3.Connection, views: Sequence[Execution], now: Mapping[str, End]) -> None:
    """Write what came after the end: a late result, or that the record is hidden."""
    for view in views:
        (was_hidden,) = connection.execute("SELECT hidden FROM executions WHERE id = ?", (view.id,)).fetchone()
        row = (*now[view.id], view.hidden, micros(view.updated_at), _encode(view), view.id)
        connection.execute(_CHANGE_EXECUTION, row)
        cell = view.job_id, view.status, view.is_manual
        _count(connection, [(*cell, view.hidden)], [(*cell, bool(was_hidden))])


def file(connection: sqlite3.Connection) -> None:
    """Put what is over where lists find it in order."""
    for job_id in ("job_id", f"'{ALL_JOBS}'"):
        connection.execute(_COUNT_FILED.format(job_id=job_id))
    connection.execute(_FILE)
    connection.execute(_FILED)


def unfiled(connection: sqlite3.Connection) -> int:
    """Count what is over and not filed yet."""
    return int(connection.execute("SELECT count(ended_at) FROM live").fetchone()[0])


def put_jobs(connection: sqlite3.Connection, jobs: Iterable[JobState], now: Mapping[str, End]) -> None:
    """Put the states of jobs in place; of those whose own stream says nothing new, only their fires."""
    states = {state.job_id: state for state in jobs}
    changed = [stream.removeprefix(JOB_STREAM) for stream in now if stream.startswith(JOB_STREAM)]  # mostly none
    told = [(job_id, _encode(states[job_id])) for job_id in changed if job_id in states]
    insert(connection, f"INTO {_JOBS}", told, _REPLACE_JOB)
    fires = [(job_id, _moment(state.last_fire), _moment(state.newest_fire)) for job_id, state in states.items()]
    insert(connection, f"INTO {_FIRES}", fires, _REPLACE_FIRES)


def _moment(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _count(connection: sqlite3.Connection, more: Sequence[Cell], fewer: Sequence[Cell]) -> None:
    """Keep the counts equal to what is in executions."""
    cells, kinds = Counter(more), Counter(cell[1:] for cell in more)
    cells.subtract(fewer)
    kinds.subtract(cell[1:] for cell in fewer)
    rows = [(*cell, n) for cell, n in cells.items() if n]
    rows += [(ALL_JOBS, *kind, n) for kind, n in kinds.items() if n]
    insert(connection, f"INTO {_COUNTS}", rows, _ADD_COUNT)
