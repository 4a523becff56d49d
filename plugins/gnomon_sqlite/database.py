"""The database file: its tables, how it is opened, and what else may be found in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from gnomon.cursors import EPOCH
from gnomon.errors import NoLogError, StoreError

APPLICATION_ID = 0x676E6F6D
"""«gnom»: SQLite keeps this number in the header of the file, so that a log can be told from any other database."""

SCHEMA_VERSION = 2
LOCK_PATIENCE = 5.0
"""Seconds to wait for somebody else's lock on the file, such as that of a `sqlite3` shell, before giving up."""

Synchronous = Literal["FULL", "NORMAL"]

# Times are µs since 1970.
#
# Every index costs written pages, and one that begins with job_id costs a page for nearly each event of a batch: with
# (at, job_id) instead of (job_id, at) an append writes a third less, measured with 100 jobs.
#
# Both indexes of executions hold all that a list needs to find its rows in order, for any job, status, is_manual and
# hidden. So `counts` has a row for each such cell, and one for the cell in all jobs, where job_id is ''.
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        job_id TEXT NOT NULL,
        type TEXT NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, version)
    )""",
    "CREATE INDEX IF NOT EXISTS events_by_time ON events (at, job_id) WHERE type <> 'progress'",
    """CREATE TABLE IF NOT EXISTS executions (
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL,
        status TEXT NOT NULL,
        is_manual INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        ended_at INTEGER,
        error_text TEXT,
        body BLOB NOT NULL
    )""",
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
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the one connection that writes; makes the log where there is none. The caller holds the writer's lock."""
    connection = _connect(path, "rwc")
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


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read; works beside the writer, in this process or in another."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
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
    with closing(_connect(path, "ro")) as connection:
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


def micros(moment: datetime) -> int:
    """Write an aware moment as µs since 1970."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=LOCK_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
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
