"""The database file: its tables, how it is opened, and what else may be found in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from gnomon.errors import NoLogError, StoreError
from gnomon.stores.page_cursor import EPOCH

APPLICATION_ID = 0x676E6F6D
"""«gnom»: SQLite keeps this number in the header of the file, so that a log can be told from any other database."""

SCHEMA_VERSION = 4
LOCK_PATIENCE = 5.0
"""Seconds to wait for somebody else's lock on the file, such as that of a `sqlite3` shell, before giving up."""

Synchronous = Literal["FULL", "NORMAL"]
C_ = TypeVar("C_", bound=sqlite3.Connection)

# Times are µs since 1970, bodies are JSON.
#
# A row of `commits` holds all events of an append, up to 256 of them, so that an event costs its bytes and nothing
# more: no row of its own, no index. `previous` tells for each of them the position of the event before it in its
# stream, 0 for the first; `last` of a view, or of `streams` for those without one, is where this chain begins. `latest`
# is the latest time up to here, so it never falls; `setback` tells by how much an event up to here lies before an
# earlier one, where a clock was set back. Together they bound a search by time.
#
# An append writes its events and no more. The views that they lead to are filed by thousands, in a transaction of its
# own: what is over in `executions`, what is going on in `live`; `filed` is the position up to which this is done. Every
# index costs written pages, nearly one a run: what is filed together shares them. A reader folds what comes after
# `filed` by itself (tail.py), so it sees each event as soon as it is durable.
#
# Both indexes of `executions` hold all that a list needs to find its rows in order, for any job, status, is_manual and
# hidden; so `counts` has a row for each such cell, and one for the cell in all jobs, where job_id is empty.
#
# `fires` has of a job's state what changes with each fire, so that its definition is not written again.
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
    body BLOB NOT NULL
"""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS commits (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        setback INTEGER NOT NULL,
        previous BLOB NOT NULL,
        events BLOB NOT NULL
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
    "CREATE TABLE IF NOT EXISTS filed (position INTEGER NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS live ({VIEW_COLUMNS})",
    f"CREATE TABLE IF NOT EXISTS executions ({VIEW_COLUMNS})",
    "CREATE INDEX IF NOT EXISTS executions_by_status ON executions (status, is_manual, hidden, timestamp, id)",
    "CREATE INDEX IF NOT EXISTS executions_by_job ON executions (job_id, status, is_manual, hidden, timestamp, id)",
    "CREATE INDEX IF NOT EXISTS executions_with_error ON executions (timestamp, id) WHERE error_text IS NOT NULL",
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
        body BLOB NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS actions_by_job ON actions (job_id)",
    "CREATE INDEX IF NOT EXISTS actions_by_execution ON actions (execution_id) WHERE execution_id IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS fires (
        job_id TEXT PRIMARY KEY,
        last_fire INTEGER,
        newest_fire INTEGER
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS checkpoints (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        view BLOB
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS log_lines (
        execution_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (execution_id, number)
    ) WITHOUT ROWID""",
    "INSERT INTO filed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM filed)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the one connection that writes; makes the log where there is none. The caller holds the writer's lock."""
    connection = connect(path, "rwc", sqlite3.Connection)
    try:
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA cache_size = -32000")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: hot ones are copied less often than with 1000
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if is_empty(connection):
            with transaction(connection):
                make_tables(connection)
        elif (version := _version(connection)) < SCHEMA_VERSION:
            migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def check_file(path: Path, *, must_exist: bool) -> None:
    """Refuse, before anything is touched, a path where there cannot be a log of ours; StoreError says why."""
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it, such as {path / 'gnomon.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be made: there is no folder {path.parent}; create it first")
    if not path.exists():
        if must_exist:
            raise NoLogError(f"there is no log at {path}: check `path`, or start a kernel there first")
        return
    with path.open("rb"):  # says «permission denied», where SQLite says «unable to open database file»
        pass
    with closing(connect(path, "ro", sqlite3.Connection)) as connection:
        _check(connection, path)
        if must_exist and is_empty(connection):
            raise NoLogError(f"{path} is an empty file and no log yet: start a kernel there first")
        if must_exist and (version := _version(connection)) < SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by an older Gnomon: its schema is {version}, this one reads {SCHEMA_VERSION}; "
                "start a kernel there once (`gnomon run`): it brings the file up to date and loses nothing"
            )


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables and indexes that are not there, in the caller's transaction."""
    for statement in _SCHEMA:
        connection.execute(statement)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a log of an older schema to today's, all or nothing; a newer one would have been refused before."""
    from gnomon_sqlite.migrations import MIGRATIONS  # noqa: PLC0415 - seldom, and it needs what is here

    with transaction(connection):
        MIGRATIONS[version](connection)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing."""
    if connection.in_transaction:  # a rollback failed, on a broken disk
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on some errors
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several reads see one and the same moment. Keep it short: the WAL cannot shrink while it lasts."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing was ever made in this file."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], on_conflict: str = "") -> None:
    """Insert rows, many with one statement.

    Between two statements the thread asks for the GIL, and beside a busy loop it gets it after 5 ms only. So rows that
    go by executemany, one statement for each, keep a commit waiting for longer than it takes to write it.
    """
    done = 0
    for size in (2_048, 512, 64, 8, 1):
        while done + size <= len(rows):
            insert_at_once(connection, into, rows[done : done + size], on_conflict)
            done += size


def insert_at_once(
    connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
) -> None:
    """Insert rows with one statement, which is a transaction by itself; with up to 32,766 values."""
    statement = _insertion(into, len(rows[0]), len(rows), on_conflict)
    connection.execute(statement, [value for row in rows for value in row])


@lru_cache
def _insertion(into: str, width: int, size: int, on_conflict: str) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT {into} VALUES {', '.join([row] * size)} {on_conflict}"  # noqa: S608 - ours


def micros(moment: datetime) -> int:
    """Write an aware moment as µs since 1970."""
    since = moment - EPOCH  # by parts: in half of the time that `since // MICROSECOND` takes
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def connect(path: Path, mode: str, kind: type[C_]) -> C_:
    """Open a connection of that kind: `mode` is "ro" or "rwc"."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=LOCK_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=kind,
    )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    if application_id == APPLICATION_ID and version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer Gnomon: its schema is {version}, this one knows {SCHEMA_VERSION}; "
            "upgrade Gnomon, or use another path"
        )
    if application_id != APPLICATION_ID and not is_empty(connection):
        tables = ", ".join(name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 5"))
        raise StoreError(f"{path} is the SQLite database of another program (it has {tables}): use another path")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
