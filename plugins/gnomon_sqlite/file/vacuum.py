"""Return the space of deleted rows to the file system, in steps that no append notices.

SQLite keeps the pages of deleted rows in the file, for later rows. A log is created with `auto_vacuum = INCREMENTAL`,
so that these pages can be returned a few at a time. A log of an older version lacks this; it is compacted as a whole
when it is opened, once much of it is free.
"""

from __future__ import annotations

import sqlite3

from gnomon.logs import get_logger

log = get_logger("gnomon.sqlite")

STEP_PAGES = 64
"""Pages returned in one transaction: 256 KiB, some milliseconds, the longest time that a step delays an append."""
FREE_SHARE = 0.25
"""The share of free pages from which a log of an older version is compacted."""
INCREMENTAL = 2


def prepare(connection: sqlite3.Connection) -> None:
    """Make a new file one that can shrink; call it before anything is written to the file."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


def compact(connection: sqlite3.Connection) -> None:
    """Rewrite a log that cannot shrink in steps, if much of it is free; it is left as it is where that fails."""
    free, pages = _pragma(connection, "freelist_count"), _pragma(connection, "page_count")
    if _pragma(connection, "auto_vacuum") == INCREMENTAL or free < FREE_SHARE * pages:
        return
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error as exc:  # it needs as much space again as the log; without it the log only stays large
        log.warning("log could not be compacted", free_pages=free, pages=pages, problem=str(exc))
    else:
        log.info("log compacted", pages_before=pages, pages=_pragma(connection, "page_count"))


def shrink(connection: sqlite3.Connection) -> bool:
    """Return a few free pages to the file system, and whether there are more of them."""
    if _pragma(connection, "auto_vacuum") != INCREMENTAL:
        return False
    # executescript, since execute stops after the first page.
    connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES});")
    if _pragma(connection, "freelist_count") > 0:
        return True
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # the file itself is cut by a checkpoint
    return False


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
