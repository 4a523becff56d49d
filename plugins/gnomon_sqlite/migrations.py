"""Migrations of logs with an older schema: one function for each, which leads to today's schema in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import JOB_STREAM, Event, JobRemoved
from gnomon.domain.job_state import JobState
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon.stores.commit_rows import End, checksum_of, rows_of, tombstone
from gnomon.stores.view_columns import sorted_columns
from gnomon_sqlite import transactions
from gnomon_sqlite.connection import insert, transaction
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import seal
from gnomon_sqlite.schema import SCHEMA_VERSION, make_tables, schema_version
from gnomon_sqlite.views import projection_writer

log = get_logger("gnomon.sqlite")

BLOCK = 2_000
"""Rows in memory at once."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a log with an older schema to today's, or leave it as it is."""
    version = schema_version(connection)
    with transaction(connection):
        MIGRATIONS[version](connection)
    log.info("log migrated", from_schema=version, to_schema=SCHEMA_VERSION)


def _from_1(connection: sqlite3.Connection) -> None:
    """Add the list of operators' acts, which schema 1 lacked, and continue as from schema 2."""
    _rewrite(connection)
    # Acts name an actor; an event without one has no such key.
    acts = "WHERE instr(body, CAST('\"actor\":' AS BLOB))"
    for events in _old_events(connection, acts):
        insert(connection, f"INTO {transactions.ACTIONS}", transactions.action_rows(events))
    _drop(connection)


def _from_2(connection: sqlite3.Connection) -> None:
    """Group events that had a row each, and separate unfinished runs from finished ones."""
    _rewrite(connection)
    _drop(connection)


def _from_3(connection: sqlite3.Connection) -> None:
    """Move finished runs out of `live`, which held up to thousands of them, and continue as from schema 4."""
    _from_5(connection)
    rows = connection.execute(
        "SELECT body, version, last FROM live WHERE ended_at IS NOT NULL ORDER BY rowid"
    ).fetchall()
    views = [projection_writer.view_of(body) for body, _, _ in rows]
    ends = {view.id: (version, last) for view, (_, version, last) in zip(views, rows, strict=True)}
    projection_writer.put_executions(connection, views, ends)
    _mark_flushed(connection)
    _rewrite_jobs(connection)


