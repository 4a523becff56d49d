"""Repair of what follows from the log: views are folded again from their events, indexes and counts are built again.

The log itself is never changed here, and nothing is repaired from events that are damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from gnomon.domain import execution, job_state
from gnomon.domain.events import Event, JobEvent, UnknownEvent
from gnomon.domain.job_state import JobState
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon_sqlite.connection import insert, transaction
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import EXECUTION, INDEXES, JOB, STREAM, DamagedRowError, is_sealed
from gnomon_sqlite.views import projection_writer

log = get_logger("gnomon.sqlite")

Row: TypeAlias = tuple[Any, ...]

_PAGE = 5_000
_COUNT = """INSERT INTO counts (job_id, status, is_manual, hidden, n)
    SELECT job_id, status, is_manual, hidden, count(*) FROM executions GROUP BY 1, 2, 3, 4
    UNION ALL SELECT '', status, is_manual, hidden, count(*) FROM executions GROUP BY 2, 3, 4"""


def repair_row(connection: sqlite3.Connection, damage: DamagedRowError) -> None:
    """Fold a damaged view again; StoreError where that is not possible."""
    repairs: dict[str, Callable[[], None]] = {
        EXECUTION: lambda: _fold_execution(connection, damage.key),
        JOB: lambda: _fold_job(connection, damage.key),
        STREAM: lambda: _find_end(connection, damage.key),
        INDEXES: lambda: rebuild_derived(connection),
    }
    if damage.kind not in repairs:
        raise damage
    with transaction(connection):
        repairs[damage.kind]()
    log.warning("a damaged record was folded again from the log", kind=damage.kind, key=damage.key)


def repair_derived(connection: sqlite3.Connection, findings: Sequence[str]) -> None:
    """Build indexes and counts again, which the check at the start found wrong."""
    with transaction(connection):
        rebuild_derived(connection)
    log.warning(
        "damaged views, indexes or counts were built again from the log", found=findings[0], findings=len(findings)
    )


def rebuild_derived(connection: sqlite3.Connection) -> None:
    """Build all indexes and counts again, from columns that are those of the view."""
    connection.execute("REINDEX")  # first: a change of a row that its index lacks would fail
    for rowid, row in list(_wrong_rows(connection, -1)):
        columns = ", ".join(f"{column} = ?" for column in projection_writer.VIEW.split(", "))
        new = _fold_row(connection, row[0]) if row[-1] is None else row
        connection.execute(f"UPDATE executions SET {columns} WHERE rowid = ?", (*new, rowid))  # noqa: S608 - our own names
    connection.execute("DELETE FROM counts")
    connection.execute(_COUNT)


def find_wrong_rows(connection: sqlite3.Connection, limit: int) -> list[str]:
    """Return which of the newest finished executions have columns that are not those of their view."""
    return [f"the columns of execution {row[0]} are wrong" for _, row in _wrong_rows(connection, limit)]


def _wrong_rows(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[int, Row]]:
    """Yield the rowids of wrong rows, with the rows as they should be; without a checksum where the body is wrong."""
    sql = f"SELECT rowid, {projection_writer.VIEW} FROM executions ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - our own names
    for rowid, *row in connection.execute(sql, (limit,)):
        *_, body, checksum = row
        if not isinstance(row[0], str) or not is_sealed(row[0], body, checksum):
            yield rowid, (*row[:-1], None)
            continue
        view = projection_writer.view_of(body)
        if (right := projection_writer.row_of(view, (view.version, row[2]))) != tuple(row):
            yield rowid, right


def _fold_row(connection: sqlite3.Connection, execution_id: str) -> Row:
    (flushed,) = connection.execute("SELECT position FROM flushed").fetchone()
    history = list(_events(connection, lambda event: event.stream == execution_id and event.position <= flushed))
    if not history or history[0].version != 1 or isinstance(history[0], UnknownEvent):
        raise StoreError(f"the view of execution {execution_id} is damaged, and its events are gone: restore a backup")
    return projection_writer.row_of(execution.fold(history), (history[-1].version, history[-1].position))


def _fold_execution(connection: sqlite3.Connection, execution_id: str) -> None:
    row = _fold_row(connection, execution_id)
    for table in ("live", "executions"):
        if connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", (execution_id,)).fetchone():  # noqa: S608 - our own names
            insert(connection, f"INTO {table} ({projection_writer.VIEW})", [row], projection_writer.REPLACE_VIEW)


def _find_end(connection: sqlite3.Connection, stream: str) -> None:
    (flushed,) = connection.execute("SELECT position FROM flushed").fetchone()
    history = list(_events(connection, lambda event: event.stream == stream and event.position <= flushed))
    if not history:
        raise StoreError(f"the end of stream {stream} is damaged, and its events are gone: restore a backup")
    end = history[-1].version, history[-1].position, stream
    for table, name in (("streams", "name"), ("live", "id"), ("executions", "id")):
        connection.execute(f"UPDATE {table} SET version = ?, last = ? WHERE {name} = ?", end)  # noqa: S608 - our own names


def _fold_job(connection: sqlite3.Connection, job_id: str) -> None:
    (flushed,) = connection.execute("SELECT position FROM flushed").fetchone()
    state: JobState | None = None
    for event in _events(connection, lambda event: event.job_id == job_id and event.position <= flushed):
        if state is not None:
            state.apply(event)
        elif isinstance(event, JobEvent):
            state = job_state.begin(event)
    if state is None:
        raise StoreError(f"the state of job {job_id!r} is damaged, and its events are gone: restore a backup")
    projection_writer.put_job_bodies(connection, [state])
    projection_writer.put_fires(connection, [state])


def _events(connection: sqlite3.Connection, is_wanted: Callable[[Event], bool]) -> Iterator[Event]:
    after = 0
    while events := event_rows.read(connection, after, _PAGE):
        yield from filter(is_wanted, events)
        after = events[-1].position
