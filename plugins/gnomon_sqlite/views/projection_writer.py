"""Views on their way to the tables that lists read; until they are flushed they exist in memory and in the log only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from gnomon.domain.brief import decode_brief
from gnomon.domain.events import JOB_STREAM, Event, Scheduled
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.labels import label_texts
from gnomon.errors import StoreError
from gnomon.json_depth import decode_cut
from gnomon.stores.commit_rows import End
from gnomon.stores.microseconds import from_micros, to_micros
from gnomon.stores.removed_jobs import gone_since
from gnomon.stores.run_counts import Cell, cell_of, changes
from gnomon.stores.view_columns import end_of, searched_text, sorted_columns
from gnomon_sqlite.connection import insert, transaction
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import EXECUTION, JOB, DamagedRowError, is_sealed, seal

FLUSH_THRESHOLD = 3_000
"""Events that the log may be ahead of the tables. A reader folds them at about 2 µs each, and a flush delays an append
by about 25 ms. A run of one of 10,000 jobs is flushed in 25 µs; with a threshold of 6,000 in 18, but then 1 of 100 of
5,000 runs a second starts twice as late."""
FLUSH_BYTES = 4 * 1024 * 1024
"""Bytes of JSON that large events and their views may be ahead of the tables: each reader keeps them in memory."""
USUAL_BYTES = 512
"""Bytes of JSON of an event that only the number of events limits. Counted too, they made a burst of 10,000 runs flush
between its appends, and cost it twice the CPU time."""
STATEMENT_BYTES = 1024 * 1024
"""Bytes of JSON of views that are written with one statement: they exist twice while it runs."""
LARGE_BYTES = 8 * 1024
"""Bytes of JSON of arguments that count once more with each event of their run, because its view holds them."""
SEPARATOR = "\x1f"
"""Between labels, which have printable characters only."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Execution).decode
_decode_job = msgspec.json.Decoder(JobState).decode

Row: TypeAlias = tuple[Any, ...]
"""A row of VIEW."""
BODY = -2
"""The place of the JSON of a view in its row."""
VIEW = (
    "id, version, last, job_id, status, is_manual, hidden, timestamp, ended_at, error_text, labels, "
    "late, duration, actor, progress, body, checksum"
)
# Not INSERT OR REPLACE, which takes half as long again.
REPLACE_VIEW = """ON CONFLICT DO UPDATE SET
    version = excluded.version, last = excluded.last, status = excluded.status, hidden = excluded.hidden,
    timestamp = excluded.timestamp, ended_at = excluded.ended_at, error_text = excluded.error_text,
    late = excluded.late, duration = excluded.duration, progress = excluded.progress,
    body = excluded.body, checksum = excluded.checksum"""
_NOT_LIVE = "DELETE FROM live WHERE id IN (SELECT value FROM json_each(?))"
_CHANGE = "UPDATE executions SET version = ?, last = ?, hidden = ?, ended_at = ?, body = ?, checksum = ? WHERE id = ?"
STREAMS = "streams (name, version, last)"
_REPLACE_STREAM = "ON CONFLICT DO UPDATE SET version = excluded.version, last = excluded.last"
_FIRES = "fires (job_id, last_fire, newest_fire, checksum)"
_REPLACE_FIRES = """ON CONFLICT DO UPDATE SET
    last_fire = excluded.last_fire, newest_fire = excluded.newest_fire, checksum = excluded.checksum"""
_JOBS = "jobs (id, body, checksum, removed_at)"
_REPLACE_JOB = """ON CONFLICT DO UPDATE SET
    body = excluded.body, checksum = excluded.checksum, removed_at = excluded.removed_at"""
_COUNTS = "counts (job_id, status, is_manual, hidden, n)"
_ADD_COUNT = "ON CONFLICT DO UPDATE SET n = n + excluded.n"