def _from_5(connection: sqlite3.Connection) -> None:
    """Add the checksums of the log, and its id."""
    connection.execute("ALTER TABLE commits ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    _add_columns(connection)
    make_tables(connection)
    _from_6(connection)


def _from_7(connection: sqlite3.Connection) -> None:
    """Add the labels of runs, which no run of an older version has."""
    _from_8(connection)


def _from_8(connection: sqlite3.Connection) -> None:
    """Add when jobs were removed."""
    _from_9(connection)
    _date_removals(connection)


def _from_9(connection: sqlite3.Connection) -> None:
    """Add the columns by which lists are sorted, and put them into the index of all lists."""
    connection.execute("DROP INDEX IF EXISTS executions_by_status")
    _add_columns(connection)
    for table in ("live", "executions"):
        last = 0
        while rows := connection.execute(_BODIES.format(table=table), (last, BLOCK)).fetchall():
            columns = [(*sorted_columns(projection_writer.view_of(body)), row) for row, body in rows]
            connection.executemany(_SET_SORTED.format(table=table), columns)
            last = rows[-1][0]
    make_tables(connection)


def _date_removals(connection: sqlite3.Connection) -> None:
    """Write the times of the removal of jobs, which their streams have, into their states."""
    found = connection.execute(_JOBS_WITH_ENDS, (JOB_STREAM,)).fetchall()
    newest: dict[int, Event] = {}
    for body, last in found:
        state = _job_state(body)
        if not state.removed:
            continue
        if last is not None and last not in newest:  # in order of position: one block has many of them
            newest = {event.position: event for event in event_rows.read(connection, last - 1, BLOCK)}
        event = newest.get(last)
        state.removed_at = event.at if isinstance(event, JobRemoved) else None
        projection_writer.put_job_bodies(connection, [state])


def _add_columns(connection: sqlite3.Connection) -> None:
    checksum = ("checksum", "INTEGER NOT NULL DEFAULT 0")
    numbers = tuple((name, "REAL") for name in ("late", "duration"))
    of_views = (checksum, ("labels", "TEXT"), *numbers, ("actor", "TEXT"), ("progress", "REAL"))
    for table, columns in (
        ("live", of_views),
        ("executions", of_views),
        ("jobs", (checksum, ("removed_at", "INTEGER"))),
    ):
        there = {column[1] for column in connection.execute(f"PRAGMA table_info({table})").fetchall()}
        for name, definition in columns:
            if name not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {definition}")


def _from_6(connection: sqlite3.Connection) -> None:
    """Add the checksums of views, log lines, acts and checkpoints, and those of whole rows of the log."""
    _add_checksums_of_views(connection)
    sum_up = "UPDATE commits SET checksum = sum_up(first, last, earliest, latest, setback, previous, events)"
    connection.create_function("sum_up", 7, lambda *row: checksum_of(row[:5], *row[5:]), deterministic=True)
    connection.execute(sum_up)
    _from_7(connection)


def _add_checksums_of_views(connection: sqlite3.Connection) -> None:
    connection.create_function("seal", 2, seal, deterministic=True)
    for table, key, body in SEALED:
        if not any(column[1] == "checksum" for column in connection.execute(f"PRAGMA table_info({table})").fetchall()):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
        connection.execute(f"UPDATE {table} SET checksum = seal({key}, {body})")  # noqa: S608 - our own names


def _from_4(connection: sqlite3.Connection) -> None:
    """Rename the table `filed`, and rewrite the states of jobs: log format 3 renamed one of their fields."""
    _from_5(connection)
    connection.execute("UPDATE flushed SET position = (SELECT position FROM filed)")
    connection.execute("DROP TABLE filed")
    _rewrite_jobs(connection)


def _rewrite_jobs(connection: sqlite3.Connection) -> None:
    for job_id, body in connection.execute("SELECT id, body FROM jobs").fetchall():
        new_body = msgspec.json.encode(_job_state(body))
        row = new_body, seal(job_id, new_body), job_id
        connection.execute("UPDATE jobs SET body = ?, checksum = ? WHERE id = ?", row)


def _mark_flushed(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE flushed SET position = ?", (event_rows.head(connection),))


_BODIES = "SELECT rowid, body FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
_SET_SORTED = "UPDATE {table} SET late = ?, duration = ?, actor = ?, progress = ? WHERE rowid = ?"
_JOBS_WITH_ENDS = "SELECT body, last FROM jobs LEFT JOIN streams ON name = ? || id ORDER BY last"


def _job_state(body: bytes) -> JobState:
    """Parse the state of a job as schemas 1 to 4 stored it; it called the reason for a pause `paused_why`."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
        if "paused_why" in fields:
            fields["paused_reason"] = fields.pop("paused_why")
        return msgspec.convert(fields, JobState)
    except msgspec.DecodeError as exc:
        raise StoreError(f"the state of a job in the log cannot be read ({exc}): {body[:80]!r}") from exc


def _rewrite(connection: sqlite3.Connection) -> None:
    """Rename the old tables, create today's, and write events and views to those."""
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name <> 'actions'"
    for (name,) in connection.execute(indexes).fetchall():
        connection.execute(f"DROP INDEX {name}")
    for table in REWRITTEN:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    make_tables(connection)
    _add_checksums_of_views(connection)
    ends = _rewrite_events(connection)
    for bodies in _blocks(connection, "SELECT body FROM old_executions ORDER BY rowid"):
        views = [projection_writer.view_of(body) for (body,) in bodies]
        projection_writer.put_executions(connection, views, {view.id: ends.pop(view.id) for view in views})
    jobs = connection.execute("SELECT body FROM old_jobs").fetchall()
    projection_writer.put_jobs(connection, [_job_state(body) for (body,) in jobs], ends)
    insert(connection, f"INTO {projection_writer.STREAMS}", [(stream, *end) for stream, end in ends.items()])
    _date_removals(connection)
    _mark_flushed(connection)


def _rewrite_events(connection: sqlite3.Connection) -> dict[str, End]:
    ends: dict[str, End] = {}
    for events in _old_events(connection):
        for run in _contiguous(events):
            newest = event_rows.find_ends(connection, ()).newest
            rows, new_ends = rows_of(run, ends, newest, check=False)
            insert(connection, f"INTO {event_rows.COMMITS}", rows)
            ends |= new_ends
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'old_events'").fetchone()
    if last is not None and last[0] > event_rows.head(connection):  # the newest events are pruned, their numbers taken
        insert(
            connection, f"INTO {event_rows.COMMITS}", [tombstone(last[0], event_rows.find_ends(connection, ()).newest)]
        )
    return ends


def _old_events(connection: sqlite3.Connection, where: str = "") -> Iterator[list[Event]]:
    for rows in _blocks(connection, f"SELECT body FROM old_events {where} ORDER BY position"):  # noqa: S608 - our own names
        yield [codec.decode(body) for (body,) in rows]


def _contiguous(events: list[Event]) -> Iterator[list[Event]]:
    """Split events where positions are missing."""
    start = 0
    for index in range(1, len(events) + 1):
        if index == len(events) or events[index].position != events[index - 1].position + 1:
            yield events[start:index]
            start = index


def _blocks(connection: sqlite3.Connection, sql: str) -> Iterator[list[tuple[bytes]]]:
    cursor = connection.execute(sql)
    while rows := cursor.fetchmany(BLOCK):
        yield rows


def _drop(connection: sqlite3.Connection) -> None:
    for table in REWRITTEN:
        connection.execute(f"DROP TABLE old_{table}")


SEALED = (
    ("live", "id", "body"),
    ("executions", "id", "body"),
    ("jobs", "id", "body"),
    ("fires", "job_id || ' ' || ifnull(last_fire, 'None') || ' ' || ifnull(newest_fire, 'None')", "NULL"),
    ("actions", "CAST(position AS TEXT)", "body"),
    ("checkpoints", "name || ' ' || position", "view"),
    ("log_lines", "execution_id || ' ' || number", "body"),
)
"""Tables whose rows have a checksum, with the key and the body that it covers."""
REWRITTEN = ("events", "executions", "counts", "jobs")
"""The tables of schemas 1 and 2 that today's tables of the same or another name replace."""
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
    5: _from_5,
    6: _from_6,
    7: _from_7,
    8: _from_8,
    9: _from_9,
}
"""By the schema that is found. Each runs in one transaction."""
