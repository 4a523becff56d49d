"""The database file as a whole: the check before anything is touched, creation, and migration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from gnomon.errors import NoLogError, StoreError
from gnomon_sqlite import vacuum
from gnomon_sqlite.connection import connect, transaction
from gnomon_sqlite.migrations import migrate
from gnomon_sqlite.schema import SCHEMA_VERSION, check_schema, is_empty, make_tables, schema_version

Synchronous = Literal["FULL", "NORMAL"]


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the only connection that writes, and create or migrate the log. The caller holds the writer's lock."""
    connection = connect(path, "rwc", sqlite3.Connection)
    try:
        check_schema(connection, path)
        if is_empty(connection):
            vacuum.prepare(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA cache_size = -32000")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: copies hot pages less often than 1000 would
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if is_empty(connection):
            with transaction(connection):
                make_tables(connection)
        elif schema_version(connection) < SCHEMA_VERSION:
            migrate(connection)
        vacuum.compact(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_file(path: Path, *, must_exist: bool) -> None:
    """Raise StoreError, before anything is touched, where the path cannot hold a log."""
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it, such as {path / 'gnomon.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be created: there is no folder {path.parent}; create it first")
    if not path.exists():
        if must_exist:
            raise NoLogError(f"there is no log at {path}: check `path`, or start a kernel there first")
        return
    with path.open("rb"):  # raises "permission denied", where SQLite reports "unable to open database file"
        pass
    with closing(connect(path, "ro", sqlite3.Connection)) as connection:
        check_schema(connection, path)
        if must_exist and is_empty(connection):
            raise NoLogError(f"{path} is an empty file, not a log yet: start a kernel there first")
        if must_exist and (version := schema_version(connection)) < SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by an older Gnomon: its schema is {version}, this version reads {SCHEMA_VERSION}; "
                "start a kernel there once (`gnomon run`): it migrates the file and loses nothing"
            )
