"""The database file as a whole: the check before anything is touched, creation, and migration."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import structlog

from gnomon.domain.records import Rollback
from gnomon.errors import NoLogError, RolledBackError, StoreError
from gnomon_sqlite import event_rows, vacuum
from gnomon_sqlite.checksums import check_log
from gnomon_sqlite.connection import connect, insert, transaction
from gnomon_sqlite.high_water import HighWaterMark, current_boot
from gnomon_sqlite.migrations import migrate
from gnomon_sqlite.schema import SCHEMA_VERSION, check_schema, is_empty, make_tables, schema_version

log = structlog.stdlib.get_logger("gnomon.sqlite")

Synchronous = Literal["FULL", "NORMAL"]
PAGE_BYTES = 4096
LARGEST_WAL_BYTES, SMALLEST_WAL_BYTES = 16 * 2**20, 256 * 2**10
WAL_SHARE = 16
"""The WAL is copied into the database when it has reached one of so many parts of the free space."""


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the only connection that writes, and create or migrate the log. The caller holds the writer's lock."""
    connection = connect(path, "rwc", sqlite3.Connection)
    try:
        check_schema(connection, path)
        is_new, version = is_empty(connection), schema_version(connection)
        if not is_new and version == SCHEMA_VERSION:
            check_log(connection)  # before anything is written
        if is_new:
            vacuum.prepare(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA cache_size = -32000")  # KiB
        wal_bytes = _wal_bytes(path)
        connection.execute(f"PRAGMA wal_autocheckpoint = {wal_bytes // PAGE_BYTES}")
        connection.execute(f"PRAGMA journal_size_limit = {4 * wal_bytes}")
        if is_new:
            with transaction(connection):
                make_tables(connection)
        elif version < SCHEMA_VERSION:
            migrate(connection)
        vacuum.compact(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_path(path: Path) -> None:
    """Raise StoreError where there cannot be a file at the path."""
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it, such as {path / 'gnomon.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be created: there is no folder {path.parent}; create it first")


def check_file(path: Path, *, must_exist: bool) -> None:
    """Raise StoreError, before anything is touched, where the path cannot hold a log."""
    check_path(path)
    if not path.exists():
        if must_exist:
            raise NoLogError(f"there is no log at {path}: check `path`, or start a kernel there first")
        return
    # Not by opening the file: closing it again would drop the locks of another store on it in this process.
    if not os.access(path, os.R_OK):
        raise StoreError(f"SQLite log {path} cannot be opened: no permission for {path}; check owner and mode")
    with closing(connect(path, "ro", sqlite3.Connection)) as connection:
        check_schema(connection, path)
        if must_exist and is_empty(connection):
            raise NoLogError(f"{path} is an empty file, not a log yet: start a kernel there first")
        if must_exist and (version := schema_version(connection)) < SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by an older Gnomon: its schema is {version}, this version reads {SCHEMA_VERSION}; "
                "start a kernel there once (`gnomon run`): it migrates the file and loses nothing"
            )


def check_mark(
    connection: sqlite3.Connection, path: Path, mark: HighWaterMark, *, synchronous: Synchronous, accept: bool
) -> Rollback | None:
    """Compare the log with its high-water mark, and start to write the mark; RolledBackError for a log that went back.

    With `accept` the lost positions are left out: they are never assigned again, so nothing that has seen the lost
    events takes others for them.
    """
    (log_id,) = connection.execute("SELECT log_id FROM identity").fetchone()
    newest = event_rows.find_ends(connection, ()).newest
    last, found, rollback = newest[0], mark.read(), None
    if found is not None and found.log_id != log_id:
        log.warning("another log is at this path", path=str(path), events_of_the_log_before=found.position)
    elif found is not None and last < found.position:
        # With NORMAL a power cut may take the last moments of the log and not of the mark.
        may_have_lost = synchronous == "NORMAL" and found.boot != current_boot()
        if not accept and not may_have_lost:
            raise RolledBackError(
                f"{path} ends at event {last:,}, but {mark.path.name} records that it had reached event "
                f"{found.position:,}: a backup was restored, or {path.name}-wal was deleted. Runs that the log no "
                "longer contains would run again. Restore newer files, or accept the loss: gnomon run --accept-rollback"
            )
        rollback = Rollback(last, found.position)
        insert(connection, f"INTO {event_rows.COMMITS}", [event_rows.tombstone(found.position, newest)])
        log.warning("the loss of acknowledged events was accepted", last_event=last, lost_until=found.position)
    mark.open(log_id, max(last, found.position if rollback is not None and found is not None else 0))
    return rollback


def _wal_bytes(path: Path) -> int:
    """Return the size at which the WAL is copied into the database: 16 MiB, less on a small volume.

    Hot pages are copied less often than with SQLite's 4 MiB. A WAL that fills a small volume could not be copied.
    """
    return max(SMALLEST_WAL_BYTES, min(LARGEST_WAL_BYTES, shutil.disk_usage(path.parent).free // WAL_SHARE))
