"""SQLite connections: how they are opened, transactions, and inserts that ask for the GIL as seldom as possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

LOCK_PATIENCE_S = 5.0
"""How long to wait for another program's lock on the file, such as that of a `sqlite3` shell, before giving up."""

C_ = TypeVar("C_", bound=sqlite3.Connection)


def connect(path: Path, mode: str, kind: type[C_]) -> C_:
    """Open a connection of this class; `mode` is "ro" or "rwc"."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=LOCK_PATIENCE_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=kind,
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write everything in the block, or nothing."""
    if connection.in_transaction:  # an earlier rollback failed, on a broken disk
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
    """Run several reads on one snapshot. Keep the block short: the WAL cannot shrink while it lasts."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], on_conflict: str = "") -> None:
    """Insert rows, many with one statement.

    Between two statements the thread asks for the GIL, and beside a busy loop it gets it only after 5 ms. Rows inserted
    by executemany, one statement each, would delay a commit by more than the commit itself takes.
    """
    done = 0
    for size in (2_048, 512, 64, 8, 1):
        while done + size <= len(rows):
            insert_at_once(connection, into, rows[done : done + size], on_conflict)
            done += size


def insert_at_once(
    connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
) -> None:
    """Insert rows with one statement, which is its own transaction; at most 32,766 values."""
    statement = _insertion(into, len(rows[0]), len(rows), on_conflict)
    connection.execute(statement, [value for row in rows for value in row])


@lru_cache
def _insertion(into: str, width: int, size: int, on_conflict: str) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT {into} VALUES {', '.join([row] * size)} {on_conflict}"  # noqa: S608 - our own names
