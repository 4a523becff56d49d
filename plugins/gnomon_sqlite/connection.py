"""SQLite connections: how they are opened, transactions, and inserts that ask for the GIL as seldom as possible."""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from gnomon.forks import abandon_in_children, forked_error

LOCK_PATIENCE_S = 5.0
"""How long to wait for another program's lock on the file, such as that of a `sqlite3` shell, before giving up."""

C_ = TypeVar("C_", bound="OwnConnection")

_inherited: dict[tuple[int, int], int] = {}
"""Device and inode of the databases that a parent of this process had open at the fork, with the parent's id."""


class OwnConnection(sqlite3.Connection):
    """A connection that a forked child neither uses nor closes, not even when the interpreter ends.

    SQLite would release the locks that it believes to hold, and might delete the WAL of the running kernel
    (sqlite.org/howtocorrupt.html, section 2.6). It also believes in the child that the locks of the parent are its own,
    so a new connection to the same file would have none: `connect` refuses it.
    """

    _file: tuple[int, int] | None = None

    def watch_forks(self, path: Path) -> None:
        """Abandon the connection in each child that is forked before it is closed."""
        found = path.stat()
        self._file = found.st_dev, found.st_ino
        abandon_in_children(self)

    def abandon(self, parent: int) -> None:
        """Keep the connection for ever in a forked child, and refuse others to its file."""
        if self._file is None:  # it was closed
            return
        _inherited[self._file] = parent
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # a reference that the end of the interpreter leaves

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._file = None


def expect_not_inherited(path: Path) -> None:
    """Raise ForkedProcessError where a parent of this process had the file open at the fork."""
    with suppress(OSError):
        found = path.stat()
        if (parent := _inherited.get((found.st_dev, found.st_ino))) is not None:
            raise forked_error(f"the kernel of the SQLite log {path}", parent)


def connect(path: Path, mode: str, kind: type[C_]) -> C_:
    """Open a connection of this class; `mode` is "ro" or "rwc"."""
    expect_not_inherited(path)
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=LOCK_PATIENCE_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=kind,
    )
    connection.watch_forks(path)
    return connection


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
