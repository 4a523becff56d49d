"""Where a page of executions ended, as text that a client hands back: `timestamp` and id of its last row."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Cursor(NamedTuple):
    """The next page begins after this execution; ids break the tie of equal timestamps."""

    timestamp: datetime
    id: str


def write_cursor(cursor: Cursor) -> str:
    """Write a cursor as text that fits into a URL."""
    text = f"{(cursor.timestamp - EPOCH) // MICROSECOND}:{cursor.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """Read what `write_cursor` wrote; anything else is a ValueError."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        micros, _, execution_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(":")
        timestamp = EPOCH + int(micros) * MICROSECOND
    except (UnicodeError, binascii.Error, ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is no cursor of this log: use the `next` of the page before, unchanged") from exc
    cursor = Cursor(timestamp, execution_id)
    if write_cursor(cursor) != text:
        raise ValueError(f"{text!r} is no cursor of this log: use the `next` of the page before, unchanged")
    return cursor
