"""Checksums of the log's rows: damage is found when a row is read, and the error names the affected positions."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gnomon.errors import StoreError

CHECKED: Final = "events, previous, checksum, first, last"
"""The columns that `checked_rows` needs."""
CHECK_S = 1.0
"""The time that the check of a log may take when it is opened: enough for about 500 MB in the page cache."""
NEWEST_ROWS = 200
_STEPS_BETWEEN_LOOKS = 10_000
_ADVICE = "stop the kernel, keep a copy of the files, and restore a backup; `sqlite3 FILE .recover` saves what is left"


def checksum_of(previous: bytes, events: bytes) -> int:
    """Return the checksum of a row."""
    return zlib.crc32(events, zlib.crc32(previous))


def checked_rows(connection: sqlite3.Connection, sql: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the events of the rows that a statement selects with the columns CHECKED; StoreError for a damaged row."""
    last = 0
    try:
        for events, previous, checksum, first, last in connection.execute(sql, parameters):
            check_row(events, previous, checksum, first, last)
            yield events
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        begin = f"after position {last:,}" if last else "from the first that was asked for"
        raise StoreError(f"the log is damaged: events {begin} cannot be read ({exc}); {_ADVICE}") from exc


def check_row(events: bytes, previous: bytes, checksum: int, first: int, last: int) -> None:
    """Raise StoreError where a row is not what was written."""
    try:
        is_intact = checksum_of(previous, events) == checksum
    except TypeError:  # not even bytes any more
        is_intact = False
    if not is_intact:
        raise StoreError(
            f"the log is damaged: events {first:,} to {last:,} are not as written (the checksum differs); {_ADVICE}"
        )


def check_log(connection: sqlite3.Connection) -> None:
    """Check the structure of the database for up to CHECK_S, and the newest rows; StoreError for damage.

    Reading finds the rest: a small log is checked as a whole, a large one as far as the time goes.
    """
    deadline = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as exc:
        if getattr(exc, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        found = "ok"
    finally:
        connection.set_progress_handler(None, 0)
    newest = f"SELECT {CHECKED} FROM commits ORDER BY first DESC LIMIT :limit"  # noqa: S608 - our own names
    for _ in checked_rows(connection, newest, {"limit": NEWEST_ROWS}):
        pass
    if found != "ok":
        raise StoreError(f"the log is damaged: {found}; {_ADVICE}")
