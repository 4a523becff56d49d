"""Checksums: damage is found when a row is read, and the error names the positions or the record that it affects."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from gnomon.errors import StoreError
from gnomon.stores.commit_rows import checksum_of

CHECKED: Final = "events, previous, checksum, first, last, earliest, latest, setback"
"""The columns that `checked_rows` needs."""
CHECK_S = 1.0
"""The time that the check of a log may take when it is opened: enough for about 500 MB in the page cache."""
NEWEST_ROWS = 200
_STEPS_BETWEEN_LOOKS = 10_000
_FINDINGS = 20
_WRONG_COUNTS = """
    WITH counted AS (
        SELECT job_id, status, is_manual, hidden, count(*) AS n FROM executions GROUP BY 1, 2, 3, 4
        UNION ALL SELECT '', status, is_manual, hidden, count(*) FROM executions GROUP BY 2, 3, 4
    )
    SELECT job_id FROM (SELECT * FROM counted EXCEPT SELECT * FROM counts) UNION
    SELECT job_id FROM (SELECT * FROM counts WHERE n <> 0 EXCEPT SELECT * FROM counted) LIMIT 20"""
_ADVICE = "stop the kernel, keep a copy of the files, and restore a backup; `sqlite3 FILE .recover` saves what is left"


EXECUTION, JOB, INDEXES, STREAM = "execution", "job", "index entry of execution", "end of stream"
"""Kinds of rows that can be folded again."""


class DamagedRowError(StoreError):
    """A row that follows from the log is not what was written. `kind` and `key` say which; `repair` folds it again."""

    def __init__(self, kind: str, key: str, remedy: str = "a kernel that writes to this log folds it again") -> None:
        super().__init__(f"the log is damaged: the {kind} {key!r} is not as written (the checksum differs); {remedy}")
        self.kind = kind
        self.key = key


def seal(key: str, body: bytes | None) -> int:
    """Return the checksum of a row with this key and body."""
    return zlib.crc32(body or b"", zlib.crc32(key.encode()))


def is_sealed(key: str, body: object, checksum: object) -> bool:
    """Return whether a row is what was written."""
    return (body is None or isinstance(body, bytes)) and seal(key, body) == checksum


def checked_rows(connection: sqlite3.Connection, sql: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the events of the rows that a statement selects with the columns CHECKED; StoreError for a damaged row."""
    last = 0
    try:
        for events, previous, checksum, *place in connection.execute(sql, parameters):
            check_row(events, previous, checksum, *place)
            last = place[1]
            yield events
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        begin = f"after position {last:,}" if last else "from the first that was asked for"
        raise StoreError(f"the log is damaged: events {begin} cannot be read ({exc}); {_ADVICE}") from exc


def check_row(events: Any, previous: Any, checksum: Any, *place: Any) -> None:
    """Raise StoreError where a row is not what was written; `place` are the other columns of CHECKED."""
    first, last, *_ = place
    try:
        is_intact = checksum_of(place, previous, events) == checksum
    except TypeError:  # not even bytes any more
        is_intact = False
    if not is_intact:
        where = f"{first:,} to {last:,}" if isinstance(first, int) and isinstance(last, int) else f"from {first} on"
        raise StoreError(f"the log is damaged: events {where} are not as written (the checksum differs); {_ADVICE}")


def check_log(connection: sqlite3.Connection) -> list[str]:
    """Check the database for up to CHECK_S, and its newest rows; StoreError for damage.

    Return what is wrong with indexes and counts alone, which `repair` builds again. Reading finds the rest: a small log
    is checked as a whole, a large one as far as the time goes.
    """
    connection.text_factory = lambda text: text.decode(errors="backslashreplace")  # findings quote what is damaged
    with _time_limit(connection, CHECK_S):
        structure = [found for (found,) in connection.execute(f"PRAGMA quick_check({_FINDINGS})") if found != "ok"]
        if structure:
            raise StoreError(f"the log is damaged: {structure[0]}; {damaged_events(connection)}; {_ADVICE}")
    newest = f"SELECT {CHECKED} FROM commits ORDER BY first DESC LIMIT :limit"  # noqa: S608 - our own names
    for _ in checked_rows(connection, newest, {"limit": NEWEST_ROWS}):
        pass
    derived: list[str] = []
    with _time_limit(connection, CHECK_S / 2):
        derived += [found for (found,) in connection.execute(f"PRAGMA integrity_check({_FINDINGS})") if found != "ok"]
        derived += [f"count of {job_id!r} is wrong" for (job_id,) in connection.execute(_WRONG_COUNTS)]
    return derived


@contextmanager
def _time_limit(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except sqlite3.OperationalError as exc:
        if getattr(exc, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        connection.set_progress_handler(None, 0)


def damaged_events(connection: sqlite3.Connection) -> str:
    """Return, in words, which events cannot be read: it reads the log from both ends up to the first damaged row."""
    connection.set_progress_handler(None, 0)
    (_, last), is_whole = _readable(connection, "ASC")
    if is_whole:
        return f"all events up to {last:,} can be read, so the damage is in what follows from them"
    (later, _), _ = _readable(connection, "DESC")
    end = f"to {later - 1:,}" if later else "up to the newest"
    return f"events from {last + 1:,} {end} cannot be read"


def _readable(connection: sqlite3.Connection, order: str) -> tuple[tuple[int, int], bool]:
    """Return the first and last position of the last row that can be read in this order, and whether all can be."""
    place = 0, 0
    try:
        rows = connection.execute(f"SELECT {CHECKED} FROM commits ORDER BY first {order}")  # noqa: S608 - our own names
        for row in rows:
            check_row(*row)
            place = row[3], row[4]
    except (sqlite3.DatabaseError, StoreError):
        return place, False
    return place, True
