"""The database file as a whole: the check before anything is touched, creation, and migration."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from gnomon.errors import NoLogError, StoreError, UnsafeFileError
from gnomon.files import other_writers
from gnomon.logs import get_logger
from gnomon_sqlite.connection import OwnConnection, connect, transaction
from gnomon_sqlite.file import vacuum
from gnomon_sqlite.file.file_watch import MAGIC
from gnomon_sqlite.log.checksums import NEWEST_ROWS, check_log
from gnomon_sqlite.migrations import migrate
from gnomon_sqlite.schema import SCHEMA_VERSION, check_schema, is_empty, make_tables, schema_version
from gnomon_sqlite.views.repair import find_wrong_rows

log = get_logger("gnomon.sqlite")

Synchronous = Literal["FULL", "NORMAL"]
PAGE_BYTES = 4096
LARGEST_WAL_BYTES, SMALLEST_WAL_BYTES = 16 * 2**20, 256 * 2**10
WAL_SHARE = 16
"""The WAL is copied into the database when it has reached one of so many parts of the free space."""


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the only connection that writes, and create or migrate the log. The caller holds the writer's lock."""
    connection = connect(path, "rwc", OwnConnection)
    try:
        check_schema(connection, path)
        is_new, version = is_empty(connection), schema_version(connection)
        if is_new:
            vacuum.prepare(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA cache_size = -32000")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the store checks its files first
        connection.execute(f"PRAGMA journal_size_limit = {4 * wal_bytes(path)}")
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


def restore_header(connection: sqlite3.Connection, database: int, path: Path) -> None:
    """Write a header again that was overwritten while no kernel ran: it is in the WAL, or nothing could be read.

    `database` is a descriptor of the file. Without this the watch would find a file overwritten while it was open.
    """
    if os.pread(database, len(MAGIC), 0) == MAGIC:
        return
    connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    if os.pread(database, len(MAGIC), 0) != MAGIC:
        raise StoreError(
            f"SQLite log {path} is damaged: its header was overwritten; close other programs that read it and start "
            "again, or restore a backup"
        )
    log.warning(
        "the header of the log was overwritten: it is written again from the WAL, check the disk", path=str(path)
    )


def check_path(path: Path) -> None:
    """Raise StoreError where there cannot be a file at the path."""
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it, such as {path / 'gnomon.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be created: there is no folder {path.parent}; create it first")


def check_folder(path: Path) -> None:
    """Warn where other users may write the folder of the log, and could replace its files; root is refused there."""
    problem = other_writers(path.parent)
    if problem and os.geteuid() == 0:
        raise UnsafeFileError(path, f"cannot be the log of root: {problem}", "use another folder, or chmod go-w")
    if problem:
        log.warning(
            "other users could replace the log: use another folder, or chmod go-w", path=str(path), problem=problem
        )


def check_file(path: Path, *, must_exist: bool) -> list[str]:
    """Raise StoreError, before anything is touched, where the path cannot hold a log, or a damaged one.

    Return what is wrong with indexes and counts, which `repair` builds again.
    """
    check_path(path)
    if not path.exists():
        if must_exist:
            raise NoLogError(f"there is no log at {path}: check `path`, or start a kernel there first")
        return []
    # Not by opening the file: closing it again would drop the locks of another store on it in this process.
    if not os.access(path, os.R_OK):
        raise StoreError(f"SQLite log {path} cannot be opened: no permission for {path}; check owner and mode")
    if not path.stat().st_size:  # SQLite would delete the WAL beside it
        if must_exist:
            raise NoLogError(f"{path} is an empty file, not a log yet: start a kernel there first")
        return []
    with closing(connect(path, "ro", OwnConnection)) as connection:
        check_schema(connection, path)
        if must_exist and is_empty(connection):
            raise NoLogError(f"{path} is an empty file, not a log yet: start a kernel there first")
        if not must_exist and schema_version(connection) == SCHEMA_VERSION:
            return check_log(connection) + find_wrong_rows(
                connection, NEWEST_ROWS
            )  # closing a connection that only reads leaves the WAL as it is
        if must_exist and (version := schema_version(connection)) < SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by an older Gnomon: its schema is {version}, this version reads {SCHEMA_VERSION}; "
                "start a kernel there once (`gnomon run`): it migrates the file and loses nothing"
            )
    return []


def wal_bytes(path: Path) -> int:
    """Return the size at which the WAL is copied into the database: 16 MiB, less on a small volume.

    Hot pages are copied less often than with SQLite's 4 MiB. A WAL that fills a small volume could not be copied.
    """
    return max(SMALLEST_WAL_BYTES, min(LARGEST_WAL_BYTES, shutil.disk_usage(path.parent).free // WAL_SHARE))
