"""The cursor of a page of executions: `timestamp` and id of its last row, as opaque text that a client hands back."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import NamedTuple

from gnomon.stores.microseconds import from_micros, to_micros


class Cursor(NamedTuple):
    """The next page starts after this execution; the id breaks ties between equal timestamps."""

    timestamp: datetime
    id: str


def write_cursor(cursor: Cursor) -> str:
    """Return a cursor as text that is safe in a URL."""
    text = f"{to_micros(cursor.timestamp)}:{cursor.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """Parse the text that `write_cursor` returned; ValueError for anything else."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        micros, _, execution_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(":")
        cursor = Cursor(from_micros(int(micros)), execution_id)
    except (UnicodeError, binascii.Error, ValueError, OverflowError) as exc:
        raise _invalid(text) from exc
    if write_cursor(cursor) != text:
        raise _invalid(text)
    return cursor


def _invalid(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a valid cursor of this log: pass the `next` of the previous page unchanged")