class PendingViews:
    """Stream ends and views that follow from events beyond the position in `flushed`."""

    def __init__(self) -> None:
        self.events = self.bytes = 0
        self.ends: dict[str, End] = {}
        self.executions: dict[str, Execution] = {}
        self.jobs: dict[str, JobState] = {}
        self._large: dict[str, int] = {}

    def count(self, events: Sequence[Event], size: int) -> None:
        """Count events that were appended; `size` is that of their JSON."""
        self.events += len(events)
        self.bytes += max(size - USUAL_BYTES * len(events), 0)
        if self._large:
            self.bytes += sum(self._large.get(event.stream, 0) for event in events)
        if size > LARGE_BYTES:
            sizes = {
                one.stream: len(_encode(one.kwargs)) for one in events if isinstance(one, Scheduled) and one.kwargs
            }
            self._large.update((stream, large) for stream, large in sizes.items() if large > LARGE_BYTES)

    def forget_large(self, executions: Iterable[Execution]) -> None:
        """Forget the sizes of runs that are over."""
        if self._large:
            for view in executions:
                if view.is_over:
                    self._large.pop(view.id, None)

    def clear(self) -> None:
        """Drop everything, once it is flushed."""
        self.events = self.bytes = 0
        for views in (self.ends, self.executions, self.jobs):
            views.clear()


def flush(connection: sqlite3.Connection, pending: PendingViews) -> None:
    """Write all pending views to their tables, in one transaction."""
    if not pending.events:
        return
    with transaction(connection):
        put_views(connection, pending.executions.values(), pending.ends)
        put_jobs(connection, pending.jobs.values(), pending.ends)
        mark_flushed(connection)
    pending.clear()


def put_views(connection: sqlite3.Connection, views: Collection[Execution], ends: dict[str, End]) -> None:
    """Write the views of runs, and the ends of all other streams."""
    put_executions(connection, views, ends)
    with_views = {view.id for view in views}
    others = [(stream, *end) for stream, end in ends.items() if stream not in with_views]
    insert(connection, f"INTO {STREAMS}", others, _REPLACE_STREAM)


def mark_flushed(connection: sqlite3.Connection) -> None:
    """Record that the views of all events are in their tables."""
    connection.execute("UPDATE flushed SET position = ?", (event_rows.head(connection),))


def put_executions(connection: sqlite3.Connection, views: Iterable[Execution], ends: dict[str, End]) -> None:
    """Write whole views: finished ones to `executions`, unfinished ones to `live`."""
    final: list[Execution] = []
    live: list[Execution] = []
    for view in views:
        (final if view.is_over else live).append(view)
    for rows in _rows_of(live, ends):
        insert(connection, f"INTO live ({VIEW})", rows, REPLACE_VIEW)
    for rows in _rows_of(final, ends):
        insert(connection, f"INTO executions ({VIEW})", rows)
    if final:
        connection.execute(_NOT_LIVE, (_encode([view.id for view in final]).decode(),))
        count(connection, [cell_of(view) for view in final], [])


def _rows_of(views: Iterable[Execution], ends: dict[str, End]) -> Iterator[list[Row]]:
    """Yield the rows of views, in lists that hold about STATEMENT_BYTES."""
    rows: list[Row] = []
    size = 0
    for view in views:
        row = row_of(view, ends[view.id])
        rows.append(row)
        size += len(row[BODY])
        if size >= STATEMENT_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def row_of(view: Execution, end: End) -> Row:
    """Return a view as a row of VIEW."""
    # Numbers instead of booleans, for which sqlite3 looks up an adapter each time: 1 µs.
    flags = int(view.is_manual), int(view.hidden)
    place = view.id, *end, view.job_id, view.status, *flags
    labels = SEPARATOR.join(["", *label_texts(view.labels), ""]) if view.labels else None
    body = _encode(view)
    texts = to_micros(view.timestamp), _maybe_micros(end_of(view)), searched_text(view), labels
    return *place, *texts, *sorted_columns(view), body, seal(view.id, body)


def checked_view(execution_id: str, body: bytes, checksum: int, *, is_brief: bool = False) -> Execution:
    """Return the view in a row, cut for a list if it `is_brief`; DamagedRowError where the row is not as written."""
    if not is_sealed(execution_id, body, checksum):
        raise DamagedRowError(EXECUTION, execution_id)
    return _read(decode_brief, body) if is_brief else view_of(body)


