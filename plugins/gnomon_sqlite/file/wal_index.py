"""The WAL index at a start: it is built again from the WAL, even if a reader still has it open.

    kernel     writes the WAL and its index                killed ─► gone
    reader     has the index open                                    the index stays as it was
    someone    cuts the WAL                                          the index counts frames that are gone
    kernel     starts: SQLite would trust the index                  discarded: SQLite recovers from the WAL

SQLite recovers only where nobody has the index open. A reader in another process (a dashboard, a `sqlite3` shell) would
keep an index alive that is not of the WAL any more. Formats: sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
from pathlib import Path

_HEADERS = 2 * 48
"""Bytes of the two copies of the header, with which the index begins. The locks behind them stay as they are."""


def discard_index(path: Path) -> int | None:
    """Discard the WAL index of a database, so that the next access of any process builds it from the WAL.

    The caller holds the writer's lock. Return the descriptor of the index, if there is one: closing it drops SQLite's
    locks on it, so all connections of this process close first.
    """
    try:
        index = os.open(path.with_name(f"{path.name}-shm"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    if os.fstat(index).st_size >= _HEADERS:
        os.pwrite(index, bytes(_HEADERS), 0)
    return index
