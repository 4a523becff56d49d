"""Views on their way into the tables that lists read: kept in memory for as long as the log alone has them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from gnomon.domain.events import JOB_STREAM
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import StoreError
from gnomon.stores.page_cursor import EPOCH, MICROSECOND
from gnomon_sqlite import commits
from gnomon_sqlite.commits import End
from gnomon_sqlite.database import insert, micros, transaction

Cell: TypeAlias = tuple[str, str, bool, bool]
"""Job id, status, is_manual, hidden: what executions are counted by."""

FILED_AT_ONCE = 3_000
"""Events that the log may have and the tables not: who reads folds them, at some 2 µs each, and to file them keeps an
append waiting for some 25 ms. A run of one of 10,000 jobs is filed in 25 µs; with 6,000 in 18, and then 1 of 100 of
5,000 runs a second starts twice as late."""
ALL_JOBS = ""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Execution).decode
_decode_job = msgspec.json.Decoder(JobState).decode

VIEW = "id, version, last, job_id, status, is_manual, hidden, timestamp, ended_at, error_text, body"
# Not INSERT OR REPLACE, which takes half as long again.
REPLACE_VIEW = """ON CONFLICT DO UPDATE SET
    version = excluded.version, last = excluded.last, status = excluded.status, hidden = excluded.hidden,
    timestamp = excluded.timestamp, ended_at = excluded.ended_at, error_text = excluded.error_text,
    body = excluded.body"""
_NOT_LIVE = "DELETE FROM live WHERE id IN (SELECT value FROM json_each(?))"
_CHANGE = "UPDATE executions SET version = ?, last = ?, hidden = ?, ended_at = ?, body = ? WHERE id = ?"
STREAMS = "streams (name, version, last)"
_REPLACE_STREAM = "ON CONFLICT DO UPDATE SET version = excluded.version, last = excluded.last"
_FIRES = "fires (job_id, last_fire, newest_fire)"
_REPLACE_FIRES = "ON CONFLICT DO UPDATE SET last_fire = excluded.last_fire, newest_fire = excluded.newest_fire"
_JOBS = "jobs (id, body)"
_REPLACE_JOB = "ON CONFLICT DO UPDATE SET body = excluded.body"
_COUNTS = "counts (job_id, status, is_manual, hidden, n)"
_ADD_COUNT = "ON CONFLICT DO UPDATE SET n = n + excluded.n"


class Unfiled:
    """Where streams end, and what views they lead to, as the log says beyond the position in `filed`."""

    def __init__(self) -> None:
        self.events = 0
        self.ends: dict[str, End] = {}
        self.executions: dict[str, Execution] = {}
        self.jobs: dict[str, JobState] = {}

    def clear(self) -> None:
        """Forget what is filed."""
        self.events = 0
        for views in (self.ends, self.executions, self.jobs):
            views.clear()


def file(connection: sqlite3.Connection, unfiled: Unfiled) -> None:
    """Put everything into its tables, in one transaction; what is over goes where lists find it in order."""
    if not unfiled.events:
        return
    with transaction(connection):
        put_executions(connection, unfiled.executions.values(), unfiled.ends)
        others = [(stream, *end) for stream, end in unfiled.ends.items() if stream not in unfiled.executions]
        insert(connection, f"INTO {STREAMS}", others, _REPLACE_STREAM)
        put_jobs(connection, unfiled.jobs.values(), unfiled.ends)
        connection.execute("UPDATE filed SET position = ?", (commits.head(connection),))
    unfiled.clear()


def put_executions(connection: sqlite3.Connection, views: Iterable[Execution], ends: dict[str, End]) -> None:
    """Put whole views in place, those that are over and those that are not."""
    over: list[Execution] = []
    live: list[Execution] = []
    for view in views:
        (over if view.is_over else live).append(view)
    insert(connection, f"INTO live ({VIEW})", [row_of(view, ends[view.id]) for view in live], REPLACE_VIEW)
    if over:
        insert(connection, f"INTO executions ({VIEW})", [row_of(view, ends[view.id]) for view in over])
        connection.execute(_NOT_LIVE, (_encode([view.id for view in over]).decode(),))
        count(connection, [(view.job_id, view.status, view.is_manual, view.hidden) for view in over], [])


def row_of(view: Execution, end: End) -> tuple[Any, ...]:
    """Write a view as a row of VIEW."""
    ended_at, error_text = None, None
    if view.is_over:
        ended_at = micros(view.updated_at)
        error_text = view.error_message.casefold() if view.error_message else None
    # Numbers and no booleans, for which sqlite3 looks for an adapter, each time: 1 µs.
    flags = int(view.is_manual), int(view.hidden)
    place = view.id, *end, view.job_id, view.status, *flags
    return *place, micros(view.timestamp), ended_at, error_text, _encode(view)


def view_of(body: bytes) -> Execution:
    """Read a view from the body of its row; StoreError where it is none."""
    try:
        return _decode(body)
    except msgspec.DecodeError as exc:
        raise StoreError(f"an execution in the log cannot be read ({exc}): {body[:80]!r}") from exc


def change_filed(connection: sqlite3.Connection, views: Iterable[Execution], ends: dict[str, End]) -> None:
    """Write what came after the end, and after it was filed: a late result, or that the record is hidden."""
    for view in views:
        (was_hidden,) = connection.execute("SELECT hidden FROM executions WHERE id = ?", (view.id,)).fetchone()
        row = (*ends[view.id], view.hidden, micros(view.updated_at), _encode(view), view.id)
        connection.execute(_CHANGE, row)
        cell = view.job_id, view.status, view.is_manual
        count(connection, [(*cell, view.hidden)], [(*cell, bool(was_hidden))])


def put_jobs(connection: sqlite3.Connection, jobs: Iterable[JobState], ends: dict[str, End]) -> None:
    """Put the states of jobs in place; of those whose own stream says nothing new, only their fires."""
    states = {state.job_id: state for state in jobs}
    changed = [stream.removeprefix(JOB_STREAM) for stream in ends if stream.startswith(JOB_STREAM)]  # mostly none
    told = [(job_id, _encode(states[job_id])) for job_id in changed if job_id in states]
    insert(connection, f"INTO {_JOBS}", told, _REPLACE_JOB)
    fires = [(job_id, _moment(state.last_fire), _moment(state.newest_fire)) for job_id, state in states.items()]
    insert(connection, f"INTO {_FIRES}", fires, _REPLACE_FIRES)


def filed_jobs(connection: sqlite3.Connection) -> dict[str, JobState]:
    """Read the states of all jobs as they are filed."""
    states = {}
    sql = "SELECT body, last_fire, newest_fire FROM jobs JOIN fires ON job_id = id ORDER BY id"
    for body, last_fire, newest_fire in connection.execute(sql).fetchall():
        state = _decode_job(body)
        state.last_fire, state.newest_fire = _datetime(last_fire), _datetime(newest_fire)
        states[state.job_id] = state
    return states


def _moment(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _datetime(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + micros * MICROSECOND


def count(connection: sqlite3.Connection, more: Sequence[Cell], fewer: Sequence[Cell]) -> None:
    """Keep the counts equal to what is in executions."""
    cells, kinds = Counter(more), Counter(cell[1:] for cell in more)
    cells.subtract(fewer)
    kinds.subtract(cell[1:] for cell in fewer)
    rows = [(*cell, n) for cell, n in cells.items() if n]
    rows += [(ALL_JOBS, *kind, n) for kind, n in kinds.items() if n]
    insert(connection, f"INTO {_COUNTS}", rows, _ADD_COUNT)
