"""Logs of older schemas, brought to today's: one function for each, which leads there in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import structlog

from gnomon import codec
from gnomon_sqlite.database import SCHEMA_VERSION, make_tables
from gnomon_sqlite.writing import INSERT_ACTION, action_rows

log = structlog.stdlib.get_logger("gnomon.sqlite")


def _from_1(connection: sqlite3.Connection) -> None:
    """Add what schema 1 had not: hidden executions, and the list of what operators did, which the events tell."""
    for table in ("executions", "counts"):
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'old_executions' AND sql IS NOT NULL"
    for (name,) in connection.execute(indexes).fetchall():
        connection.execute(f"DROP INDEX {name}")
    make_tables(connection)
    columns = "id, job_id, status, is_manual, timestamp, ended_at, error_text, body"
    connection.execute(
        f"INSERT INTO executions (hidden, {columns}) SELECT 0, {columns} FROM old_executions ORDER BY rowid"  # noqa: S608
    )
    connection.execute("INSERT INTO counts SELECT job_id, status, is_manual, 0, n FROM old_counts")
    for table in ("executions", "counts"):
        connection.execute(f"DROP TABLE old_{table}")
    # Who acts is named; an event that names nobody has no such key.
    told = connection.execute("SELECT body FROM events WHERE instr(body, CAST('\"actor\":' AS BLOB)) ORDER BY position")
    for (body,) in told:
        connection.executemany(INSERT_ACTION, action_rows([codec.decode(body)]))
    log.info("log brought up to date", from_schema=1, to_schema=SCHEMA_VERSION)


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1}
"""By the schema that is found. Each runs in one transaction."""
