"""The tables of the database file, and how to recognize a file that has them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gnomon.errors import StoreError

APPLICATION_ID = 0x676E6F6D
"""`gnom`: SQLite keeps this number in the file's header, which tells a log from any other database."""

SCHEMA_VERSION = 10

# Times are µs since 1970, bodies are JSON.
#
# A row of `commits` holds all events of an append, up to 256 of them. An event costs its own bytes and nothing more: it
# has no row and no index entry. `previous` holds, for each event, the position of the event before it in its stream, 0
# for the first one; the chain starts at `last` of a view, or of `streams` for a stream without a view. `latest` is the
# latest time up to this row, so it never decreases; `setback` is the largest amount by which an event up to this row
# lies before an earlier one, after a clock was set back. Together they bound a search by time. `checksum` is the CRC-32
# of `previous` and `events`: SQLite itself does not notice a byte that has changed on the disk. The rows of other
# tables have one of their key and their body (checksums.seal); views with a wrong one are folded again from the log.
#
# An append writes its events and nothing else. The views that follow from them are flushed by the thousand, in
# their own transaction: finished runs to `executions`, unfinished ones to `live`. `flushed` is the position up to
# which this is done. Every index costs written pages, nearly one per run, and views that are flushed together share
# them. A reader folds the events after `flushed` itself (unflushed_reader.py), so it sees every event as soon as it is
# durable.
#
# Both indexes of `executions` hold everything that a list needs to find its rows in order, for any job, status,
# is_manual and hidden. `counts` therefore has a row for each such cell, and one for the cell over all jobs, with an
# empty job_id.
#
# `late` and `duration` are in seconds, NULL where a run did not start or end; `progress` is that of unfinished runs.
# Lists that are sorted or filtered by them scan `executions_by_status`, which holds all that they need: a million
# entries in about 0.3 s. An index for each order would cost a written page for nearly every run.
#
# `labels` has each label between two unit separators, and only runs with labels are in its index.
#
# `removed_at` of a job is NULL as long as it is there: jobs that run once are removed by the thousand, and a start does
# not read those.
#
# `fires` holds the part of a job's state that changes with each fire, so that the definition is not written again.
VIEW_COLUMNS = """
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    last INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    status TEXT NOT NULL,
    is_manual INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    ended_at INTEGER,
    error_text TEXT,
    body BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0,
    labels TEXT,
    late REAL,
    duration REAL,
    actor TEXT,
    progress REAL
"""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS commits (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        setback INTEGER NOT NULL,
        previous BLOB NOT NULL,
        events BLOB NOT NULL,
        checksum INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX IF NOT EXISTS commits_by_time ON commits (latest)",
    """CREATE VIEW IF NOT EXISTS events AS SELECT
        json_extract(event.value, '$.position') AS position,
        json_extract(event.value, '$.stream') AS stream,
        json_extract(event.value, '$.version') AS version,
        json_extract(event.value, '$.job_id') AS job_id,
        json_extract(event.value, '$.type') AS type,
        json_extract(event.value, '$.at') AS at,
        event.value AS body
    FROM commits, json_each(CAST(commits.events AS TEXT)) AS event WHERE event.type = 'object'""",
    """CREATE TABLE IF NOT EXISTS streams (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        last INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS flushed (position INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS identity (log_id TEXT NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS live ({VIEW_COLUMNS})",
    f"CREATE TABLE IF NOT EXISTS executions ({VIEW_COLUMNS})",
    """CREATE INDEX IF NOT EXISTS executions_by_status ON executions
        (status, is_manual, hidden, timestamp, id, job_id, late, duration, actor)""",
    "CREATE INDEX IF NOT EXISTS executions_by_job ON executions (job_id, status, is_manual, hidden, timestamp, id)",
    "CREATE INDEX IF NOT EXISTS executions_by_actor ON executions (actor, timestamp, id) WHERE actor IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS executions_with_error ON executions (timestamp, id) WHERE error_text IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS executions_with_labels ON executions (timestamp, id, labels) WHERE labels IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS counts (
        job_id TEXT NOT NULL,
        status TEXT NOT NULL,
        is_manual INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (job_id, status, is_manual, hidden)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS actions (
        position INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL,
        execution_id TEXT,
        body BLOB NOT NULL,
        checksum INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX IF NOT EXISTS actions_by_job ON actions (job_id)",
    "CREATE INDEX IF NOT EXISTS actions_by_execution ON actions (execution_id) WHERE execution_id IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS jobs (
        id TEXT PRIMARY KEY,
        body BLOB NOT NULL,
        checksum INTEGER NOT NULL DEFAULT 0,
        removed_at INTEGER
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS jobs_by_removal ON jobs (removed_at)",
    """CREATE TABLE IF NOT EXISTS fires (
        job_id TEXT PRIMARY KEY,
        last_fire INTEGER,
        newest_fire INTEGER,
        checksum INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS checkpoints (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        view BLOB,
        checksum INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS log_lines (
        execution_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        body BLOB NOT NULL,
        checksum INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (execution_id, number)
    ) WITHOUT ROWID""",
    "INSERT INTO flushed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM flushed)",
    "INSERT INTO identity SELECT lower(hex(randomblob(12))) WHERE NOT EXISTS (SELECT 1 FROM identity)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables and indexes that are missing, in the caller's transaction."""
    for statement in _SCHEMA:
        connection.execute(statement)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether the file has no tables at all."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema in the file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless the file is empty or is a log whose schema this version knows."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    version = schema_version(connection)
    if application_id == APPLICATION_ID and version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer Gnomon: its schema is {version}, this version knows {SCHEMA_VERSION}; "
            "upgrade Gnomon, or use another path"
        )
    if application_id != APPLICATION_ID and not is_empty(connection):
        tables = ", ".join(name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 5"))
        raise StoreError(f"{path} is the SQLite database of another program (it has {tables}): use another path")