def view_of(body: bytes) -> Execution:
    """Parse the body of a row; StoreError where it is not a view."""
    return _read(lambda text: decode_cut(_decode, text), body)


def _read(decode: Callable[[bytes], Execution], body: bytes) -> Execution:
    try:
        return decode(body)
    except msgspec.DecodeError as exc:
        raise StoreError(f"an execution in the log cannot be read ({exc}): {body[:80]!r}") from exc


def update_final(connection: sqlite3.Connection, views: Iterable[Execution], ends: dict[str, End]) -> None:
    """Update finished runs that are flushed already: a late result has arrived, or the record was hidden."""
    for view in views:
        (was_hidden,) = connection.execute("SELECT hidden FROM executions WHERE id = ?", (view.id,)).fetchone()
        body = _encode(view)
        row = (*ends[view.id], view.hidden, to_micros(view.updated_at), body, seal(view.id, body), view.id)
        connection.execute(_CHANGE, row)
        cell = cell_of(view)
        count(connection, [cell], [(*cell[:3], bool(was_hidden))])


def put_jobs(connection: sqlite3.Connection, jobs: Iterable[JobState], ends: dict[str, End]) -> None:
    """Write the states of jobs; where a job's own stream has nothing new, only its fires."""
    states = {state.job_id: state for state in jobs}
    changed = [stream.removeprefix(JOB_STREAM) for stream in ends if stream.startswith(JOB_STREAM)]  # mostly none
    put_job_bodies(connection, [states[job_id] for job_id in changed if job_id in states])
    put_fires(connection, states.values())


def put_job_bodies(connection: sqlite3.Connection, states: Iterable[JobState]) -> None:
    """Write the states of jobs, without their fires."""
    bodies = [(state.job_id, _encode(state), _maybe_micros(gone_since(state))) for state in states]
    rows = [(job_id, body, seal(job_id, body), removed_at) for job_id, body, removed_at in bodies]
    insert(connection, f"INTO {_JOBS}", rows, _REPLACE_JOB)


def put_fires(connection: sqlite3.Connection, states: Iterable[JobState]) -> None:
    """Write the fires of jobs."""
    fires = [(job.job_id, _maybe_micros(job.last_fire), _maybe_micros(job.newest_fire)) for job in states]
    rows = [(*fire, seal(_fires_key(*fire), None)) for fire in fires]
    insert(connection, f"INTO {_FIRES}", rows, _REPLACE_FIRES)


def _fires_key(job_id: str, last_fire: int | None, newest_fire: int | None) -> str:
    return f"{job_id} {last_fire} {newest_fire}"


def present_jobs(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of the jobs whose flushed states say that they are not removed."""
    return [job_id for (job_id,) in connection.execute("SELECT id FROM jobs WHERE removed_at IS NULL")]


def flushed_jobs(connection: sqlite3.Connection, job_ids: Collection[str] | None = None) -> dict[str, JobState]:
    """Return the flushed states of all jobs, or of some."""
    states = {}
    sql = """SELECT id, body, jobs.checksum, last_fire, newest_fire, fires.checksum
        FROM jobs LEFT JOIN fires ON job_id = id"""
    some = "" if job_ids is None else " WHERE id IN (SELECT value FROM json_each(?))"
    parameters = () if job_ids is None else (msgspec.json.encode(list(job_ids)).decode(),)
    for job_id, body, checksum, *fires, fires_checksum in connection.execute(sql + some, parameters).fetchall():
        if not is_sealed(job_id, body, checksum) or not is_sealed(_fires_key(job_id, *fires), None, fires_checksum):
            raise DamagedRowError(JOB, job_id)
        last_fire, newest_fire = fires
        state = decode_cut(_decode_job, body)
        state.last_fire, state.newest_fire = _maybe_moment(last_fire), _maybe_moment(newest_fire)
        states[state.job_id] = state
    return states


def _maybe_micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _maybe_moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def count(connection: sqlite3.Connection, added: Sequence[Cell], removed: Sequence[Cell]) -> None:
    """Update the counts after rows were added to `executions` or removed from it."""
    insert(connection, f"INTO {_COUNTS}", changes(added, removed), _ADD_COUNT)
