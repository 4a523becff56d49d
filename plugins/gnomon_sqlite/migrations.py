"""Logs of older schemas, brought to today's: one function for each, which leads there in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import msgspec
import structlog

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.domain.job_state import JobState
from gnomon_sqlite import commits, filing, writing
from gnomon_sqlite.commits import End
from gnomon_sqlite.database import SCHEMA_VERSION, insert, make_tables

log = structlog.stdlib.get_logger("gnomon.sqlite")

BLOCK = 2_000
"""Rows that are in memory at once."""


def _from_1(connection: sqlite3.Connection) -> None:
    """Add what schema 1 had not, the list of what operators did, and go on as from schema 2."""
    _move(connection)
    # Who acts is named; an event that names nobody has no such key.
    acts = "WHERE instr(body, CAST('\"actor\":' AS BLOB))"
    for events in _old_events(connection, acts):
        insert(connection, f"INTO {writing.ACTIONS}", writing.action_rows(events))
    _drop(connection)
    _finish(connection, 1)


def _from_2(connection: sqlite3.Connection) -> None:
    """Put events that had a row each together, and what is going on apart from what is over."""
    _move(connection)
    _drop(connection)
    _finish(connection, 2)


def _from_3(connection: sqlite3.Connection) -> None:
    """File what is over: `live` had it too, up to thousands."""
    make_tables(connection)
    rows = connection.execute(
        "SELECT body, version, last FROM live WHERE ended_at IS NOT NULL ORDER BY rowid"
    ).fetchall()
    views = [filing.view_of(body) for body, _, _ in rows]
    ends = {view.id: (version, last) for view, (_, version, last) in zip(views, rows, strict=True)}
    filing.put_executions(connection, views, ends)
    _finish(connection, 3)


def _move(connection: sqlite3.Connection) -> None:
    """Give the old tables other names, make today's, and write events and views anew."""
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name <> 'actions'"
    for (name,) in connection.execute(indexes).fetchall():
        connection.execute(f"DROP INDEX {name}")
    for table in OLD:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    make_tables(connection)
    ends = _move_events(connection)
    for bodies in _blocks(connection, "SELECT body FROM old_executions ORDER BY rowid"):
        views = [filing.view_of(body) for (body,) in bodies]
        filing.put_executions(connection, views, {view.id: ends.pop(view.id) for view in views})
    jobs = connection.execute("SELECT body FROM old_jobs").fetchall()
    filing.put_jobs(connection, [msgspec.json.decode(body, type=JobState) for (body,) in jobs], ends)
    insert(connection, f"INTO {filing.STREAMS}", [(stream, *end) for stream, end in ends.items()])


def _move_events(connection: sqlite3.Connection) -> dict[str, End]:
    ends: dict[str, End] = {}
    for events in _old_events(connection):
        for run in _unbroken(events):
            rows, now = commits.rows_of(run, ends, commits.find(connection, ()).newest, check=False)
            insert(connection, f"INTO {commits.COMMITS}", rows)
            ends |= now
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'old_events'").fetchone()
    if last is not None and last[0] > commits.head(connection):  # the newest ones are forgotten, and not their number
        insert(connection, f"INTO {commits.COMMITS}", [(last[0], last[0], 0, 0, 0, b"[0]", b"[null]")])
    return ends


def _old_events(connection: sqlite3.Connection, where: str = "") -> Iterator[list[Event]]:
    for rows in _blocks(connection, f"SELECT body FROM old_events {where} ORDER BY position"):  # noqa: S608 - ours
        yield [codec.decode(body) for (body,) in rows]


def _unbroken(events: list[Event]) -> Iterator[list[Event]]:
    """Cut where positions are missing."""
    start = 0
    for place in range(1, len(events) + 1):
        if place == len(events) or events[place].position != events[place - 1].position + 1:
            yield events[start:place]
            start = place


def _blocks(connection: sqlite3.Connection, sql: str) -> Iterator[list[tuple[bytes]]]:
    cursor = connection.execute(sql)
    while rows := cursor.fetchmany(BLOCK):
        yield rows


def _drop(connection: sqlite3.Connection) -> None:
    for table in OLD:
        connection.execute(f"DROP TABLE old_{table}")


def _finish(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("UPDATE filed SET position = ?", (commits.head(connection),))
    log.info("log brought up to date", from_schema=version, to_schema=SCHEMA_VERSION)


OLD = ("events", "executions", "counts", "jobs")
"""The tables of schemas 1 and 2 that are written anew."""
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3}
"""By the schema that is found. Each runs in one transaction."""
